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
	Cell      string                 `json:"cell"`
	Topology  string                 `json:"topology"`
	Load      string                 `json:"load"`
	Requests  int                    `json:"requests"`
	OK        int                    `json:"repeats_ok"`
	Failed    int                    `json:"repeats_failed"`
	Pruned    int                    `json:"repeats_pruned"`
	Speaking  int                    `json:"repeats_counted"` // that the figures come from
	Errors    int                    `json:"errors"`
	Flags     []string               `json:"flags"`
	Variation *float64               `json:"duration_variation"` // coefficient of variation
	Drift     *float64               `json:"duration_drift"`     // from the first repeat to the last, as a share of the median
	DriftP    *float64               `json:"duration_drift_p"`
	BoundBy   string                 `json:"bound_by"` // gpu, cpu, workers, client, rate, unclear
	BoundWhy  string                 `json:"bound_why"`
	Metrics   map[string]*jsonSample `json:"metrics"` // those that were measured
}

type jsonSample struct {
	N        int           `json:"n"`
	Median   float64       `json:"median"`
	Min      float64       `json:"min"`
	Max      float64       `json:"max"`
	Interval *jsonInterval `json:"interval"`                         // of the median; null with too few repeats
	Needs    int           `json:"interval_needs_repeats,omitempty"` // where it is null
}

type jsonInterval struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"`
}

// A jsonEnd is how the repeats of one trial's cells ended.
type jsonEnd struct {
	Topology string   `json:"topology"`
	Cells    []string `json:"cells"`
	Repeats  int      `json:"repeats"`
	Ended    string   `json:"ended"`      // within, maximum, failing; empty when they have not
	Width    *float64 `json:"half_width"` // of the widest interval, as a share of the median
}

func newJSONSummaries(run results.Run, summaries []verdict.Summary) []jsonSummary {
	all := make([]jsonSummary, 0, len(summaries))
	for _, s := range summaries {
		bound := verdict.BoundOf(s, run.Plan, run.Host)
		one := jsonSummary{
			BoundBy: bound.By, BoundWhy: bound.Why,
			Cell: s.Name(), Topology: s.Topology.Name, Load: s.Load.Name(), Requests: s.Load.Requests,
			OK: s.OK, Failed: s.Failed, Pruned: s.Pruned, Speaking: len(s.Speaking), Errors: s.Errors,
			Flags:     slices.Concat([]string{}, s.Flags),
			Variation: s.Stability.Variation, Drift: s.Stability.Drift, DriftP: s.Stability.DriftP,
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
	sample := &jsonSample{N: s.N, Median: s.Median, Min: s.Min, Max: s.Max, Interval: newJSONInterval(s.Interval)}
	if sample.Interval == nil {
		sample.Needs = stats.RepeatsForInterval()
	}
	return sample
}

func newJSONInterval(i *stats.Interval) *jsonInterval {
	if i == nil {
		return nil
	}
	return &jsonInterval{i.Low, i.High, i.Confidence}
}
