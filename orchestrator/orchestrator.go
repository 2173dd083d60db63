// Package orchestrator executes a plan: it starts each topology's stack, waits
// until it answers, reads back what really runs, warms it up, sends each
// cell's load while memory is watched, writes the record down and removes the
// stack.
//
// A cell's failure is data: its record says why, with the tail of the logs,
// and the run goes on. Run itself fails only when it is cancelled, when a
// record cannot be written, when a stack cannot be removed, or when the
// machine lacks what the whole scenario asks for.
package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

// An Orchestrator executes plans. Runtime, Client and Recorder are needed.
type Orchestrator struct {
	Runtime stacks.Runtime
	Client  load.Client
	GPU     *gpu.Sampler  // nil on a machine without a GPU that can be read
	NoGPU   string        // why GPU is nil, for the record
	GPUWait time.Duration // for clean devices, before the trial or cell is refused; 0: they are looked at once
	Cores   []int         // of the machine, where the stacks are on this one: the client is kept apart from them unless the scenario says how; nil: it is not

	// LockMachine takes the machine for this run, which has devices and turns
	// out to use none of them: it then disturbs others that use none. May be
	// nil.
	LockMachine func(context.Context) error

	// Images are those that a resumed run began with, see results.Run: it is
	// refused when they are others now.
	Images map[string]string

	// KeepCutShort has a cell recorded that is under way when the run is
	// cancelled: as failed, with what was measured until then. Without it such a
	// cell leaves no record, and a resumed run measures it.
	KeepCutShort bool

	EngineWait time.Duration // for an engine that went away to come back; 0: DefaultEngineWait
	StepLimit  time.Duration // of any step, before it counts as stuck; 0: what follows from the scenario and the deadlines within

	Recorder Recorder
	Notify   func(Event) // may be nil; is called from one goroutine at a time, and holds up the run until it returns
}

// A Recorder keeps what was measured. What Put returned nil for survives
// anything that happens afterwards.
type Recorder interface {
	// Put writes a record. It replaces an earlier one of the same cell.
	Put(ctx context.Context, r results.Record) error

	// Repeats returns the run's records so far, in the order in which they were
	// made. Only what says whether a cell has to be measured is needed of them:
	// the cell, the repeat, the status, the errors, the duration, which memory
	// it failed for, and whether its stack got warm. It is asked once.
	Repeats(ctx context.Context, run string) ([]results.Record, error)

	// Images records what the run is made from, see results.Run.
	Images(ctx context.Context, run string, images map[string]string) error

	// Planned records how many cells the run is to measure, where some of the
	// plan turned out to be needless.
	Planned(ctx context.Context, run string, cells int) error

	// Spent adds to the wall time that the run spent on a phase.
	Spent(ctx context.Context, run string, phase string, d time.Duration) error
}

// ErrImages marks the error of a run that is resumed with other images.
var ErrImages = errors.New("the run cannot be resumed, because its images have changed since it began, so that new cells could not be compared with its own")

// Limits of the loop's own steps. Those of requests and of readiness are the
// scenario's.
const (
	stopTimeout        = 4 * time.Minute
	interruptedTimeout = 7 * time.Second         // of removing everything once the run was cancelled: who cancels waits, and kills after ten seconds
	lastLookTimeout    = 1500 * time.Millisecond // of looking whether anything is left, where removing took all of that
	recordTimeout      = 30 * time.Second
	logTimeout         = 30 * time.Second
)

// Run executes the plan under the run's id. Cells that the run holds as ok are
// skipped, so that the same call resumes an interrupted run.
func (o *Orchestrator) Run(ctx context.Context, runID string, p scenarios.Plan) error {
	r := &run{Orchestrator: o, id: runID, plan: p, scrub: p.Scrubber(stacks.ProxySecrets()...), spent: map[string]time.Duration{}, began: time.Now(), sampler: o.GPU}
	if o.GPU != nil && p.Resources.GPU.MPS != nil {
		sampler := *o.GPU
		sampler.MPS = true
		r.sampler = &sampler
	}
	err := r.guarded(ctx, r.execute)
	if left := r.leftovers(ctx); left != nil {
		err = errors.Join(err, left)
	}
	if r.abandoned.Load() {
		return err // its account is still being written to
	}
	if flush := r.flush(ctx, true); err == nil {
		err = flush
	}
	return err
}

// A run is one call of Run.
type run struct {
	*Orchestrator
	id      string
	plan    scenarios.Plan
	sampler *gpu.Sampler     // the Orchestrator's GPU, as the plan needs it
	gpus    []string         // UUIDs that each stack is given
	noGPU   string           // why gpus is empty although the scenario would use one
	idle    map[string]int64 // bytes in use on each device, by UUID, before the first stack

	scrub func(string) string // takes values that may be secrets out of a text

	cores   []int            // that the client may use; any when empty
	broken  map[string]error // by topology: why it cannot be started at all
	repeats *results.Repeats // which trials are still needed; nil of a plan without Until
	planned int              // as recorded last; 0 before that
	pruning *results.Pruning // which cells need not be started; nil of a plan without Prune

	steps     steps
	cancel    context.CancelCauseFunc // of the run's own context
	abandoned atomic.Bool             // nobody waits for it any more
	telling   sync.Mutex              // held while Notify is called

	hurry  time.Time // under steps.mu: by when everything has to be removed, once the run was cancelled
	engine error     // why cells failed that the engine failed, the first one

	began    time.Time
	spent    map[string]time.Duration // since the last flush
	flushed  time.Duration            // of all phases
	finished int                      // trials
}

func (r *run) execute(ctx context.Context) error {
	leave := r.enter(boundEngine, "ask the engine")
	err := r.Runtime.Check(ctx)
	leave()
	if err != nil {
		return err
	}
	if err := r.keepApart(); err != nil {
		return err
	}
	if r.gpus, r.noGPU, err = r.Runtime.Devices(ctx, r.plan.Resources.GPU); err != nil {
		return err
	}
	if r.noGPU != "" {
		r.notify(Event{Kind: EventNote, Message: "no GPU is used: " + r.noGPU})
	}
	// Leftovers first: what a killed run left would share the machine with
	// what is measured now. And last: the engine may still have been making
	// something for a killed run when this one began.
	if err := r.sweep(ctx); err != nil {
		return err
	}
	if err := r.trials(ctx); err != nil {
		return err
	}
	if err := r.sweep(ctx); err != nil {
		return err
	}
	return r.engine
}

// keepApart says which cores the client and the stacks run on.
func (r *run) keepApart() error {
	client, stack, err := scenarios.Apart(r.Cores, r.plan.Client, r.plan.Resources, r.plan.ClientProcesses())
	if err != nil {
		return err
	}
	if r.plan.Resources.Cpuset == "" && len(stack) > 0 {
		r.plan.Resources.Cpuset = scenarios.FormatCpuset(stack)
		r.notify(Event{Kind: EventNote, Message: fmt.Sprintf("the client runs on core %s and the stacks on %s; client.cpuset and resources.cpuset can say otherwise",
			scenarios.FormatCpuset(client), r.plan.Resources.Cpuset)})
	}
	r.cores = client
	return nil
}

// sweep removes what runs left behind whose process is gone.
func (r *run) sweep(ctx context.Context) error {
	defer r.enter(boundEngine, "remove what a killed run left behind")()
	removed, err := r.Runtime.Sweep(ctx, "")
	for _, name := range removed {
		r.notify(Event{Kind: EventNote, Message: "removed what a killed run left behind: " + name})
	}
	if err != nil {
		return fmt.Errorf("remove what a killed run left behind: %w", err)
	}
	return nil
}

// leftovers looks, however the run ended, whether anything of it is still
// there: that each stack was removed is not proof. What is there is removed;
// what cannot be removed is named.
func (r *run) leftovers(ctx context.Context) error {
	ctx, cancel := r.cleanup(ctx)
	defer cancel()
	removed, err := r.Runtime.Sweep(ctx, r.id)
	for _, name := range removed {
		r.notify(Event{Kind: EventNote, Message: "removed what was still there at the end of the run: " + name})
	}
	if err != nil {
		return fmt.Errorf("look whether anything of the run is left: %w; stackmeter clean --run %s removes it", err, r.id)
	}
	return nil
}

// cleanup is the context for removing something, also after the run was
// cancelled: then all that is left to remove has to be gone by one moment, and
// so has what was being removed when it was.
func (r *run) cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return context.WithTimeout(context.WithoutCancel(ctx), max(lastLookTimeout, time.Until(r.hurried())))
	}
	clean, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	late := time.AfterFunc(stopTimeout, func() { cancel(context.DeadlineExceeded) })
	hurry := context.AfterFunc(ctx, func() { late.Reset(max(lastLookTimeout, time.Until(r.hurried()))) })
	return clean, func() {
		hurry()
		late.Stop()
		cancel(nil)
	}
}

// hurried is by when everything has to be removed. It is asked first when the
// run is cancelled.
func (r *run) hurried() time.Time {
	r.steps.mu.Lock()
	defer r.steps.mu.Unlock()
	if r.hurry.IsZero() {
		r.hurry = time.Now().Add(interruptedTimeout)
	}
	return r.hurry
}

// trials makes the images and then measures trial after trial.
func (r *run) trials(ctx context.Context) error {
	made, err := r.Recorder.Repeats(ctx, r.id)
	if err != nil {
		return err
	}
	if r.plan.Until != nil {
		r.repeats = results.NewRepeats(r.plan, made)
	}
	todo := r.missing(made)
	if r.plan.Prune {
		r.pruning = results.NewPruning(r.plan, made, todo)
	}
	if err := r.prepare(ctx, todo); err != nil {
		return err
	}
	r.notify(Event{Kind: EventRun, Trials: len(todo), Requests: requests(todo)})
	for i, trial := range todo {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		r.finished = i
		if !r.needed(trial) {
			r.notify(Event{Kind: EventSkip, Topology: trial.Topology.Name, Repeat: trial.Repeat, Requests: requests(todo[i : i+1])})
			continue
		}
		if err := r.trial(ctx, trial, len(todo)); err != nil {
			return err
		}
		if err := r.flush(ctx, false); err != nil {
			return err
		}
	}
	r.tellEnds(len(todo) > 0)
	return nil
}

// needed reports whether the repeats before a trial leave something to be
// found out by it.
func (r *run) needed(trial scenarios.Trial) bool {
	return r.repeats == nil || r.repeats.Needed(trial)
}

// tellEnds says how the repeats ended, where there was something to measure.
func (r *run) tellEnds(measured bool) {
	if r.repeats == nil || !measured {
		return
	}
	for _, end := range r.repeats.Ends() {
		r.notify(Event{Kind: EventNote, Topology: end.Topology, Message: end.Sentence(r.plan)})
	}
}

// missing returns the plan without the cells that the run already holds as ok,
// and without the trials that are known not to be needed.
func (r *run) missing(made []results.Record) []scenarios.Trial {
	type repeat struct {
		topology, cell string
		of             int
	}
	done := map[repeat]bool{}
	for _, record := range made {
		done[repeat{record.Topology.Name, record.Cell.Name, record.Cell.Repeat}] = record.Status == results.StatusOK
	}
	var todo []scenarios.Trial
	for _, trial := range r.plan.Trials {
		if !r.needed(trial) {
			continue
		}
		left := trial
		left.Cells = nil
		for _, cell := range trial.Cells {
			if !done[repeat{trial.Topology.Name, cell.Name, cell.Repeat}] {
				left.Cells = append(left.Cells, cell)
			}
		}
		if len(left.Cells) > 0 {
			todo = append(todo, left)
		}
	}
	return todo
}

func requests(trials []scenarios.Trial) int {
	n := 0
	for _, t := range trials {
		for _, c := range t.Cells {
			n += c.Load.Requests
		}
	}
	return n
}

// prepare makes the images of every topology before the first stack starts,
// so that a missing one is found now and building is not part of a trial.
// Where the runtime then turns out not to get a GPU into a stack, the mode auto
// means that no stack has one: with and without, they could not be compared.
func (r *run) prepare(ctx context.Context, todo []scenarios.Trial) error {
	defer r.spend(results.PhaseImages)()
	if len(r.Images) > 0 {
		todo = slices.Concat(todo, r.plan.Trials) // those that are finished are compared too
	}
	images, err := r.prepareAll(ctx, todo)
	if errors.Is(err, stacks.ErrNoGPU) && r.plan.Resources.GPU.Mode == scenarios.GPUAuto {
		r.gpus, r.noGPU = nil, err.Error()
		r.plan.Resources.GPU = scenarios.GPU{Mode: scenarios.GPUOff}
		r.notify(Event{Kind: EventNote, Message: "no GPU is used: " + r.noGPU})
		if r.LockMachine != nil {
			if err := r.LockMachine(ctx); err != nil {
				return err
			}
		}
		images, err = r.prepareAll(ctx, todo)
	}
	if err != nil {
		return err
	}
	return r.pin(ctx, images)
}

// clientImage is the name of the load client's image among those of a run.
const clientImage = "load client"

// prepareAll returns the images by name, see results.Run. What the runtime made
// or found is what it starts from then on, whatever becomes of its tags.
func (r *run) prepareAll(ctx context.Context, todo []scenarios.Trial) (map[string]string, error) {
	r.broken = map[string]error{}
	images := map[string]string{}
	digest, err := r.prepareClient(ctx)
	if err != nil {
		return nil, err
	}
	if digest != "" {
		images[clientImage] = digest
	}
	seen := map[string]bool{}
	for _, trial := range todo {
		name := trial.Topology.Name
		if seen[name] {
			continue
		}
		seen[name] = true
		leave := r.enter(boundImages, "make the images of", name)
		spec, err := servers.Expand(r.id, r.plan, trial.Topology)
		if err == nil {
			err = r.Runtime.Prepare(ctx, spec, func(line string) {
				r.notify(Event{Kind: EventImage, Topology: name, Message: line})
			})
		}
		leave()
		switch {
		case err == nil:
			for _, s := range spec.Services {
				if digest := r.Runtime.Digest(s); digest != "" {
					images[name+"/"+s.Name] = digest
				}
			}
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, stacks.ErrUnavailable), errors.Is(err, stacks.ErrNoGPU), errors.Is(err, stacks.ErrLost):
			return nil, fmt.Errorf("topology %s: %w", name, err)
		default:
			r.broken[name] = err
			r.notify(Event{Kind: EventNote, Topology: name, Message: fmt.Sprintf("%s cannot be started: %v", name, err)})
		}
	}
	return images, nil
}

// prepareClient makes the load client's image. Without it there is nothing to
// measure with.
func (r *run) prepareClient(ctx context.Context) (digest string, err error) {
	defer r.enter(boundImages, "make the image of the load client")()
	digest, err = r.Client.Image(ctx, func(line string) {
		r.notify(Event{Kind: EventImage, Message: line})
	})
	switch {
	case err == nil:
		return digest, nil
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	}
	return "", fmt.Errorf("load client: %w", err)
}

// pin records the images that the run is made from. Those that it began with
// have to be the same; one that could not be had then is new.
func (r *run) pin(ctx context.Context, images map[string]string) error {
	var changed []string
	for name, was := range r.Images {
		if is := images[name]; is != "" && is != was {
			changed = append(changed, fmt.Sprintf("%s: was %s, is %s", name, was, is))
		}
		images[name] = was
	}
	if len(changed) > 0 {
		slices.Sort(changed)
		return fmt.Errorf("%w:\n  %s\nstart a new run", ErrImages, strings.Join(changed, "\n  "))
	}
	if len(images) == 0 {
		return nil
	}
	return r.Recorder.Images(ctx, r.id, images)
}

// spend measures a phase until the returned function is called.
func (r *run) spend(phase string) (done func()) {
	began := time.Now()
	return func() { r.spent[phase] += time.Since(began) }
}

// flush writes down what the wall time since the last flush was spent on, and
// how many cells the run is to measure, where that has changed. At the end of
// the run, whatever belongs to no phase is the rest.
func (r *run) flush(ctx context.Context, last bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	for _, d := range r.spent {
		r.flushed += d
	}
	if last {
		r.spent[results.PhaseOther] += max(0, time.Since(r.began)-r.flushed)
	}
	for phase, d := range r.spent {
		if err := r.Recorder.Spent(ctx, r.id, phase, d); err != nil {
			return fmt.Errorf("record what the time was spent on: %w", err)
		}
	}
	clear(r.spent)
	if r.repeats == nil {
		return nil
	}
	planned := r.plan.Cells() - r.repeats.Needless()
	if planned == r.planned {
		return nil
	}
	r.planned = planned
	return r.Recorder.Planned(ctx, r.id, planned)
}

// write puts a record on disk, also after the run was cancelled.
func (r *run) write(ctx context.Context, rec results.Record) error {
	if r.abandoned.Load() {
		return errors.New("the run has ended without this record")
	}
	defer r.enter(boundRecord, "write the record of", rec.Cell.Name)()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := r.Recorder.Put(ctx, r.scrubbed(rec)); err != nil {
		return fmt.Errorf("record %s: %w", rec.Cell.Name, err)
	}
	return nil
}

// scrubbed is a record without the environment's values where the app may
// have printed them, or has them in its command line.
func (r *run) scrubbed(rec results.Record) results.Record {
	rec.Reason, rec.LogTail = r.scrub(rec.Reason), r.scrub(rec.LogTail)
	rec.FirstErrors = maps.Clone(rec.FirstErrors)
	for kind, text := range rec.FirstErrors {
		rec.FirstErrors[kind] = r.scrub(text)
	}
	if rec.Stack == nil {
		return rec
	}
	stack := *rec.Stack
	stack.GPU, stack.Nginx = r.scrub(stack.GPU), r.scrub(stack.Nginx)
	stack.Services = slices.Clone(stack.Services)
	for i := range stack.Services {
		s := &stack.Services[i]
		s.Processes = slices.Clone(s.Processes)
		for j, command := range s.Processes {
			s.Processes[j] = r.scrub(command)
		}
	}
	rec.Stack = &stack
	return rec
}

// put writes a new record and tells of it.
func (r *run) put(ctx context.Context, rec results.Record) error {
	if err := r.write(ctx, rec); err != nil {
		return err
	}
	if r.repeats != nil {
		r.repeats.Add(rec)
	}
	if r.pruning != nil {
		r.pruning.Add(rec)
	}
	r.notify(Event{Kind: EventResult, Topology: rec.Topology.Name, Cell: rec.Cell.Name, Repeat: rec.Cell.Repeat,
		Requests: rec.Cell.Load.Requests, Status: rec.Status, Duration: rec.Duration, Message: rec.Reason, Flags: rec.Flags})
	return nil
}

func (r *run) notify(e Event) {
	r.telling.Lock()
	defer r.telling.Unlock()
	if r.Notify != nil && !r.abandoned.Load() {
		e.Time = time.Now()
		e.Message = r.scrub(e.Message)
		r.Notify(e)
	}
}
