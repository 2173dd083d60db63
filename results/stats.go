package results

import (
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// Confidence is that of every interval and the complement of the significance
// level of every test.
const Confidence = 0.95

// A Sample is what the repeats of a cell say about one figure. Its fields are
// in the figure's base unit.
type Sample struct {
	N      int       // repeats that have the figure
	Values []float64 // of the repeats, from the smallest to the largest
	Median float64
	Min    float64
	Max    float64

	// Interval is that of the median at Confidence, or at the nearest higher
	// confidence that so many repeats allow; nil when they are too few for it.
	Interval *Interval
}

// An Interval holds a median with a confidence. It assumes nothing about the
// distribution: its ends are order statistics of the repeats.
type Interval struct {
	Low, High  float64
	Confidence float64 // at least the Confidence that was asked for, below 1
}

// NewSample summarises values; nil when there are none.
func NewSample(values []float64) *Sample {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	sample := &Sample{
		N:      len(values),
		Values: sorted,
		Median: Median(sorted),
		Min:    sorted[0],
		Max:    sorted[len(sorted)-1],
	}
	summary := benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(sorted), &benchmath.DefaultThresholds), Confidence)
	if !math.IsInf(summary.Lo, 0) && !math.IsInf(summary.Hi, 0) && summary.Confidence >= Confidence {
		sample.Interval = &Interval{Low: summary.Lo, High: summary.Hi, Confidence: summary.Confidence}
	}
	return sample
}

// HalfRange is half the distance from the smallest to the largest repeat: the
// spread that is printed behind ±. It describes the repeats that were seen and
// is no confidence interval; of a single repeat it is 0.
func (s Sample) HalfRange() float64 { return (s.Max - s.Min) / 2 }

// Median is the middle one of values, or the mean of the two middle ones. It
// leaves values as they are. The median of nothing is NaN.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	// Halved first, so that the sum of two large values cannot overflow.
	return sorted[middle-1]/2 + sorted[middle]/2
}
