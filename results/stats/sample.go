// Package stats has the statistics behind the verdicts: samples with intervals
// of their medians, rank tests and their correction for many tests, trends and
// steps, and how many values each of them needs. It works on plain numbers and
// does not know what they measure.
package stats

import (
	"math"
	"slices"

	"golang.org/x/perf/benchmath"
)

// Confidence is the confidence of every interval. The significance level of
// every test is 1 − Confidence.
const Confidence = 0.95

// A Sample is the values of one figure, one from each repeat that has it. Its
// fields are in the figure's base unit.
type Sample struct {
	N      int       `json:"n"` // how many values
	Values []float64 `json:"-"` // from the smallest to the largest
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`

	// Interval is the median's, at Confidence or at the nearest higher
	// confidence that N values allow. It is nil when there are too few.
	Interval *Interval `json:"interval"`
}

// An Interval contains a true value, such as a median, with a confidence. It
// assumes nothing about the distribution: its ends are order statistics.
type Interval struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Confidence float64 `json:"confidence"` // from the constant Confidence to below 1; at all looks together, where they decided how many values there are
}

// NewSample summarises values. It returns nil when there are none.
func NewSample(values []float64) *Sample {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	sample := &Sample{
		N:      len(values),
		Values: sorted,
		Median: median(sorted),
		Min:    sorted[0],
		Max:    sorted[len(sorted)-1],
	}
	summary := benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(sorted), &benchmath.DefaultThresholds), Confidence)
	if !math.IsInf(summary.Lo, 0) && !math.IsInf(summary.Hi, 0) && summary.Confidence >= Confidence {
		sample.Interval = &Interval{Low: summary.Lo, High: summary.Hi, Confidence: summary.Confidence}
	}
	return sample
}

// NewNestedSample summarises values that come in groups: the repeats on each start of
// a stack. What a start changed is the same for all of its values, so that they say
// less about the median than as many starts would. With more than one group the
// interval also holds the mean of the groups' medians with Confidence, by Student's t
// over the groups (Kalibera and Jones, Rigorous Benchmarking in Reasonable Time, 2013:
// the spread at the highest level has that of all levels below in it), on logarithms
// where all are above 0, as what a start changes is a share. It reaches far with two
// or three groups. With groups of one value it is NewSample. Where looks decided how many
// values there are, the interval is the one of Looks.
func NewNestedSample(groups [][]float64, looks Looks) *Sample {
	sample := NewSample(slices.Concat(groups...))
	if sample != nil && looks != (Looks{}) {
		sample.Interval = looks.interval(sample.Values)
	}
	var medians []float64
	for _, group := range groups {
		if len(group) > 0 {
			medians = append(medians, median(group))
		}
	}
	if sample == nil || sample.Interval == nil || len(medians) < 2 || len(medians) == sample.N {
		return sample
	}
	back := func(v float64) float64 { return v }
	if slices.Min(medians) > 0 {
		back = math.Exp
		for i, m := range medians {
			medians[i] = math.Log(m)
		}
	}
	mean, reach := meanInterval(medians)
	sample.Interval.Low = min(sample.Interval.Low, back(mean-reach))
	sample.Interval.High = max(sample.Interval.High, back(mean+reach))
	return sample
}

// meanInterval is the mean of two values or more, and how far its interval at
// Confidence reaches by Student's t.
func meanInterval(values []float64) (mean, reach float64) {
	n := float64(len(values))
	for _, v := range values {
		mean += v / n
	}
	squares := 0.0
	for _, v := range values {
		squares += (v - mean) * (v - mean)
	}
	t := studentQuantile((1-Confidence)/2, n-1)
	return mean, t * math.Sqrt(squares/(n-1)/n)
}

// HalfWidth is the distance from the median to the farther end of its interval,
// as a share of the median. It is nil without an interval or with a median of 0.
func (s Sample) HalfWidth() *float64 {
	if s.Interval == nil || s.Median == 0 {
		return nil
	}
	return new(max(s.Interval.High-s.Median, s.Median-s.Interval.Low) / math.Abs(s.Median))
}

// Variation is the coefficient of variation: the standard deviation, with n−1
// in the denominator, as a share of the mean. It is nil for a single value and
// with a mean of 0.
func (s Sample) Variation() *float64 {
	if s.N < 2 {
		return nil
	}
	var mean, squares float64
	for _, v := range s.Values {
		mean += v / float64(s.N)
	}
	if mean == 0 {
		return nil
	}
	for _, v := range s.Values {
		squares += (v - mean) * (v - mean)
	}
	return new(math.Sqrt(squares/float64(s.N-1)) / math.Abs(mean))
}

// HalfRange is half the distance from the smallest to the largest value. It
// describes the values that were seen and is not a confidence interval. Of a
// single value it is 0.
func (s Sample) HalfRange() float64 { return (s.Max - s.Min) / 2 }

// median is the middle value, or the mean of the two middle ones. It does not
// change values. The median of nothing is NaN.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Clone(values)
	slices.Sort(sorted)
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	// Halved first, so that the sum of two large values cannot overflow.
	return sorted[middle-1]/2 + sorted[middle]/2
}
