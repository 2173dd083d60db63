// Package orchestrator executes a plan. It starts each topology's stack, waits
// until it answers, reads back what really runs, warms it up, sends each cell's
// load while it samples memory, records the result and removes the stack.
//
// A failed cell is a result: its record says why, with the tail of the logs, and
// the run goes on. Run itself fails only if it is cancelled, a record cannot be
// written, a stack cannot be removed, or the machine lacks what the whole scenario
// asks for.
package orchestrator

import (
	"context"
	"errors"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/strategy"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// An Orchestrator executes plans. Runtime, Client and Recorder are needed.
type Orchestrator struct {
	Runtime stacks.Runtime
	Client  load.Client
	GPU     *gpu.Sampler  // nil if the machine has no GPU that can be read
	NoGPU   string        // why GPU is nil, for the record
	GPUWait time.Duration // for clean devices, before a stack or cell is refused; 0: look once
	Cores   []int         // of this machine, if the stacks run on it: the client gets cores of its own unless the scenario names some; nil: it does not

	// LockMachine locks the machine for this run. It is called if the run has
	// devices but turns out to use none: it then disturbs other runs without a
	// GPU. May be nil.
	LockMachine func(context.Context) error

	// Room says what the machine has left for stacks that stay up, of a plan with
	// fresh: run. nil: as much as they take.
	Room func() (Room, error)

	// Images are those that a resumed run began with, see results.Run. Run
	// refuses others.
	Images map[string]string

	// Strategy wraps the strategy of the plan in another one. May be nil.
	Strategy func(strategy.Strategy) strategy.Strategy

	// KeepCutShort records the cell that is under way when the run is cancelled:
	// as failed, with what was measured until then. Without it there is no record,
	// and a resumed run measures the cell.
	KeepCutShort bool

	EngineWait time.Duration // for an engine that went away to come back; 0: defaultEngineWait
	StepLimit  time.Duration // after which a step counts as stuck; 0: it follows from the scenario and the deadlines within the step

	Recorder Recorder
	Notify   func(Event) // may be nil; one goroutine calls it at a time, and the run waits until it returns
}

// A Recorder keeps what was measured. Once Put has returned nil, the record
// survives whatever happens. Its methods may take as long as the run may while a
// method Locked() bool, if there is one, returns true: somebody else has what they
// need. They return soon after the run was cancelled.
type Recorder interface {
	// Put writes a record. It replaces an earlier one of the same cell.
	Put(ctx context.Context, r results.Record) error

	// Repeats returns the run's records so far, in the order in which they were
	// made. They need only what says whether a cell has to be measured: the cell,
	// the repeat, the status, the errors, the duration, which memory ran out, and
	// whether the stack got warm. It is called once.
	Repeats(ctx context.Context, run string) ([]results.Record, error)

	// Images records what the run is made from, see results.Run.
	Images(ctx context.Context, run string, images map[string]string) error

	// Planned records how many cells the run will measure. They may be fewer than
	// the plan has, if some turned out to be needless.
	Planned(ctx context.Context, run string, cells int) error

	// Spent adds to the wall time that the run spent on a phase.
	Spent(ctx context.Context, run string, phase string, d time.Duration) error
}

// ErrImages marks the error of a run that is resumed with other images.
var ErrImages = errors.New("the run cannot be resumed, because its images have changed since it began, so that new cells could not be compared with its own")

// Time-outs of the loop's own steps. Those of requests and of readiness are in the
// scenario.
const (
	stopTimeout        = 4 * time.Minute
	interruptedTimeout = 7 * time.Second         // to remove everything once the run is cancelled: whoever cancelled it kills it after ten seconds
	lastLookTimeout    = 1500 * time.Millisecond // to look whether anything is left, if removing took all of that
	logTimeout         = 30 * time.Second
)

// Run executes the plan under the run's id. It skips cells that are already
// recorded as ok, so the same call resumes an interrupted run.
func (o *Orchestrator) Run(ctx context.Context, runID string, p scenarios.Plan) error {
	dog := &watchdog{limit: o.StepLimit}
	if engine, ok := o.Runtime.(interface{ Waiting() []string }); ok {
		dog.waiting = engine.Waiting
	}
	book := &ledger{
		run: runID, recorder: o.Recorder, scrub: p.Scrubber(stacks.ProxySecrets()...), told: o.Notify, dog: dog,
		began: time.Now(), spent: map[string]time.Duration{}, planned: p.Cells(),
	}
	dog.told = book.notify
	if store, ok := o.Recorder.(interface{ Locked() bool }); ok {
		dog.excused = store.Locked
	}
	l := &loop{
		Orchestrator: o, ledger: book, watchdog: dog, id: runID, plan: p, sampler: o.GPU,
		up: map[stackKey]*live{}, begun: map[stackKey]int{}, again: map[results.Key]bool{}, ready: map[string]bool{},
	}
	if o.GPU != nil && p.Resources.GPU.MPS != nil {
		sampler := *o.GPU
		sampler.MPS = true
		l.sampler = &sampler
	}
	err := dog.guard(ctx, l.execute, func() { book.closed.Store(true) })
	if left := l.leftovers(ctx); left != nil {
		err = errors.Join(err, left)
	}
	if book.closed.Load() {
		return err // the ledger is still being written to
	}
	if flush := book.close(ctx, l.plannedCells()); err == nil {
		err = flush
	}
	return err
}
