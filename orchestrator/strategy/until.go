package strategy

import (
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
)

// until knows which trials are repeated until the intervals of its median durations are
// as narrow as the plan asks. The strategy that it wraps asks its repeats.
type until struct {
	Strategy
	plan    scenarios.Plan
	repeats *verdict.Repeats
}

// Add implements Strategy.
func (u *until) Add(record results.Record) {
	u.Strategy.Add(record)
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
