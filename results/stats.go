package results

import (
	"math"
	"slices"
)

// A Sample is what the repeats of a cell say about one figure. Its fields are
// in the figure's base unit.
type Sample struct {
	N      int // repeats that have the figure
	Median float64
	Min    float64
	Max    float64
}

// NewSample summarises values; nil when there are none.
func NewSample(values []float64) *Sample {
	if len(values) == 0 {
		return nil
	}
	return &Sample{
		N:      len(values),
		Median: Median(values),
		Min:    slices.Min(values),
		Max:    slices.Max(values),
	}
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
