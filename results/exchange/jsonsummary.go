package exchange

import (
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
)

// A jsonSummary is one cell over its repeats. Its figures are in base units:
// seconds, bytes, replies per second.
type jsonSummary struct {
	Cell     string   `json:"cell"`
	Topology string   `json:"topology"`
	Load     string   `json:"load"`
	Requests int      `json:"requests"`
	OK       int      `json:"repeats_ok"`
	Failed   int      `json:"repeats_failed"`
	Pruned   int      `json:"repeats_pruned"`
	Speaking int      `json:"repeats_counted"` // that the figures come from
	Errors   int      `json:"errors"`
	Flags    []string `json:"flags"`
	verdict.Stability
	verdict.Bound
	Metrics map[string]*jsonSample `json:"metrics"` // those that were measured
}

type jsonSample struct {
	*stats.Sample
	Needs int `json:"interval_needs_repeats,omitempty"` // where the interval is null
}

func newJSONSummaries(run results.Run, summaries []verdict.Summary) []jsonSummary {
	all := make([]jsonSummary, 0, len(summaries))
	for _, s := range summaries {
		one := jsonSummary{
			Cell: s.Name(), Topology: s.Topology.Name, Load: s.Load.Name(), Requests: s.Load.Requests,
			OK: s.OK, Failed: s.Failed, Pruned: s.Pruned, Speaking: len(s.Speaking), Errors: s.Errors,
			Flags:     slices.Concat([]string{}, s.Flags),
			Stability: s.Stability, Bound: verdict.BoundOf(s, run.Plan, run.Host),
			Metrics: map[string]*jsonSample{},
		}
		for _, m := range results.Metrics() {
			if sample := newJSONSample(s.Sample(m)); sample != nil {
				one.Metrics[m.Name] = sample
			}
		}
		all = append(all, one)
	}
	return all
}

// newJSONSample is nil of nothing.
func newJSONSample(s *stats.Sample) *jsonSample {
	if s == nil {
		return nil
	}
	sample := &jsonSample{Sample: s}
	if s.Interval == nil {
		sample.Needs = stats.RepeatsForInterval()
	}
	return sample
}
