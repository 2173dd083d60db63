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

	// Strategy wraps the strategy of the plan in another one. May be nil.
	Strategy func(strategy.Strategy) strategy.Strategy

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
	dog := &watchdog{limit: o.StepLimit}
	if engine, ok := o.Runtime.(interface{ Waiting() []string }); ok {
		dog.waiting = engine.Waiting
	}
	book := &ledger{
		run: runID, recorder: o.Recorder, scrub: p.Scrubber(stacks.ProxySecrets()...), told: o.Notify, dog: dog,
		began: time.Now(), spent: map[string]time.Duration{}, planned: p.Cells(),
	}
	dog.told = book.notify
	l := &loop{Orchestrator: o, ledger: book, watchdog: dog, id: runID, plan: p, sampler: o.GPU, up: map[stackKey]*live{}, begun: map[stackKey]int{}, again: map[results.Key]bool{}}
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
