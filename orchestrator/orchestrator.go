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
	"sync"
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
	Agents  string        // the version of those that sample the GPUs of stacks on other machines; empty: none does, see NoGPU
	GPUWait time.Duration // for clean devices, before a stack or cell is refused; 0: look once
	Cores   []int         // of this machine, if the stacks run on it: the client gets cores of its own unless the scenario names some; nil: it does not

	// Devices are those that are recorded of the run already: of this machine, or what
	// the stacks of a resumed one got elsewhere.
	Devices []gpu.Device

	// LockMachine locks the machine for this run. It is called if the run has
	// devices but turns out to use none: it then disturbs other runs without a
	// GPU. May be nil.
	LockMachine func(context.Context) error

	// Room says what the machine has left for stacks that stay up, of a plan with
	// fresh: run. nil: as much as they take.
	Room func() (Room, error)

	// Past are records of earlier runs of the scenario, of which only memory is used:
	// what stacks took then, those of the same names are likely to take now. Without
	// them only one stack that stays up is started at first.
	Past []results.Record

	// Images are those that a resumed run began with, see results.Run. Run
	// refuses others.
	Images map[string]string

	// Strategy wraps the strategy of the plan in another one. May be nil.
	Strategy func(strategy.Strategy) strategy.Strategy

	// KeepCutShort records the cell that is under way when the run is cancelled:
	// as failed, with what was measured until then. Without it there is no record,
	// and a resumed run measures the cell.
	KeepCutShort bool

	// Reuse finds records of other runs that stand for cells that this run has not
	// measured: with the fingerprint of one that is wanted, and of the images that the
	// run is made from. They are entered into the run, and not measured. For a plan with
	// Search each candidate is wanted once, under its whole load, and what is found are
	// rounds of another search. nil: every cell is measured.
	Reuse func(ctx context.Context, images map[string]string, wanted []results.Record) ([]results.Record, error)

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
	// whether the stack got warm. It is called once, and again after records were reused.
	Repeats(ctx context.Context, run string) ([]results.Record, error)

	// Run returns the run and its records so far, with all their figures. It is called
	// for a plan with Search instead of Repeats.
	Run(ctx context.Context, run string) (results.Run, []results.Record, error)

	// Images records what the run is made from, see results.Run.
	Images(ctx context.Context, run string, images map[string]string) error

	// Lanes records what the run measures side by side with.
	Lanes(ctx context.Context, run string, lanes results.Lanes) error

	// Devices records the run's devices, once stacks got others than are known.
	Devices(ctx context.Context, run string, devices []gpu.Device) error

	// Planned records how many cells the run will measure. They may be fewer than
	// the plan has, if some turned out to be needless.
	Planned(ctx context.Context, run string, cells int) error

	// Spent adds to the wall time that the run spent on a phase.
	Spent(ctx context.Context, run string, phase string, d time.Duration) error
}

// ErrImages marks the error of a run whose images are not those any more that it began with.
var ErrImages = errors.New("the run cannot go on, because its images have changed since it began, so that new cells could not be compared with its own")

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
		began: time.Now(), planned: p.Cells(), devices: o.Devices,
	}
	dog.told = book.notify
	if store, ok := o.Recorder.(interface{ Locked() bool }); ok {
		dog.excused = store.Locked
	}
	l := &loop{
		Orchestrator: o, ledger: book, watchdog: dog, id: runID, plan: p, sampler: o.GPU,
		images: o.Images, begun: map[stackKey]int{}, ready: map[string]bool{},
	}
	l.decided = sync.NewCond(&l.deciding)
	book.alike = func(r results.Record) string { return l.plan.CellFingerprint(r.Topology, r.Cell.Load) }
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
	if flush := book.account(ctx, l.plannedCells(), l.phasesOfLanes()...); err == nil {
		err = flush
	}
	return err
}
