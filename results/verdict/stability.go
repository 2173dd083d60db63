package verdict

import (
	"maps"
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

// stabilityOf looks at the repeats of a cell that are ok, in order. Flags that follow
// from it are those of markUnsteady.
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
	if slices.ContainsFunc(ok, func(r results.Record) bool { return r.Errors != ok[0].Errors }) {
		s.Flags = append(s.Flags, FlagErrorsDiffer)
	}
	return s
}

// markUnsteady flags the cells of a run whose repeats disagree. In a run in which nothing
// does, the chance that any cell is flagged for its spread is that of an error, 1 −
// stats.Confidence, and so is that for a trend, however many cells there are.
func markUnsteady(cells []*Summary) {
	flag := func(s *Summary, flag string) {
		s.Stability.Flags = slices.Sorted(slices.Values(append(s.Stability.Flags, flag)))
		s.Flags = slices.Compact(slices.Sorted(slices.Values(append(s.Flags, flag))))
	}
	var spreads []stats.Spread
	var of, going []*Summary
	for _, s := range cells {
		if s.Stability.Variation != nil {
			of, spreads = append(of, s), append(spreads, stats.Spread{Variation: *s.Stability.Variation, Degrees: float64(s.Duration.N - 1)})
		}
		if s.Stability.Drift != nil {
			going = append(going, s)
		}
	}
	for i, unsteady := range stats.Unsteady(spreads, VariationLimit) {
		if unsteady {
			flag(of[i], FlagUnstable)
		}
	}
	for i, drifts := range drifting(going) {
		if drifts && math.Abs(*going[i].Stability.Drift) > DriftLimit {
			flag(going[i], FlagDrift)
		}
	}
}

// drifting tells which cells have a trend: by themselves, and more than chance makes of as
// many cells. Half of the level is for all of them together: a machine that gets slower does
// so for all, and their mean goes one way long before few repeats can show it of each. Where
// it does, each is tested as if it were alone. The other half is for the steepest ones, see
// stats.TrendsAmong.
func drifting(cells []*Summary) []bool {
	const level = 1 - stats.Confidence
	drifts, corrected := make([]bool, len(cells)), make([]float64, len(cells))
	if len(cells) > 1 {
		if _, together, known := stats.Trend(meanCourse(cells)); !known || together > level/2 {
			var series [][]float64
			for _, s := range cells {
				series = append(series, results.Metric(results.MetricDuration).Values(s.Speaking))
			}
			corrected = stats.TrendsAmong(series)
		}
	}
	for i, s := range cells {
		drifts[i] = *s.Stability.DriftP <= level && corrected[i] <= level/2
	}
	return drifts
}

// meanCourse is the mean over cells of what each repeat took beside the cell's median, in
// the order of the repeats. One that not half of the cells have is left out.
func meanCourse(cells []*Summary) []float64 {
	sums, counts := map[int]float64{}, map[int]int{}
	for _, s := range cells {
		for i := range s.Speaking {
			if r := &s.Speaking[i]; r.Duration != nil {
				sums[r.Cell.Repeat] += *r.Duration / s.Duration.Median
				counts[r.Cell.Repeat]++
			}
		}
	}
	var course []float64
	for _, repeat := range slices.Sorted(maps.Keys(sums)) {
		if 2*counts[repeat] >= len(cells) {
			course = append(course, sums[repeat]/float64(counts[repeat]))
		}
	}
	return course
}
