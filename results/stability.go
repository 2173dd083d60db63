package results

import (
	"math"
	"slices"
)

// Flags of a Summary: repeats that do not agree with each other. They follow
// from the records and are not stored.
const (
	FlagUnstable     = "unstable"      // the durations vary by more than VariationLimit
	FlagDrift        = "drift"         // the durations have a trend over the run
	FlagErrorsDiffer = "errors-differ" // the repeats have different numbers of errors
)

// VariationLimit is the coefficient of variation of a cell's durations from
// which the cell is flagged. Repeats of a batch on a quiet machine vary by some
// percent; at 10% a median of few repeats is of little use.
const VariationLimit = 0.10

// DriftLimit is the change over the whole run, as a share of the median, from
// which a trend is flagged: a smaller one may be real and is of no concern.
const DriftLimit = 0.05

// A Stability says how well the repeats of a cell agree. A figure is nil where
// there are too few repeats for it.
type Stability struct {
	Variation *float64 // coefficient of variation of the durations
	Drift     *float64 // of the duration from the first repeat to the last, as a share of the median
	DriftP    *float64 // of the trend, see Trend
	Flags     []string // sorted
}

// stabilityOf looks at the ok repeats of a cell, in order.
func stabilityOf(ok, speaking []Record) Stability {
	var s Stability
	var durations []float64
	for _, r := range speaking {
		if r.Duration != nil {
			durations = append(durations, *r.Duration)
		}
	}
	if sample := NewSample(durations); sample != nil {
		s.Variation = sample.Variation()
		if change, p, known := Trend(durations); known && sample.Median > 0 {
			change /= sample.Median
			s.Drift, s.DriftP = &change, &p
		}
	}
	if s.Variation != nil && *s.Variation > VariationLimit {
		s.Flags = append(s.Flags, FlagUnstable)
	}
	if s.Drift != nil && *s.DriftP <= 1-Confidence && math.Abs(*s.Drift) > DriftLimit {
		s.Flags = append(s.Flags, FlagDrift)
	}
	if slices.ContainsFunc(ok, func(r Record) bool { return r.Errors != ok[0].Errors }) {
		s.Flags = append(s.Flags, FlagErrorsDiffer)
	}
	slices.Sort(s.Flags)
	return s
}

// fewestForTrend is the fewest values whose order can show a trend: of the 120
// orders of five only two are wholly up or down, of four it is two in 24.
const fewestForTrend = 5

// mostExact is the largest number of values whose orders are counted.
const mostExact = 20

// Trend tests whether values, in the order in which they were measured, go up
// or down. change is how far they do so from the first to the last (the slope
// of Theil and Sen, the median over all pairs, times the number of steps), p
// the two-sided probability of an order at least as one-sided by chance (the
// test of Mann and Kendall). Of fewer than five values nothing is known.
//
// See Kendall, Rank Correlation Methods (1975), and Sen, Estimates of the
// Regression Coefficient Based on Kendall's Tau (1968).
func Trend(values []float64) (change, p float64, known bool) {
	n := len(values)
	if n < fewestForTrend {
		return 0, 1, false
	}
	var slopes []float64
	up, down := 0, 0
	for i := range values {
		for j := i + 1; j < n; j++ {
			slopes = append(slopes, (values[j]-values[i])/float64(j-i))
			switch {
			case values[j] > values[i]:
				up++
			case values[j] < values[i]:
				down++
			}
		}
	}
	change = Median(slopes) * float64(n-1)
	if n > mostExact {
		// The number of pairs that go up less those that go down is all but
		// normal by then; equal pairs make this cautious.
		deviation := math.Sqrt(float64(n*(n-1)*(2*n+5)) / 18)
		z := (math.Abs(float64(up-down)) - 1) / deviation
		return change, min(1, math.Erfc(z/math.Sqrt2)), true
	}
	// Pairs that are equal speak for no trend: half of them count each way.
	inversions := min(up, down) + (len(slopes)-up-down+1)/2
	return change, min(1, 2*shareOfOrders(n, inversions)), true
}

// shareOfOrders is the share of the orders of n different values that have at
// most so many inversions.
func shareOfOrders(n, inversions int) float64 {
	// The share with exactly k: of the first i values, the next one adds from
	// 0 to i inversions, each as likely.
	shares := []float64{1}
	for i := 1; i < n; i++ {
		next := make([]float64, len(shares)+i)
		for k, share := range shares {
			for added := 0; added <= i; added++ {
				next[k+added] += share / float64(i+1)
			}
		}
		shares = next
	}
	sum := 0.0
	for k := 0; k <= inversions && k < len(shares); k++ {
		sum += shares[k]
	}
	return sum
}
