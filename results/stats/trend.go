package stats

import (
	"math"
)

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
