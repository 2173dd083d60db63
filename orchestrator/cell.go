package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/lanes"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

// giveUp is how many errors without a single reply end a load. With an app that
// hangs, each further request would take its time-out.
const giveUp = 5

const (
	progressInterval = 250 * time.Millisecond // between two reports of how far a load is
	watchInterval    = 500 * time.Millisecond // between two looks whether the services still run

	// verdictTimeout is for looking at a stack after its load, once the run was
	// cancelled.
	verdictTimeout = time.Second

	// engineDelay is how long an engine may take to notice that a container has
	// ended. After a broken connection the engine is asked again until then.
	engineDelay = time.Second

	// longestGap is the longest time between two samples of memory, of 20 ms or 50 ms
	// each, with which a cell is not flagged.
	longestGap = 500 * time.Millisecond

	// starvedShare is the share of a cell for which the client waited for a core from
	// which the cell is flagged.
	starvedShare = 0.1

	// A cell inherited memory from an earlier one if it began this far above the
	// warmed-up level. Less is a server's own variation.
	inheritedMin   = 16 << 20
	inheritedShare = 0.05
)

// Reasons that end a cell and its stack.
var (
	errServiceDied = errors.New("a service ended during the cell")
	errOutOfMemory = errors.New("processes of the stack were killed for memory")
	errLostGPU     = errors.New("a container of the stack lost its GPU")
)

// measure sends one cell's load and returns its record. alive says whether the
// stack can take the next cell. The error means that the run was cancelled.
func (s *live) measure(ctx context.Context, cell scenarios.Cell) (rec results.Record, alive bool, err error) {
	began := time.Now()
	facts := s.facts
	rec = s.unmeasured(s.trial, cell)
	rec.Flags, rec.Stack, rec.Start = slices.Clone(s.flags), &facts, s.start
	s.failure, s.neighbour = nil, ""
	s.notify(Event{Kind: EventCell, Topology: s.spec.Name, Cell: cell.Name, Repeat: cell.Repeat, Requests: cell.Load.Requests})

	leave := s.enter(bound(s.GPUWait, s.GPUWait, loadBound(s.plan.Request, cell.Load)), "measure", cell.Name)
	defer leave()
	said := "" // before this cell, if it can be about GPU memory
	if len(s.stack.Devices()) > 0 {
		said = s.logs(ctx)
	}
	before, sendErr := s.stack.Inspect(ctx)
	var found finding
	if s.before = before; sendErr == nil {
		found, sendErr = s.fire(ctx, cell)
	}
	defer func() {
		// Only the cell's duration counts as measuring, not preparing the client,
		// checking the stack and reading logs.
		s.took(results.PhaseMeasure, found.load.Duration)
		s.took(results.PhasePrepare, time.Since(began)-found.load.Duration)
	}()
	if sendErr != nil && ctx.Err() != nil {
		if s.KeepCutShort && found.fired {
			err = s.putCutShort(ctx, rec, found)
		}
		return rec, false, errors.Join(context.Cause(ctx), err)
	}
	look, stop := lookOn(ctx)
	defer stop()
	if found.fired {
		s.fill(&rec, found)
	}
	if err := s.verdict(look, &rec, found, sendErr); err != nil {
		if ctx.Err() != nil {
			// The interruption caused this verdict. There is none on the cell.
			return rec, false, context.Cause(ctx)
		}
		s.failure = s.fail(ctx, &rec, err, said)
		if errors.Is(err, errLostGPU) || disturbed(err) {
			s.void = err
			return rec, false, nil
		}
		return rec, s.stack.Check(ctx) == nil && !errors.Is(err, errServiceDied) && !errors.Is(err, errOutOfMemory), nil
	}
	rec.Status, s.neighbour = results.StatusOK, found.neighbour
	if s.spec.Topology.Proxy != "" && strings.Contains(rec.FirstErrors[load.ErrStatus], " 502 ") {
		rec.LogTail = s.logs(ctx) // it takes both sides to say why the proxy got no answer
	}
	return rec, true, nil
}

// putCutShort records a cell whose load was cut short by the end of the run.
func (s *live) putCutShort(ctx context.Context, rec results.Record, found finding) error {
	s.fill(&rec, found)
	sent := found.load
	rec.Status, rec.Duration = results.StatusFailed, nil
	rec.Reason = fmt.Sprintf("interrupted: %d of %s finished, the last one after %v",
		sent.Replies+sent.Errors, show.Plural(rec.Cell.Load.Requests, "request"), sent.Duration.Round(time.Millisecond))
	return s.put(ctx, rec)
}

// lookOn is the context for checking a stack after its whole load. A signal leaves
// it a moment, so that what was measured is kept.
func lookOn(ctx context.Context) (context.Context, context.CancelFunc) {
	look, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(verdictTimeout, cancel) })
	return look, func() {
		stop()
		cancel()
	}
}

// verdict says why a cell did not measure what was asked for. It is nil if it did.
// Causes are checked before their consequences.
func (s *live) verdict(ctx context.Context, rec *results.Record, f finding, sendErr error) error {
	recycled, died := s.died(ctx, f.load)
	if recycled {
		rec.Flags = append(rec.Flags, results.FlagRecycled)
	}
	switch {
	case errors.Is(died, stacks.ErrLost):
		return fmt.Errorf("the cell is void: %w", died)
	case f.used.OOMKills > 0, errors.Is(died, stacks.ErrOutOfMemory):
		return s.killed(died)
	case disturbed(died):
		return fmt.Errorf("the cell is void: %w", died)
	case disturbed(sendErr):
		return fmt.Errorf("the cell is void: %w", sendErr)
	case errors.Is(died, stacks.ErrEnded):
		return fmt.Errorf("%w: %w", errServiceDied, died)
	}
	if err := s.lostGPU(ctx); err != nil {
		return err
	}
	switch {
	case sendErr != nil:
		return sendErr
	case died != nil:
		return fmt.Errorf("the stack cannot be looked at: %w", died)
	}
	return f.load.Unmeasured(s.plan.Request.MaxErrors)
}

// lostGPU checks that the containers still have their GPUs. They lose them when
// systemd reloads its units; the application then fails, or goes on without a GPU.
// One look at each cell's end is enough, because Verify took the first. If the
// device itself no longer answers, lostGPU says nothing: the sampler does, and a new
// stack would not help.
func (s *live) lostGPU(ctx context.Context) error {
	if len(s.stack.Devices()) == 0 {
		return nil
	}
	_, err := stacks.SeenGPUs(ctx, s.spec, s.seen, s.stack)
	if err == nil || ctx.Err() != nil || !s.answers(ctx) {
		return nil
	}
	return fmt.Errorf("%w: %w", errLostGPU, err)
}

// died checks that every service still runs, with the workers that it had when the
// cell began. Before the engine notices that a server has ended, the client sees
// broken connections, or another service's word for them. If no services are known,
// there is nothing to wait for.
func (s *live) died(ctx context.Context, result load.Result) (recycled bool, err error) {
	deadline := time.Now().Add(engineDelay)
	broken := result.ErrorKinds[load.ErrConnect] + result.ErrorKinds[load.ErrReset] + result.ErrorKinds[load.ErrTruncated]
	if len(s.spec.Services) > 1 {
		broken += result.ErrorKinds[load.ErrStatus]
	}
	for {
		err := s.stack.Check(ctx)
		var after stacks.Facts
		if err == nil {
			if after, err = s.stack.Inspect(ctx); err != nil {
				err = cmp.Or(s.stack.Check(ctx), err) // it has ended meanwhile
			}
		}
		if err == nil {
			if recycled, err = servers.SameWorkers(s.before, after, func() string { return s.logs(ctx) }); err != nil {
				err = fmt.Errorf("%w: %w", stacks.ErrEnded, err)
			}
		}
		if err != nil || broken == 0 || len(s.seen.Services) == 0 || time.Now().After(deadline) {
			return recycled, err
		}
		select {
		case <-ctx.Done():
			return recycled, context.Cause(ctx)
		case <-time.After(engineDelay / 20):
		}
	}
}

// A finding is what was measured of one load.
type finding struct {
	fired   bool // if not, it failed before the gun, and the rest is empty
	load    load.Result
	used    stacks.Reading
	gpu     gpu.Usage
	machine *float64 // CPU seconds of everything on the machine

	neighbour string // which idle stack used the CPU or the GPU meanwhile
}

// fire sends a cell's load. It measures from the gun to the last reply, without
// preparing the client and ending its processes.
func (s *live) fire(run context.Context, cell scenarios.Cell) (f finding, err error) {
	ctx, cancel := context.WithCancelCause(run)
	defer cancel(nil)
	batch, err := s.Client.Prepare(ctx, s.job(cell.Load, cell.Repeat))
	if err != nil {
		return f, err
	}
	defer batch.Close()
	sampled, err := s.gpu.cell(ctx, s)
	if err != nil {
		return f, err
	}
	meter, err := s.stack.Meter(ctx)
	if err != nil {
		return f, err
	}
	watching := s.watch(ctx, cell, batch, meter, cancel)

	continued := make(chan os.Signal, 1)
	signal.Notify(continued, syscall.SIGCONT)
	defer signal.Stop(continued)
	idle := s.watchIdle(ctx, s)
	before, fired := lanes.CPU(s.watched()), time.Now()
	f.fired = true
	f.load, err = batch.Fire(ctx)
	if !s.seen.Apart {
		f.machine = lanes.UsedMeanwhile(before, lanes.CPU(s.watched()), time.Since(fired), f.load.Duration)
	}

	f.used = meter.Stop()
	f.gpu = s.gpu.usage(sampled)
	f.neighbour = strings.Join(append(idle.disturbance(context.WithoutCancel(ctx)), f.gpu.Busy...), "; ")
	// A signal after the last reply has cut nothing short.
	if cause := context.Cause(ctx); cause != nil && (err != nil || run.Err() == nil) {
		err = cause
	}
	cancel(nil)
	<-watching
	switch halted := meter.Halted(); {
	case disturbed(err), run.Err() != nil:
	case len(continued) > 0:
		err = fmt.Errorf("stackmeter itself %w: a signal stopped it until it got SIGCONT", load.ErrDisturbed)
	case halted != nil:
		err = halted
	}
	return f, err
}

// watch watches a cell under way. It reports progress, and ends the load if a
// service dies or is halted. It closes the returned channel when it ends.
func (s *live) watch(ctx context.Context, cell scenarios.Cell, batch load.Batch, meter stacks.Meter, cancel context.CancelCauseFunc) chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		progress, look := time.NewTicker(progressInterval), time.NewTicker(watchInterval)
		defer progress.Stop()
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-progress.C:
				s.notify(Event{Kind: EventProgress, Topology: s.spec.Name, Cell: cell.Name, Repeat: cell.Repeat, Requests: cell.Load.Requests, Done: batch.Done()})
			case <-look.C:
				if err := cmp.Or(meter.Halted(), s.stack.Check(ctx)); disturbed(err) && ctx.Err() == nil {
					cancel(err)
					return
				} else if errors.Is(err, stacks.ErrEnded) {
					cancel(fmt.Errorf("%w: %w", errServiceDied, err))
					return
				}
			}
		}
	}()
	return ended
}

// fill puts what was measured into the record.
func (s *live) fill(rec *results.Record, f finding) {
	rec.Sent(f.load)
	rec.GPU, rec.CPU.Machine = f.gpu, f.machine
	used := f.used
	rec.Memory = results.Memory{
		Method: used.Method, Peak: used.Memory, Start: used.Start, KernelPeak: used.KernelPeak, Services: used.Services,
		Samples: used.Samples, MaxGap: used.MaxGap.Seconds(), Reason: used.Reason,
		Series: series(used.Series),
	}
	if used.CPU != nil {
		seconds := used.CPU.Seconds()
		rec.CPU.Stack = &seconds
	}
	if used.Inside || s.gpu.unseen { // what there is of its memory, the stack itself saw
		rec.Flags = append(rec.Flags, results.FlagNoAgent)
	}
	if used.MaxGap > longestGap {
		rec.Flags = append(rec.Flags, results.FlagUnwatched)
	}
	if starved(rec, f.load.Waited) {
		rec.Flags = append(rec.Flags, load.FlagClientStarved)
	}
	if s.forgetMemory(rec); s.inherited(rec) {
		rec.Flags = append(rec.Flags, results.FlagInherited)
	}
}

// starved reports whether other programs kept the client from running. That it had to
// wait for a core is not enough: it may have waited for the stack, or for itself.
func starved(rec *results.Record, waited time.Duration) bool {
	if rec.Duration == nil || rec.CPU.Machine == nil || rec.CPU.Stack == nil || rec.CPU.Client == nil {
		return false
	}
	others := *rec.CPU.Machine - *rec.CPU.Stack - *rec.CPU.Client
	return waited.Seconds() >= starvedShare**rec.Duration && others >= waited.Seconds()
}

// series makes a chart's points of a stack's memory.
func series(samples []stacks.Sample) []gpu.Point {
	points := make([]gpu.Point, len(samples))
	for i, s := range samples {
		points[i] = gpu.Point{At: s.At.Seconds(), Used: s.Memory}
	}
	return gpu.Thin(points, gpu.DefaultPoints)
}

// inherited reports whether the cell began above the warmed-up memory of its stack,
// because an allocator kept what an earlier cell needed.
func (s *live) inherited(rec *results.Record) bool {
	return above(rec.Memory.Start, s.warmed) || above(rec.GPU.Start, s.gpu.warm)
}

func above(start, warmed *int64) bool {
	if start == nil || warmed == nil {
		return false
	}
	over := *start - *warmed
	return over > inheritedMin && float64(over) > inheritedShare*float64(*warmed)
}

// fail turns a record into that of a failure. It keeps what was measured except the
// duration, which is not that of the load that was asked for. said is the tail of
// the logs from before the cell. It returns the reason with what the logs say of it.
func (s *live) fail(ctx context.Context, rec *results.Record, reason error, said string) error {
	rec.Status = results.StatusFailed
	rec.Duration = nil
	rec.LogTail = s.logs(ctx)
	reason = s.explained(reason, said, rec.LogTail, rec.GPU)
	rec.Reason, rec.OutOfMemory = reason.Error(), s.outOfMemory(rec.Topology, reason)
	return reason
}
