// Package strategy decides what a run measures next, and when it knows enough.
//
// A Strategy is pure: it knows the plan and the records, and the same records lead to
// the same steps. So a resumed run makes its strategy from the records that it has.
package strategy

import (
	"slices"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
)

// A Strategy says what comes next. One goroutine uses it at a time.
type Strategy interface {
	// Next returns the next step. It is false if nothing is left to find out. Next
	// returns a cell again until Add has got a record of it: a cell that was void is
	// measured again.
	Next(free Capacity) (Step, bool)

	// Add adds a new record.
	Add(results.Record)

	// Why lists what was left out and why.
	Why() []Reason
}

// Capacity is how much room there is.
type Capacity struct {
	Stacks int // that can be started beside those that are up, unless stacks stay up

	// For a plan with fresh: run. Up reports whether a trial's stack is up, and Fits
	// whether those of some trials that are not would fit beside those that are.
	Up   func(scenarios.Trial) bool
	Fits func(...scenarios.Trial) bool
}

// A Step is what comes next. Its parts are done in their order here.
type Step struct {
	Skip    []scenarios.Trial // trials that turned out to be needless; they are only reported
	Prune   []Pruned          // cells to record as pruned
	Start   []scenarios.Trial // stacks to start, each with the cells that are left for it
	Measure *Measurement      // the cell to measure; nil: none
	Stop    []scenarios.Trial // stacks that nothing needs any more
}

// A Pruned is a cell to record without measuring it.
type Pruned struct {
	Measurement
	Reason string
}

// A Measurement is a cell on the stack of its trial, which is up or starts in the same
// step. A stack that died is started again in the next step.
type Measurement struct {
	Trial scenarios.Trial // with the cells that are left for it, this one first
	Cell  scenarios.Cell
}

// A Reason says why cells were left out, or why a strategy measures no more of them.
type Reason struct {
	Topology string // that it is about; empty: the run
	Text     string
	Cells    int // of the plan that have no record and need none
}

// New returns the strategy of a plan, and the trials that it may still need with the
// cells that are left of them. made are the records that the run already has.
func New(plan scenarios.Plan, made []results.Record) (Strategy, []scenarios.Trial) {
	todo := missing(plan, made)
	var repeats *verdict.Repeats
	var needed func(scenarios.Trial) bool
	if plan.Until != nil {
		repeats = verdict.NewRepeats(plan, made)
		needed = repeats.Needed
		// Trials that are needless from the start need no images.
		todo = slices.DeleteFunc(todo, func(t scenarios.Trial) bool { return !needed(t) })
	}
	var s Strategy = &listed{trials: slices.Clone(todo), needed: needed}
	if plan.Fresh == scenarios.FreshRun {
		s = &rounds{plan: plan, left: slices.Clone(todo), needed: needed}
	}
	if repeats != nil {
		s = &until{Strategy: s, plan: plan, repeats: repeats}
	}
	if plan.Prune {
		s = &pruning{Strategy: s, causes: newCauses(plan, made, todo)}
	}
	return s, todo
}

// missing returns the plan without the cells that are recorded as ok.
func missing(plan scenarios.Plan, made []results.Record) []scenarios.Trial {
	done := map[results.Key]bool{}
	for _, record := range made {
		done[repeatOf(record)] = record.Status == results.StatusOK
	}
	var todo []scenarios.Trial
	for _, trial := range plan.Trials {
		left := trial
		left.Cells = slices.DeleteFunc(slices.Clone(trial.Cells), func(cell scenarios.Cell) bool {
			return done[results.Key{Topology: trial.Topology.Name, Load: cell.Name, Repeat: cell.Repeat}]
		})
		if len(left.Cells) > 0 {
			todo = append(todo, left)
		}
	}
	return todo
}

// repeatOf is the key of a record by its cell's name, as plans have it.
func repeatOf(r results.Record) results.Key {
	return results.Key{Topology: r.Topology.Name, Load: r.Cell.Name, Repeat: r.Cell.Repeat}
}

// listed measures each cell of its trials once, in their order, one stack at a time.
type listed struct {
	trials []scenarios.Trial                // with the cells that are left
	needed func(trial scenarios.Trial) bool // called once, before a trial begins; nil: all are
	begun  bool                             // the first trial
}

// Next implements Strategy.
func (l *listed) Next(free Capacity) (Step, bool) {
	var step Step
	for len(l.trials) > 0 {
		trial := l.trials[0]
		switch {
		case len(trial.Cells) == 0:
			l.trials, l.begun = l.trials[1:], false
			continue
		case !l.begun && l.needed != nil && !l.needed(trial):
			step.Skip = append(step.Skip, trial)
			l.trials = l.trials[1:]
			continue
		}
		if free.Stacks > 0 {
			step.Start = []scenarios.Trial{trial}
		}
		l.begun = true
		step.Measure = &Measurement{Trial: trial, Cell: trial.Cells[0]}
		if len(trial.Cells) == 1 {
			step.Stop = []scenarios.Trial{trial}
		}
		return step, true
	}
	return step, len(step.Skip) > 0
}

// Add implements Strategy.
func (l *listed) Add(record results.Record) {
	without(l.trials, record)
}

// without takes the cell of a record out of trials.
func without(trials []scenarios.Trial, record results.Record) {
	for i := range trials {
		trial := &trials[i]
		if trial.Topology.Name == record.Topology.Name {
			trial.Cells = slices.DeleteFunc(slices.Clone(trial.Cells), func(cell scenarios.Cell) bool {
				return cell.Name == record.Cell.Name && cell.Repeat == record.Cell.Repeat
			})
		}
	}
}

// Why implements Strategy: nothing is left out.
func (l *listed) Why() []Reason { return nil }
