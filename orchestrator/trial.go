package orchestrator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

// trial measures the cells of one trial. A stack that dies takes only the
// cell under measurement with it: the cells that are left get a new one. A
// cell that is void is measured again on it, once.
func (r *run) trial(ctx context.Context, trial scenarios.Trial, trials int) error {
	name := trial.Topology.Name
	if err := r.broken[name]; err != nil {
		return r.failAll(ctx, trial, trial.Cells, err, "", nil)
	}
	trial, err := r.prune(ctx, trial)
	if err != nil {
		return err
	}
	spec, err := servers.Expand(r.id, r.plan, trial.Topology)
	if err != nil {
		return err
	}
	again := map[string]bool{} // cells that were void once, by name
	starts := 0                // that came to nothing for a reason outside of the stack
	for cells := trial.Cells; len(cells) > 0; {
		r.notify(Event{Kind: EventStart, Topology: name, Repeat: trial.Repeat, Trial: r.finished + 1, Trials: trials})
		measured, err := r.stack(ctx, spec, trial, cells, again)
		var unmade *lostStart
		if errors.As(err, &unmade) {
			if starts++; starts < lostStarts {
				err = r.startOver(ctx, unmade)
			} else {
				measured, err = len(cells), r.failAll(ctx, trial, cells, unmade.err, "", nil)
			}
		}
		if err != nil {
			return err
		}
		cells = cells[measured:]
	}
	return nil
}

// stack starts one stack, measures as many of the cells on it as it lives
// for, and removes it. It returns how many cells now have a record; the next
// one was void, if it is in again.
func (r *run) stack(ctx context.Context, spec stacks.Spec, trial scenarios.Trial, cells []scenarios.Cell, again map[string]bool) (measured int, err error) {
	leave := r.enter(2*r.GPUWait+boundSpare, "wait for the GPU of", spec.Name)
	watch, err := r.watchGPU(ctx)
	leave()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err != nil {
		return len(cells), r.failAll(ctx, trial, cells, err, "", nil)
	}
	defer func() { err = errors.Join(err, watch.close(ctx)) }()

	l := &live{run: r, spec: spec, trial: trial, gpu: watch}
	done := r.spend(results.PhaseStart)
	began := time.Now()
	leave = r.enter(boundEngine, "start", spec.Name)
	l.stack, err = r.Runtime.Start(ctx, spec)
	leave()
	done()
	if err != nil {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		err = fmt.Errorf("start %s: %w", spec.Name, err)
		if errors.Is(err, stacks.ErrLost) {
			return 0, &lostStart{err}
		}
		return len(cells), r.failAll(ctx, trial, cells, err, "", nil)
	}
	started := time.Since(began).Seconds()
	l.facts.StartS = &started
	defer func() {
		watch.trial.Phase(gpu.PhaseTeardown)
		err = errors.Join(err, r.stopAgain(ctx, spec, l.stack))
	}()

	if err := l.makeReady(ctx); err != nil {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		err = fmt.Errorf("%s: %w", spec.Name, err)
		if why := l.stack.Check(ctx); disturbed(err) || disturbed(why) {
			return 0, &lostStart{errors.Join(err, why)}
		}
		output := l.logs(ctx)
		return len(cells), r.failAll(ctx, trial, cells, l.explained(err, "", output, gpu.Usage{}), output, &l.facts)
	}
	for i, cell := range cells {
		if err := context.Cause(ctx); err != nil {
			return i, err
		}
		rec, alive, err := l.measure(ctx, cell)
		if err != nil {
			return i, err
		}
		if errors.Is(l.void, stacks.ErrLost) {
			if err := r.reconnect(ctx, l.void); err != nil {
				return i, err
			}
			r.notify(Event{Kind: EventNote, Topology: spec.Name, Message: spec.Name + ": " + standing(ctx, l.stack)})
		}
		if l.void != nil && !again[cell.Name] {
			again[cell.Name] = true
			r.notify(Event{Kind: EventNote, Topology: spec.Name, Cell: cell.Name, Repeat: cell.Repeat,
				Message: cell.Name + " is void and is measured again on a new stack: " + l.void.Error()})
			return i, nil
		}
		if again[cell.Name] {
			rec.Flags = append(rec.Flags, results.FlagRepeated)
		}
		r.blame(l.void)
		if err := r.put(ctx, rec); err != nil {
			return i, err
		}
		watch.records = append(watch.records, rec)
		if !alive {
			return i + 1, nil
		}
	}
	return len(cells), nil
}

// stop removes a stack, also after the run was cancelled.
func (r *run) stop(ctx context.Context, spec stacks.Spec, stack stacks.Stack) error {
	defer r.spend(results.PhaseStop)()
	defer r.enter(boundEngine, "remove", spec.Name)()
	ctx, cancel := r.cleanup(ctx)
	defer cancel()
	r.notify(Event{Kind: EventStop, Topology: spec.Name})
	if err := stack.Stop(ctx); err != nil {
		return err
	}
	r.notify(Event{Kind: EventStopped, Topology: spec.Name})
	return nil
}

// failAll records the same failure for several cells.
func (r *run) failAll(ctx context.Context, trial scenarios.Trial, cells []scenarios.Cell, reason error, logs string, facts *results.Stack) error {
	r.blame(reason)
	for _, cell := range cells {
		rec := r.unmeasured(trial, cell)
		rec.Status, rec.Reason, rec.OutOfMemory = results.StatusFailed, reason.Error(), r.outOfMemory(reason)
		rec.LogTail, rec.Stack = logs, facts
		if err := r.put(ctx, rec); err != nil {
			return err
		}
	}
	return nil
}

// prune records the cells of a trial that a smaller topology says cannot fit,
// and returns the trial with those that are left.
func (r *run) prune(ctx context.Context, trial scenarios.Trial) (scenarios.Trial, error) {
	if r.pruning == nil {
		return trial, nil
	}
	var left []scenarios.Cell
	for _, cell := range trial.Cells {
		reason := r.pruning.Of(trial.Topology, cell)
		if reason == "" {
			left = append(left, cell)
			continue
		}
		rec := r.unmeasured(trial, cell)
		rec.Status, rec.Reason = results.StatusPruned, reason
		if err := r.put(ctx, rec); err != nil {
			return trial, err
		}
	}
	trial.Cells = left
	return trial, nil
}

// unmeasured is the record of a cell whose load has not been sent.
func (r *run) unmeasured(trial scenarios.Trial, cell scenarios.Cell) results.Record {
	const why = "the cell was not measured"
	return results.Record{
		Run: r.id, Topology: trial.Topology, Cell: cell, Started: time.Now(),
		GPU: gpu.Usage{Reason: why}, Memory: results.Memory{Reason: why},
	}
}

// A live is one running stack under measurement.
type live struct {
	*run
	spec    stacks.Spec
	trial   scenarios.Trial
	stack   stacks.Stack
	gpu     *gpuWatch
	facts   results.Stack
	seen    stacks.Facts // as the runtime read them back
	void    error        // why the last cell measured neither the stack nor its fault
	workers []int        // PIDs of the server's workers
	flags   []string     // that every cell of this stack carries
	warmed  *int64       // bytes: the stack's main memory after warm-up
}

// makeReady brings a started stack to where its cells can be measured: it
// answers, it is what was asked for, it has settled and it is warm.
func (l *live) makeReady(ctx context.Context) error {
	if l.gpu.trial != nil {
		// Whose memory it is counts from the first allocation on.
		if facts, err := l.stack.Inspect(ctx); err == nil {
			l.gpu.owners(facts, l.spec)
		}
	}
	for _, step := range []struct {
		phase string
		took  **float64 // of the facts; nil where they have none
		do    func(context.Context) error
	}{
		{results.PhaseReady, &l.facts.ReadyS, func(ctx context.Context) error {
			return l.survived(ctx, func(ctx context.Context) error { return stacks.WaitReady(ctx, l.spec, l.stack) })
		}},
		{results.PhaseVerify, nil, l.readBack},
		{results.PhaseWarmup, &l.facts.WarmupS, func(ctx context.Context) error {
			if err := l.survived(ctx, l.warmUp); err != nil {
				return err
			}
			return l.warmedUp(ctx)
		}},
	} {
		began := time.Now()
		leave := l.enter(l.stepBound(), "wait until it is ready, the same and warm:", l.spec.Name)
		err := step.do(ctx)
		leave()
		took := time.Since(began)
		l.spent[step.phase] += took
		if err != nil {
			return err
		}
		if step.took != nil {
			seconds := took.Seconds()
			*step.took = &seconds
		}
		if step.phase == results.PhaseReady {
			l.notify(Event{Kind: EventReady, Topology: l.spec.Name, Repeat: l.trial.Repeat})
		}
	}
	return nil
}

// stepBound is longer than a step of makeReady can take.
func (l *live) stepBound() time.Duration {
	requests := l.plan.Warmup * max(1, l.spec.Topology.Workers)
	return l.spec.Ready.Timeout + loadBound(l.plan.Request, scenarios.LoadSpec{Requests: requests})
}

// readBack looks for proof that what answers is what was asked for, and waits
// until all of it does.
func (l *live) readBack(ctx context.Context) error {
	found, err := servers.Verify(ctx, l.spec, l.stack)
	l.keep(found)
	if err != nil {
		return err
	}
	l.gpu.owners(found.Facts, l.spec)
	if !found.Loading {
		return nil
	}
	err = stacks.WaitSettled(ctx, l.stack)
	if errors.Is(err, stacks.ErrUnsettled) {
		l.flags = append(l.flags, results.FlagUnsettled)
		l.notify(Event{Kind: EventNote, Topology: l.spec.Name, Message: err.Error()})
		return nil
	}
	return err
}

// keep stores the facts that a record carries.
func (l *live) keep(found servers.Facts) {
	l.seen = found.Facts
	l.facts.Route = found.Route
	l.facts.GPU = found.GPU
	if l.noGPU != "" {
		l.facts.GPU = "none: " + l.noGPU
		l.flags = append(l.flags, results.FlagNoGPU)
	}
	if found.Route == stacks.RoutePublished {
		l.flags = append(l.flags, results.FlagPublished)
	}
	l.facts.Workers, l.facts.Threads, l.facts.Nginx = found.Workers, found.Threads, found.Nginx
	l.facts.Interpreters, l.facts.Slots = found.Interpreters, found.Slots
	l.workers = found.WorkerPIDs
	if found.Unread != "" {
		l.flags = append(l.flags, results.FlagUnverified)
		l.notify(Event{Kind: EventNote, Topology: l.spec.Name, Message: l.spec.Name + ": not read back: " + found.Unread})
	}
	for _, s := range found.Services {
		one := results.Service{Name: s.Service, Container: s.Container, Image: s.Image, Digest: s.Digest}
		for _, p := range s.Processes {
			one.Processes = append(one.Processes, p.Command)
		}
		l.facts.Services = append(l.facts.Services, one)
	}
}

// warmUp sends the warm-up's requests to each worker (as far as the server
// spreads them: as many clients as there are workers) and throws the figures
// away. It fails when nothing was answered as expected: a hundred more would
// not be either.
func (l *live) warmUp(ctx context.Context) error {
	if l.plan.Warmup > 0 {
		l.gpu.trial.Phase(gpu.PhaseWarmup)
		workers := max(1, l.spec.Topology.Workers)
		spec := scenarios.LoadSpec{Client: scenarios.ClientMT, Pool: workers, Requests: l.plan.Warmup * workers}
		if len(l.seen.Services) == 0 { // nobody knows its workers
			spec.Pool = min(spec.Requests, l.mostClients())
		}
		job := l.job(spec, l.trial.Repeat)
		job.Request.MaxErrors = nil // that is about cells
		batch, err := l.Client.Prepare(ctx, job)
		if err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
		defer batch.Close()
		result, err := batch.Fire(ctx)
		if err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
		if result.Replies == 0 {
			return fmt.Errorf("warm-up: %s", noReply(result))
		}
	}
	return nil
}

// mostClients is how many clients the trial's cells have at most; those of an
// open loop do not count.
func (l *live) mostClients() int {
	most := 1
	for _, cell := range l.trial.Cells {
		if cell.Load.Client != scenarios.ClientOpen {
			most = max(most, cell.Load.Pool)
		}
	}
	return most
}

// warmedUp notes the memory that a cell may begin at.
func (l *live) warmedUp(ctx context.Context) error {
	meter, err := l.stack.Meter(ctx)
	if err != nil {
		return err
	}
	l.warmed = meter.Stop().Start
	l.gpu.warmed(ctx)
	return nil
}

// job is a load against this stack. What is drawn by chance is drawn anew in
// each repeat, and is the same for all topologies.
func (l *live) job(spec scenarios.LoadSpec, repeat int) load.Job {
	return load.Job{
		URL: l.stack.URL(), Request: l.plan.Request, Load: spec, GiveUp: GiveUp,
		Seed: l.plan.Seed + uint64(repeat) - 1, Cores: l.cores,
	}
}

// logs is the tail of the stack's output, or why there is none.
func (l *live) logs(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logTimeout)
	defer cancel()
	var text bytes.Buffer
	if err := l.stack.Logs(ctx, &text); err != nil {
		fmt.Fprintf(&text, "(%v)\n", err)
	}
	return text.String()
}
