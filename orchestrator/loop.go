package orchestrator

import (
	"context"
	"fmt"
	"sync"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/lanes"
	"stackmeter/orchestrator/strategy"
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
)

// A loop is one call of Run. It does what its strategy says, step by step.
type loop struct {
	*Orchestrator
	*ledger
	*watchdog
	id      string
	plan    scenarios.Plan
	images  map[string]string // that the run is made from, see results.Run; at first, that it began with
	sampler *gpu.Sampler      // the Orchestrator's GPU, as the plan needs it
	share   lanes.Share       // what the lanes have, before there is a stack
	devices [][]string        // of each lane, by UUID
	noGPU   string            // why there are none although the scenario would use a GPU
	broken  map[string]error  // by topology: why it can never be started
	ready   map[string]bool   // topologies that have been ready

	lanes    []*lane
	apart    bool       // each has cores of its own
	deciding sync.Mutex // held while the strategy and what follows is used
	strategy strategy.Strategy
	decided  *sync.Cond // there is a new record, or over is set
	waiting  int        // lanes that had nothing to do since the last record
	gone     []bool     // by lane: its devices were lost
	over     bool       // nothing is left to find out, or a lane has failed

	trials    int              // to do when the run began
	starting  sync.RWMutex     // held to read while a stack starts
	learning  sync.Mutex       // held while images is used and stacks start
	mu        sync.Mutex       // held while what follows is used, or up of a lane: stacks start and stop at the same time
	begun     map[stackKey]int // trials that were begun or skipped, numbered from 1
	unsampled string           // the last reason why an agent did not sample
	engine    error            // the first failure of a cell that the engine caused
	rounds    rounds           // of fresh: run
	search    searching        // of a plan with Search
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
	if l.share, err = lanes.Devices(ctx, l.Runtime, l.plan); err != nil {
		return err
	}
	l.devices, l.noGPU = l.share.Devices, l.share.None
	if _, err := l.divide(); err != nil {
		return err
	}
	if l.noGPU != "" {
		l.notify(Event{Kind: EventNote, Message: "no GPU is used: " + l.noGPU})
	}
	if l.share.Room != "" {
		l.notify(Event{Kind: EventNote, Message: "room in the cluster: " + l.share.Room})
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
	made, err := l.made(ctx)
	if err != nil {
		return err
	}
	todo := l.decide(made)
	l.added = l.add
	if err := l.prepare(ctx, todo); err != nil {
		return err
	}
	if l.Reuse != nil {
		if made, err = l.reuse(ctx, made); err != nil {
			return err
		}
		todo = l.decide(made)
	}
	l.rounds.resume(made, l.Past)
	if err := l.sideBySide(ctx, todo); err != nil {
		return err
	}
	l.rounds.resume(made, l.Past) // what a check of the lanes saw is forgotten
	l.trials = len(todo)
	if l.stays() {
		l.trials = len(verdict.GroupBy(todo, l.key))
	}
	begins := Event{Kind: EventRun, Trials: l.trials, Requests: requests(todo)}
	if l.plan.Search != nil {
		begins.Requests, begins.Candidates = 0, l.plan.Cells()
	}
	l.notify(begins)
	if err := l.lanesWork(ctx); err != nil {
		return err
	}
	if l.trials > 0 {
		for _, why := range l.strategy.Why() {
			l.notify(Event{Kind: EventNote, Topology: why.Topology, Message: why.Text})
		}
	}
	return nil
}

// decide makes the strategy from the records of the run, and returns what is to do.
func (l *loop) decide(made []results.Record) (todo []scenarios.Trial) {
	l.strategy, todo = strategy.New(l.plan, made)
	if l.Strategy != nil {
		l.strategy = l.Strategy(l.strategy)
	}
	return todo
}

// plannedCells is how many of the plan's cells will have a record.
func (l *loop) plannedCells() int {
	planned := l.plan.Cells()
	l.deciding.Lock()
	defer l.deciding.Unlock()
	if l.plan.Search != nil {
		return len(l.search.recorded)
	}
	if l.strategy != nil {
		for _, why := range l.strategy.Why() {
			planned -= why.Cells
		}
	}
	return planned
}

// brokenFor says why a topology can never be started; nil: nothing shows that.
func (l *loop) brokenFor(t scenarios.Topology) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken[t.Name]
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
func (l *loop) trialNumber(trial scenarios.Trial) int {
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
