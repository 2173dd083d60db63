package strategy

import (
	"fmt"
	"slices"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// pruning records cells as pruned instead of measuring them, if a smaller topology ran
// out of memory.
type pruning struct {
	Strategy
	causes *causes
}

// Next implements Strategy. It looks at all the cells that are left of a trial before
// it measures one, so that no stack is started for nothing.
func (p *pruning) Next(free Capacity) (Step, bool) {
	step, more := p.Strategy.Next(free)
	about := slices.Clone(step.Start)
	if step.Measure != nil {
		is := func(t scenarios.Trial) bool { return t.Topology.Name == step.Measure.Trial.Topology.Name }
		about = append(slices.DeleteFunc(about, is), step.Measure.Trial)
	}
	var pruned []Pruned
	for _, trial := range about {
		for _, cell := range trial.Cells {
			if reason := p.causes.of(trial.Topology, cell); reason != "" {
				pruned = append(pruned, Pruned{Measurement{Trial: trial, Cell: cell}, reason})
			}
		}
	}
	if len(pruned) == 0 {
		return step, more
	}
	return Step{Skip: step.Skip, Prune: pruned}, true
}

// Add implements Strategy.
func (p *pruning) Add(record results.Record) {
	p.Strategy.Add(record)
	p.causes.add(record)
}

// causes know which cells need not be measured because a smaller topology ran out of
// memory.
//
// A cell's own result counts more than another topology's: a cell that was ok in any
// repeat is never pruned, and a failure is never replaced by a pruned record.
type causes struct {
	topologies map[string]scenarios.Topology
	loads      map[string]scenarios.LoadSpec // by the cell's name
	ranOut     []results.Record              // in the order in which they ran out of memory
	ok         map[results.Key]bool          // without the repeat
	failed     map[results.Key]bool
}

// newCauses starts with the records of a run that is resumed. todo are the trials with
// the cells that will be measured, perhaps again. An earlier failure of one of them
// says nothing until it happens again. What a cell was pruned for comes before it in
// the plan, so it is also retried before it.
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

// add adds a record. Only the names of its topology and cell, its repeat and status,
// OutOfMemory, and whether its stack got warm count.
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

// of says why a cell need not be measured; empty if it has to be.
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

// warm reports whether the record's stack lived until its cells began. If not, no load
// made it fail.
func warm(r results.Record) bool { return r.Stack != nil && r.Stack.WarmupS != nil }
