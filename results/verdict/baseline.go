package verdict

import (
	"stackmeter/results"
	"stackmeter/scenarios"
)

// Baselines are the cells that ratios refer to, by number of requests: a batch
// of 10 is never compared with a batch of 100.
type Baselines map[int]Summary

// FindBaselines picks the baselines among summaries in the order of Summarise.
// For each number of requests the baseline is the first cell that the selector
// matches. Without a selector it is the first topology's cell under a single
// client, or the first topology's first cell if there is none. Where nothing
// matches there is no baseline. The choice does not depend on results: a
// baseline that failed stays the baseline, and ratios to it are missing.
func FindBaselines(summaries []Summary, selector *scenarios.Baseline) Baselines {
	baselines := Baselines{}
	for _, summary := range summaries {
		requests := summary.Load.Requests
		chosen, found := baselines[requests]
		switch {
		case selector != nil:
			if !found && selects(*selector, summary) {
				baselines[requests] = summary
			}
		case !found:
			baselines[requests] = summary
		case chosen.Topology.Name == summary.Topology.Name &&
			chosen.Load.Client != scenarios.ClientSingle && summary.Load.Client == scenarios.ClientSingle:
			baselines[requests] = summary
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

// selects reports whether the selector matches the cell.
func selects(selector scenarios.Baseline, s Summary) bool {
	if selector.Topology != "" && selector.Topology != s.Topology.Name {
		return false
	}
	return selector.Client == "" || selector.Client == s.Load.Client || selector.Client == s.Load.Mode()
}
