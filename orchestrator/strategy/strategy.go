// Package strategy decides what a run measures next, and when it knows enough.
//
// A Strategy is pure: it knows the plan and the records, and the same records lead to
// the same steps. So a resumed run makes its strategy from the records that it has.
package strategy

import (
	"slices"
	"time"

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

// Capacity is how much room there is on the lane that a step is for.
type Capacity struct {
	Lane  int    // from 0
	Lanes int    // that there are; 0: one
	Gone  []bool // by lane: it does nothing more, and its stacks are gone; may be shorter than the lanes are many

	Stacks int // that can be started beside those that are up, unless stacks stay up

	// For a plan with fresh: run. Up reports whether a trial's stack is up, and Fits
	// whether those of some trials that are not would fit beside those that are.
	Up   func(scenarios.Trial) bool
	Fits func(...scenarios.Trial) bool

	// Left is the wall time that a search still has. It is never more than in the step
	// before, also of a run that was resumed. nil: there is no limit.
	Left *time.Duration
}

// gone reports whether a lane does nothing more.
func (c Capacity) gone(lane int) bool { return lane < len(c.Gone) && c.Gone[lane] }

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
	First bool // of a stack that stays up: the cell belongs to the first pass over it since it started, lightest load first, so that its memory counts
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
	if plan.Search != nil {
		return newSearch(plan, made), plan.Trials
	}
	todo := missing(plan, made)
	var repeats *verdict.Repeats
	var needed func(scenarios.Trial) bool
	if plan.Until != nil {
		repeats = verdict.NewRepeats(plan, made)
		needed = repeats.Needed
		// Trials that are needless from the start need no images.
		todo = slices.DeleteFunc(todo, func(t scenarios.Trial) bool { return !needed(t) })
	}
	var s Strategy = newListed(todo, needed)
	if plan.Fresh == scenarios.FreshRun {
		s = &divided{whole: rounds{plan: plan, left: slices.Clone(todo), needed: needed}}
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

// without takes the cell of a record out of a trial.
func without(trial *scenarios.Trial, record results.Record) {
	if trial.Topology.Name == record.Topology.Name {
		trial.Cells = slices.DeleteFunc(slices.Clone(trial.Cells), func(cell scenarios.Cell) bool {
			return cell.Name == record.Cell.Name && cell.Repeat == record.Cell.Repeat
		})
	}
}
