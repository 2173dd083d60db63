package strategy

import (
	"fmt"
	"slices"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// pruning records cells as pruned instead of measuring them, where a smaller
// topology ran out of memory.
type pruning struct {
	Strategy
	causes *causes
}

// Next implements Strategy. A trial's cells are looked at together, before each
// of its measurements: a stack is not started for nothing.
func (p *pruning) Next(free Capacity) (Step, bool) {
	step, more := p.Strategy.Next(free)
	if !more || step.Measure == nil {
		return step, more
	}
	var pruned []Pruned
	for _, cell := range step.Measure.Trial.Cells {
		if reason := p.causes.of(step.Measure.Trial.Topology, cell); reason != "" {
			pruned = append(pruned, Pruned{Measurement{step.Measure.Trial, cell}, reason})
		}
	}
	if len(pruned) == 0 {
		return step, true
	}
	return Step{Skip: step.Skip, Prune: pruned}, true
}

// Add implements Strategy.
func (p *pruning) Add(record results.Record) {
	p.Strategy.Add(record)
	p.causes.add(record)
}

// causes say which cells need not be started, because a smaller topology ran out
// of memory.
//
// What a topology was found to do itself counts for more than what another one
// says about it: a cell that was ok in any repeat is never pruned, and neither
// is a record of a failure ever replaced by one of pruning.
type causes struct {
	topologies map[string]scenarios.Topology
	loads      map[string]scenarios.LoadSpec // by the cell's name
	ranOut     []results.Record              // that ran out of memory, the first one first
	ok         map[results.Key]bool          // without the repeat
	failed     map[results.Key]bool
}

// newCauses takes note of what is already recorded, of a run that is resumed.
// todo are the trials with the cells that will be measured (again): what one of
// them failed of says nothing until it has failed of it once more. Whatever a
// cell was pruned for comes before it in the plan, and so is retried before
// it, too.
func newCauses(plan scenarios.Plan, records []results.Record, todo []scenarios.Trial) *causes {
	c := &causes{
		topologies: map[string]scenarios.Topology{}, loads: map[string]scenarios.LoadSpec{},
		ok: map[results.Key]bool{}, failed: map[results.Key]bool{},
	}
	for _, trial := range plan.Trials {
		c.topologies[trial.Topology.Name] = trial.Topology
		for _, cell := range trial.Cells {
			c.loads[cell.Name] = cell.Load
		}
	}
	retried := map[results.Key]bool{}
	for _, trial := range todo {
		for _, cell := range trial.Cells {
			retried[results.Key{Topology: trial.Topology.Name, Load: cell.Name, Repeat: trial.Repeat}] = true
		}
	}
	for _, record := range records {
		if retried[repeatOf(record)] {
			record.OutOfMemory = ""
		}
		c.add(record)
	}
	return c
}

// add takes note of a record. What counts is the names of its topology and
// cell, its repeat and status, OutOfMemory, and whether its stack got warm.
func (c *causes) add(r results.Record) {
	key := repeatOf(r)
	switch r.Status {
	case results.StatusOK:
		c.ok[results.Key{Topology: key.Topology, Load: key.Load}] = true
	case results.StatusFailed:
		c.failed[key] = true
	}
	if r.OutOfMemory != "" {
		c.ranOut = append(c.ranOut, r)
	}
}

// of is why a cell need not be started; empty when it has to be.
func (c *causes) of(topology scenarios.Topology, cell scenarios.Cell) string {
	if c.ok[results.Key{Topology: topology.Name, Load: cell.Name}] || c.failed[results.Key{Topology: topology.Name, Load: cell.Name, Repeat: cell.Repeat}] {
		return ""
	}
	at := slices.IndexFunc(c.ranOut, func(r results.Record) bool {
		return topology.LargerThan(c.topologies[r.Topology.Name]) && (!warm(r) || cell.Load.AtLeast(c.loads[r.Cell.Name]))
	})
	if at < 0 {
		return ""
	}
	cause := c.ranOut[at]
	memory, when := "memory", "before its first cell"
	if cause.OutOfMemory == results.MemoryGPU {
		memory = "GPU memory"
	}
	if warm(cause) {
		when = "at " + c.loads[cause.Cell.Name].Name()
	}
	return fmt.Sprintf("not started: %s, which is smaller, ran out of %s %s (repeat %d)", cause.Topology.Name, memory, when, cause.Cell.Repeat)
}

// warm reports whether the record's stack lived until its cells began: what
// failed before failed at no load of its own.
func warm(r results.Record) bool { return r.Stack != nil && r.Stack.WarmupS != nil }
