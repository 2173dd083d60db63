package strategy

import (
	"slices"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
)

// until repeats each trial until the intervals of its median durations are as narrow
// as the plan asks.
type until struct {
	listed
	plan    scenarios.Plan
	repeats *verdict.Repeats
}

func newUntil(plan scenarios.Plan, made []results.Record, todo []scenarios.Trial) (*until, []scenarios.Trial) {
	u := &until{plan: plan, repeats: verdict.NewRepeats(plan, made)}
	u.needed = u.repeats.Needed
	// Trials that are needless from the start need no images.
	todo = slices.DeleteFunc(todo, func(t scenarios.Trial) bool { return !u.needed(t) })
	u.trials = slices.Clone(todo)
	return u, todo
}

// Add implements Strategy.
func (u *until) Add(record results.Record) {
	u.listed.Add(record)
	u.repeats.Add(record)
}

// Why implements Strategy: how the repeats of each trial ended.
func (u *until) Why() []Reason {
	var reasons []Reason
	for _, end := range u.repeats.Ends() {
		reasons = append(reasons, Reason{Topology: end.Topology, Text: end.Sentence(u.plan), Cells: end.Needless})
	}
	return reasons
}
