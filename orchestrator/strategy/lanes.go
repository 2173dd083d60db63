package strategy

import (
	"slices"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// divided measures a plan with fresh: run on the lanes that there are: each has rounds
// over stacks of its own. Topologies are divided by the requests that are left for them,
// and each start moves on by one lane, so that a device is not confounded with a
// topology. What a lane leaves that is gone is taken over by the next one that asks.
type divided struct {
	whole rounds    // before it is divided
	lanes []*rounds // nil before the first step
}

// Next implements Strategy.
func (d *divided) Next(free Capacity) (Step, bool) {
	if d.lanes == nil {
		d.divide(max(1, free.Lanes))
	}
	mine := d.lanes[free.Lane]
	for i, other := range d.lanes {
		if free.gone(i) && i != free.Lane {
			mine.left, other.left, other.wave = append(mine.left, other.left...), nil, nil
		}
	}
	return mine.Next(free)
}

// divide gives each lane its part of what is left. Of two topologies the one with more
// to do is given away first, to the lane that has the least so far.
func (d *divided) divide(lanes int) {
	work := map[string]int{} // requests by topology
	var names []string
	for _, trial := range d.whole.left {
		if name := trial.Topology.Name; work[name] == 0 {
			names = append(names, name)
		}
		for _, cell := range trial.Cells {
			work[trial.Topology.Name] += cell.Load.Requests
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return work[b] - work[a] })
	lane, given := map[string]int{}, make([]int, lanes)
	for _, name := range names {
		lane[name] = slices.Index(given, slices.Min(given))
		given[lane[name]] += work[name]
	}
	for range lanes {
		d.lanes = append(d.lanes, &rounds{plan: d.whole.plan, needed: d.whole.needed})
	}
	for _, trial := range d.whole.left {
		moved := max(0, d.whole.plan.Start(trial.Repeat)-1)
		to := d.lanes[(lane[trial.Topology.Name]+moved)%lanes]
		to.left = append(to.left, trial)
	}
}

// Add implements Strategy.
func (d *divided) Add(record results.Record) {
	d.whole.Add(record)
	for _, lane := range d.lanes {
		lane.Add(record)
	}
}

// Why implements Strategy: nothing is left out.
func (d *divided) Why() []Reason { return nil }

// listed measures each cell of its trials once, in their order. Each lane has one
// trial at a time, and one stack.
type listed struct {
	trials []queued
	needed func(trial scenarios.Trial) bool // called once, before a trial begins; nil: all are
}

// A queued trial has the cells that are left of it.
type queued struct {
	scenarios.Trial
	begun bool
	lane  int // that it began on
}

// newListed queues trials in their order.
func newListed(trials []scenarios.Trial, needed func(scenarios.Trial) bool) *listed {
	l := &listed{needed: needed}
	for _, trial := range trials {
		l.trials = append(l.trials, queued{Trial: trial})
	}
	return l
}

// Next implements Strategy.
func (l *listed) Next(free Capacity) (Step, bool) {
	var step Step
	own := slices.IndexFunc(l.trials, func(t queued) bool { return t.begun && t.lane == free.Lane && len(t.Cells) > 0 })
	for i := max(0, own); i < len(l.trials); i++ {
		trial := &l.trials[i]
		switch {
		case len(trial.Cells) == 0, trial.begun && trial.lane != free.Lane && !free.gone(trial.lane):
			continue
		case !trial.begun && l.needed != nil && !l.needed(trial.Trial):
			step.Skip = append(step.Skip, trial.Trial)
			trial.Cells = nil
			continue
		}
		trial.begun, trial.lane = true, free.Lane
		if free.Stacks > 0 {
			step.Start = []scenarios.Trial{trial.Trial}
		}
		step.Measure = &Measurement{Trial: trial.Trial, Cell: trial.Cells[0]}
		if len(trial.Cells) == 1 {
			step.Stop = []scenarios.Trial{trial.Trial}
		}
		break
	}
	l.trials = slices.DeleteFunc(l.trials, func(t queued) bool { return len(t.Cells) == 0 })
	return step, step.Measure != nil || len(step.Skip) > 0
}

// Add implements Strategy.
func (l *listed) Add(record results.Record) {
	for i := range l.trials {
		without(&l.trials[i].Trial, record)
	}
}

// Why implements Strategy: nothing is left out.
func (l *listed) Why() []Reason { return nil }
