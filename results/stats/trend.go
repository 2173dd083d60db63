package stats

import "math"

// fewestForTrend is the fewest values whose order can show a trend. Of the 120
// orders of five values, two go only up or only down; of the 24 orders of four,
// two do, which is too large a share.
const fewestForTrend = 5

// mostExact is the largest number of values whose orders are counted. Above it,
// their normal approximation is used.
const mostExact = 20

// Trend tests whether values go up or down, in the order in which they were
// measured. change is from the first value to the last: the slope of Theil and
// Sen, which is the median over all pairs, times the number of steps. p is the
// two-sided probability of an order at least as one-sided by chance, by the test
// of Mann and Kendall. Fewer than five values say nothing.
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
	change = median(slopes) * float64(n-1)
	if n > mostExact {
		// The difference between the pairs that go up and those that go down is
		// nearly normal. Equal pairs make this cautious.
		deviation := math.Sqrt(float64(n*(n-1)*(2*n+5)) / 18)
		z := (math.Abs(float64(up-down)) - 1) / deviation
		return change, min(1, math.Erfc(z/math.Sqrt2)), true
	}
	// Equal pairs are no evidence of a trend: half of them count each way.
	inversions := min(up, down) + (len(slopes)-up-down+1)/2
	return change, min(1, 2*shareOfOrders(n, inversions)), true
}

// shareOfOrders is the share of the orders of n different values that have at
// most this many inversions.
func shareOfOrders(n, inversions int) float64 {
	// shares[k] is the share with exactly k inversions. After i values, the next
	// one adds 0 to i inversions, each with the same probability.
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
