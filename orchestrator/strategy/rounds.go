package strategy

import (
	"slices"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// rounds measures a plan with fresh: run. Stacks stay up for as long as they have a cell
// left of their start, and one cell is measured at a time.
//
// What fits beside each other is a wave. It goes through all its repeats before the next
// one begins. While nothing is known of what stacks take, only one fits: the others start
// together once its first repeat has shown it. Then the cells follow in the order of the
// plan.
type rounds struct {
	plan   scenarios.Plan
	left   []scenarios.Trial                // in the order of the plan, with the cells that are left
	needed func(trial scenarios.Trial) bool // nil: all are
	wave   []scenarios.Trial                // the stacks that are up, or are to be
	full   bool                             // no more stacks join the wave
}

// Next implements Strategy.
func (r *rounds) Next(free Capacity) (Step, bool) {
	step := Step{Skip: r.needless()}
	// Stacks that are over are removed at the same time, and earlier only if others can
	// join the wave in their place.
	over := func(stack scenarios.Trial) bool { return len(r.trial(stack).Cells) == 0 }
	stop := !r.full && r.waits() || !slices.ContainsFunc(r.wave, func(stack scenarios.Trial) bool { return !over(stack) })
	r.wave = slices.DeleteFunc(r.wave, func(stack scenarios.Trial) bool {
		up := free.Up(stack)
		if over(stack) && up && stop {
			step.Stop = append(step.Stop, stack)
		}
		return over(stack) && (stop || !up)
	})
	if len(step.Stop) > 0 || len(r.left) == 0 {
		return step, len(step.Skip)+len(step.Stop) > 0
	}
	// One that went down waits for the next wave if there is no room for it any more.
	others := slices.ContainsFunc(r.wave, free.Up)
	r.wave = slices.DeleteFunc(r.wave, func(stack scenarios.Trial) bool {
		return others && !free.Up(stack) && !free.Fits(stack)
	})
	if len(r.wave) == 0 {
		r.full = false
	}
	next := r.next()
	if !r.full && (next == nil || !r.plan.FirstPass(next.Repeat)) {
		r.full = !r.join(free)
		next = r.next()
	}
	for _, stack := range r.wave {
		if !free.Up(stack) {
			step.Start = append(step.Start, r.trial(stack))
		}
	}
	if r.full || r.plan.FirstPass(next.Repeat) {
		trial := r.trial(*next)
		cell := trial.Cells[0]
		step.Measure = &Measurement{Trial: trial, Cell: cell, First: r.plan.FirstPass(cell.Repeat)}
	}
	return step, true
}

// join adds to the wave those stacks of its start that fit, and reports whether there
// are any. An empty wave gets the first one in any case.
func (r *rounds) join(free Capacity) bool {
	var more []scenarios.Trial
	for _, trial := range r.left {
		if r.plan.Start(trial.Repeat) != r.plan.Start(r.left[0].Repeat) {
			break
		}
		same := func(stack scenarios.Trial) bool { return stack.Topology.Name == trial.Topology.Name }
		if slices.ContainsFunc(r.wave, same) || slices.ContainsFunc(more, same) {
			continue
		}
		starting := slices.DeleteFunc(slices.Clone(r.wave), free.Up)
		if len(r.wave)+len(more) == 0 || free.Fits(slices.Concat(starting, more, []scenarios.Trial{trial})...) {
			more = append(more, trial)
		}
	}
	r.wave = append(r.wave, more...)
	return len(more) > 0
}

// waits reports whether something is left of stacks of the wave's start that are not in it.
func (r *rounds) waits() bool {
	return slices.ContainsFunc(r.left, func(trial scenarios.Trial) bool {
		return r.plan.Start(trial.Repeat) == r.plan.Start(r.left[0].Repeat) &&
			!slices.ContainsFunc(r.wave, func(stack scenarios.Trial) bool { return r.same(stack, trial) })
	})
}

// next is the first trial that is left of the wave, nil if there is none.
func (r *rounds) next() *scenarios.Trial {
	for i, trial := range r.left {
		if slices.ContainsFunc(r.wave, func(stack scenarios.Trial) bool { return r.same(stack, trial) }) {
			return &r.left[i]
		}
	}
	return nil
}

// same reports whether two trials are on one stack.
func (r *rounds) same(a, b scenarios.Trial) bool {
	return a.Topology.Name == b.Topology.Name && r.plan.Start(a.Repeat) == r.plan.Start(b.Repeat)
}

// trial is all that is left on a stack.
func (r *rounds) trial(stack scenarios.Trial) scenarios.Trial {
	all := scenarios.Trial{Topology: stack.Topology, Repeat: stack.Repeat}
	for _, trial := range r.left {
		if r.same(trial, stack) {
			all.Cells = append(all.Cells, trial.Cells...)
		}
	}
	return all
}

// needless drops the cells that need no more repeats, and returns them.
func (r *rounds) needless() []scenarios.Trial {
	if r.needed == nil {
		return nil
	}
	asked, dropped := map[string]bool{}, []scenarios.Trial(nil)
	for i := range r.left {
		trial := &r.left[i]
		off := scenarios.Trial{Topology: trial.Topology, Repeat: trial.Repeat}
		trial.Cells = slices.DeleteFunc(slices.Clone(trial.Cells), func(cell scenarios.Cell) bool {
			if _, known := asked[cell.Name]; !known {
				// What the repeats before this one do not say, those before a later one
				// do not say either.
				asked[cell.Name] = r.needed(scenarios.Trial{Topology: trial.Topology, Repeat: trial.Repeat, Cells: []scenarios.Cell{cell}})
			}
			if !asked[cell.Name] {
				off.Cells = append(off.Cells, cell)
			}
			return !asked[cell.Name]
		})
		if len(off.Cells) > 0 {
			dropped = append(dropped, off)
		}
	}
	r.drop()
	return dropped
}

// drop drops trials without cells.
func (r *rounds) drop() {
	r.left = slices.DeleteFunc(r.left, func(t scenarios.Trial) bool { return len(t.Cells) == 0 })
}

// Add implements Strategy.
func (r *rounds) Add(record results.Record) {
	for i := range r.left {
		without(&r.left[i], record)
	}
	r.drop()
}

// Why implements Strategy: nothing is left out.
func (r *rounds) Why() []Reason { return nil }
