package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/strategy"
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
)

// A loop is one call of Run. It does what its strategy says, step by step.
type loop struct {
	*Orchestrator
	*ledger
	*watchdog
	id      string
	plan    scenarios.Plan
	sampler *gpu.Sampler     // the Orchestrator's GPU, as the plan needs it
	gpus    []string         // UUIDs of the devices that stacks may get
	noGPU   string           // why gpus is empty although the scenario would use a GPU
	idle    map[string]int64 // bytes in use on each device, by UUID, before the first stack
	cores   []int            // that the client may use; empty: any
	broken  map[string]error // by topology: why it can never be started
	ready   map[string]bool  // topologies that have been ready

	strategy strategy.Strategy
	trials   int                  // to do when the run began
	mu       sync.Mutex           // held while the two are used, where stacks start or stop at the same time
	begun    map[stackKey]int     // trials that were begun or skipped, numbered from 1
	up       map[stackKey]*live   // stacks that run
	again    map[results.Key]bool // cells that were void once
	engine   error                // the first failure of a cell that the engine caused
	rounds   rounds               // of fresh: run
}

// mostUp is how many stacks may be up at once, unless the scenario says fresh: run:
// others would disturb the one under measurement.
const mostUp = 1

// A stackKey names the stack of a trial.
type stackKey struct {
	topology string
	repeat   int    // with fresh: run the number of the start
	cell     string // empty unless each cell has a stack of its own
}

func (l *loop) execute(ctx context.Context) error {
	leave := l.enter(boundEngine, "ask the engine")
	err := l.Runtime.Check(ctx)
	leave()
	if err != nil {
		return err
	}
	if err := l.keepApart(); err != nil {
		return err
	}
	if l.gpus, l.noGPU, err = l.Runtime.Devices(ctx, l.plan.Resources.GPU); err != nil {
		return err
	}
	if l.noGPU != "" {
		l.notify(Event{Kind: EventNote, Message: "no GPU is used: " + l.noGPU})
	}
	// Sweep first, because what a killed run left behind would share the machine
	// with what is measured now. Sweep again at the end: when this run began, the
	// engine may still have been making something for a killed one.
	if err := l.sweep(ctx); err != nil {
		return err
	}
	if err := l.steps(ctx); err != nil {
		return err
	}
	if err := l.sweep(ctx); err != nil {
		return err
	}
	return l.engine
}

// keepApart decides which cores the client and the stacks run on.
func (l *loop) keepApart() error {
	client, stack, err := scenarios.Apart(l.Cores, l.plan.Client, l.plan.Resources, l.plan.ClientProcesses())
	if err != nil {
		return err
	}
	if l.plan.Resources.Cpuset == "" && len(stack) > 0 {
		l.plan.Resources.Cpuset = units.FormatCpuset(stack)
		l.notify(Event{Kind: EventNote, Message: fmt.Sprintf("the client runs on core %s and the stacks on %s; client.cpuset and resources.cpuset can say otherwise",
			units.FormatCpuset(client), l.plan.Resources.Cpuset)})
	}
	l.cores = client
	return nil
}

// sweep removes what runs left behind whose process has ended.
func (l *loop) sweep(ctx context.Context) error {
	defer l.enter(boundEngine, "remove what a killed run left behind")()
	removed, err := l.Runtime.Sweep(ctx, "")
	for _, name := range removed {
		l.notify(Event{Kind: EventNote, Message: "removed what a killed run left behind: " + name})
	}
	if err != nil {
		return fmt.Errorf("remove what a killed run left behind: %w", err)
	}
	return nil
}

// leftovers looks whether anything of the run is still there, however the run
// ended: that each stack was removed proves nothing. It removes what it finds and
// names what it cannot remove.
func (l *loop) leftovers(ctx context.Context) error {
	ctx, cancel := l.cleanup(ctx)
	defer cancel()
	removed, err := l.Runtime.Sweep(ctx, l.id)
	for _, name := range removed {
		l.notify(Event{Kind: EventNote, Message: "removed what was still there at the end of the run: " + name})
	}
	if err != nil {
		return fmt.Errorf("look whether anything of the run is left: %w; stackmeter clean --run %s removes it", err, l.id)
	}
	return nil
}

// steps makes the images and does what the strategy says until nothing is left to
// find out. No stack is up afterwards.
func (l *loop) steps(ctx context.Context) (err error) {
	made, err := l.Recorder.Repeats(ctx, l.id)
	if err != nil {
		return err
	}
	var todo []scenarios.Trial
	l.strategy, todo = strategy.New(l.plan, made)
	if l.Strategy != nil {
		l.strategy = l.Strategy(l.strategy)
	}
	l.added = l.strategy.Add
	if err := l.prepare(ctx, todo); err != nil {
		return err
	}
	l.rounds.resume(made)
	l.trials = len(todo)
	if l.stays() {
		l.trials = len(verdict.GroupBy(todo, l.key))
	}
	l.notify(Event{Kind: EventRun, Trials: l.trials, Requests: requests(todo)})
	defer func() {
		err = errors.Join(err, l.removeAll(ctx, l.others(nil)))
	}()
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		step, more := l.strategy.Next(strategy.Capacity{Stacks: mostUp - len(l.up), Up: l.isUp, Fits: l.fits(ctx)})
		if !more {
			break
		}
		if err := l.do(ctx, step); err != nil {
			return err
		}
	}
	if l.trials > 0 {
		for _, why := range l.strategy.Why() {
			l.notify(Event{Kind: EventNote, Topology: why.Topology, Message: why.Text})
		}
	}
	return nil
}

// plannedCells is how many of the plan's cells will have a record.
func (l *loop) plannedCells() int {
	planned := l.plan.Cells()
	if l.strategy != nil {
		for _, why := range l.strategy.Why() {
			planned -= why.Cells
		}
	}
	return planned
}

// do does one step.
func (l *loop) do(ctx context.Context, step strategy.Step) error {
	for _, trial := range step.Skip {
		if !l.stays() {
			l.number(trial)
		}
		l.notify(Event{Kind: EventSkip, Topology: trial.Topology.Name, Repeat: trial.Repeat, Requests: requests([]scenarios.Trial{trial})})
	}
	for _, pruned := range step.Prune {
		if err := l.broken[pruned.Trial.Topology.Name]; err != nil { // it could not have been started at all
			one := pruned.Trial
			one.Cells = []scenarios.Cell{pruned.Cell}
			if err := l.failAll(ctx, one, err, "", nil); err != nil {
				return err
			}
			continue
		}
		rec := l.unmeasured(pruned.Trial, pruned.Cell)
		rec.Status, rec.Reason = results.StatusPruned, pruned.Reason
		if err := l.put(ctx, rec); err != nil {
			return err
		}
	}
	if err := l.startAll(ctx, step.Start); err != nil {
		return err
	}
	if step.Measure != nil {
		if err := l.measureOn(ctx, *step.Measure); err != nil {
			return err
		}
	}
	var stop []*live
	for _, trial := range step.Stop {
		if s := l.up[l.key(trial)]; s != nil {
			stop = append(stop, s)
		}
	}
	if err := l.removeAll(ctx, stop); err != nil {
		return err
	}
	if len(l.up) == 0 {
		return l.flush(ctx, l.plannedCells())
	}
	return nil
}

func (l *loop) key(trial scenarios.Trial) stackKey {
	key := stackKey{topology: trial.Topology.Name, repeat: trial.Repeat}
	switch l.plan.Fresh {
	case scenarios.FreshCell:
		key.cell = trial.Cells[0].Name
	case scenarios.FreshRun:
		key.repeat = l.plan.Start(trial.Repeat)
	}
	return key
}

// number is the number of a trial, in the order in which trials begin.
func (l *loop) number(trial scenarios.Trial) int {
	key := l.key(trial)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun[key] == 0 {
		l.begun[key] = len(l.begun) + 1
	}
	return l.begun[key]
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
