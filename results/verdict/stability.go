package verdict

import (
	"math"
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
)

// Flags of a Summary whose repeats disagree. They follow from the records and
// are not stored.
const (
	FlagUnstable     = "unstable"      // the durations vary by more than VariationLimit
	FlagDrift        = "drift"         // the durations have a trend over the run
	FlagErrorsDiffer = "errors-differ" // the repeats have different numbers of errors
)

// VariationLimit is the coefficient of variation of a cell's durations above
// which the cell is flagged. Repeats on a quiet machine vary by a few percent.
// At 10% a median of few repeats is of little use.
const VariationLimit = 0.10

// DriftLimit is the change over the whole run, as a share of the median, above
// which a trend is flagged. A smaller one may be real but does not matter.
const DriftLimit = 0.05

// A Stability is how well the repeats of a cell agree. A figure is nil if there
// are too few repeats for it.
type Stability struct {
	Variation *float64 `json:"duration_variation"` // coefficient of variation of the durations
	Drift     *float64 `json:"duration_drift"`     // of the duration from the first repeat to the last, as a share of the median
	DriftP    *float64 `json:"duration_drift_p"`   // the trend's p, see stats.Trend
	Flags     []string `json:"-"`                  // sorted
}

// stabilityOf looks at the repeats of a cell that are ok, in order.
func stabilityOf(ok, speaking []results.Record) Stability {
	var s Stability
	durations := results.Metric(results.MetricDuration).Values(speaking)
	if sample := stats.NewSample(durations); sample != nil {
		s.Variation = sample.Variation()
		if change, p, known := stats.Trend(durations); known && sample.Median > 0 {
			change /= sample.Median
			s.Drift, s.DriftP = &change, &p
		}
	}
	if s.Variation != nil && *s.Variation > VariationLimit {
		s.Flags = append(s.Flags, FlagUnstable)
	}
	if s.Drift != nil && *s.DriftP <= 1-stats.Confidence && math.Abs(*s.Drift) > DriftLimit {
		s.Flags = append(s.Flags, FlagDrift)
	}
	if slices.ContainsFunc(ok, func(r results.Record) bool { return r.Errors != ok[0].Errors }) {
		s.Flags = append(s.Flags, FlagErrorsDiffer)
	}
	slices.Sort(s.Flags)
	return s
}
