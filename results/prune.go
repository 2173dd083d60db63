package results

import (
	"fmt"
	"slices"

	"stackmeter/scenarios"
)

// Pruning says which cells of a plan with Prune need not be started, because a
// smaller topology ran out of memory. It is made with NewPruning and told of
// each record with Add.
//
// What a topology was found to do itself counts for more than what another one
// says about it: a cell that was ok in any repeat is never pruned, and neither
// is a record of a failure ever replaced by one of pruning.
type Pruning struct {
	topologies map[string]scenarios.Topology
	loads      map[string]scenarios.LoadSpec // by the cell's name
	causes     []Record                      // that ran out of memory, the first one first
	ok         map[cellKey]bool
	failed     map[Key]bool
}

// NewPruning takes note of what is already recorded, of a run that is resumed.
// todo are the trials with the cells that will be measured (again): what one of
// them failed of says nothing until it has failed of it once more. Whatever a
// cell was pruned for comes before it in the plan, and so is retried before
// it, too.
func NewPruning(plan scenarios.Plan, records []Record, todo []scenarios.Trial) *Pruning {
	p := &Pruning{
		topologies: map[string]scenarios.Topology{}, loads: map[string]scenarios.LoadSpec{},
		ok: map[cellKey]bool{}, failed: map[Key]bool{},
	}
	for _, trial := range plan.Trials {
		p.topologies[trial.Topology.Name] = trial.Topology
		for _, cell := range trial.Cells {
			p.loads[cell.Name] = cell.Load
		}
	}
	retried := map[Key]bool{}
	for _, trial := range todo {
		for _, cell := range trial.Cells {
			retried[Key{trial.Topology.Name, cell.Name, trial.Repeat}] = true
		}
	}
	for _, record := range records {
		if retried[repeatOf(record)] {
			record.OutOfMemory = ""
		}
		p.Add(record)
	}
	return p
}

// repeatOf names a record by its cell's name, as a plan does.
func repeatOf(r Record) Key { return Key{r.Topology.Name, r.Cell.Name, r.Cell.Repeat} }

// Add takes note of a record. What counts is the names of its topology and
// cell, its repeat and status, OutOfMemory, and whether its stack got warm.
func (p *Pruning) Add(r Record) {
	key := repeatOf(r)
	switch r.Status {
	case StatusOK:
		p.ok[cellKey{key.Topology, key.Load}] = true
	case StatusFailed:
		p.failed[key] = true
	}
	if r.OutOfMemory != "" {
		p.causes = append(p.causes, r)
	}
}

// Of is why a cell need not be started; empty when it has to be.
func (p *Pruning) Of(topology scenarios.Topology, cell scenarios.Cell) string {
	if p.ok[cellKey{topology.Name, cell.Name}] || p.failed[Key{topology.Name, cell.Name, cell.Repeat}] {
		return ""
	}
	at := slices.IndexFunc(p.causes, func(r Record) bool {
		return topology.LargerThan(p.topologies[r.Topology.Name]) && (!r.warm() || cell.Load.AtLeast(p.loads[r.Cell.Name]))
	})
	if at < 0 {
		return ""
	}
	cause := p.causes[at]
	memory, when := "memory", "before its first cell"
	if cause.OutOfMemory == MemoryGPU {
		memory = "GPU memory"
	}
	if cause.warm() {
		when = "at " + p.loads[cause.Cell.Name].Name()
	}
	return fmt.Sprintf("not started: %s, which is smaller, ran out of %s %s (repeat %d)", cause.Topology.Name, memory, when, cause.Cell.Repeat)
}

// warm reports whether the record's stack lived until its cells began: what
// failed before failed at no load of its own.
func (r Record) warm() bool { return r.Stack != nil && r.Stack.WarmupS != nil }
