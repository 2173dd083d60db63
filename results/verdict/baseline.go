package verdict

import (
	"slices"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// Baselines are the cells that ratios refer to, by number of requests: a batch
// of 10 is never compared with a batch of 100.
type Baselines map[int]Summary

// references are the topologies that ratios refer to, by number of requests, among
// summaries in the order of Summarise: as the plan says, or, where it knows no order of
// topologies, the first in that order. Whatever chooses a reference asks this. It does not
// depend on results: a topology that failed, or that a search left before it was measured
// to the end, stays the reference, and ratios to it are missing.
func references(summaries []Summary, plan scenarios.Plan) map[int]string {
	references := map[int]string{}
	for _, s := range summaries {
		requests := s.Load.Requests
		if _, known := references[requests]; known {
			continue
		}
		references[requests] = plan.Reference(requests)
		if references[requests] == "" {
			first := slices.IndexFunc(summaries, func(o Summary) bool { return o.Load.Requests == requests && selector(plan).Takes(o.Load) })
			references[requests] = summaries[max(0, first)].Topology.Name
		}
	}
	return references
}

func selector(plan scenarios.Plan) scenarios.Baseline {
	if plan.Baseline == nil {
		return scenarios.Baseline{}
	}
	return *plan.Baseline
}

// FindBaselines picks the baselines among summaries in the order of Summarise: for each
// number of requests the first cell of its reference that the scenario's baseline takes.
// Of a scenario without one it is the reference's cell under a single client, or its
// first if there is none.
func FindBaselines(summaries []Summary, plan scenarios.Plan) Baselines {
	baselines, of := Baselines{}, references(summaries, plan)
	for _, s := range summaries {
		requests := s.Load.Requests
		if s.Topology.Name != of[requests] || !selector(plan).Takes(s.Load) {
			continue
		}
		chosen, found := baselines[requests]
		single := plan.Baseline == nil && chosen.Load.Client != scenarios.ClientSingle && s.Load.Client == scenarios.ClientSingle
		if !found || single {
			baselines[requests] = s
		}
	}
	return baselines
}

// Of returns the baseline of a cell. It returns nil if the cell has none, or if
// the baseline failed or had errors, because then its figures are no reference.
func (b Baselines) Of(s Summary) *Summary {
	baseline, found := b[s.Load.Requests]
	if !found || !baseline.Clean() {
		return nil
	}
	return &baseline
}

// Ratio is how the cell stands to its baseline. Without one it has no ratio.
func (b Baselines) Ratio(s Summary, m results.Figure) Relation {
	if baseline := b.Of(s); baseline != nil {
		return Beside(*baseline, s, m)
	}
	return Relation{}
}

// Saved is how many seconds the cell's median duration is shorter than its
// baseline's, or nil if either is missing.
func (b Baselines) Saved(s Summary) *float64 {
	baseline := b.Of(s)
	if baseline == nil || baseline.Duration == nil || s.Duration == nil {
		return nil
	}
	return new(baseline.Duration.Median - s.Duration.Median)
}
