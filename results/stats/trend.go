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
	if len(values) < fewestForTrend {
		return 0, 1, false
	}
	return slope(values) * float64(len(values)-1), trendProbability(values), true
}

// TrendsAmong are the probabilities of slopes as steep in series that go nowhere, corrected by
// Holm for how many are looked at together. That takes more than the order of a few values can
// show, so it is Student's t for a straight line through the logarithms, with the noise around
// each line moderated by that of all, see Prior. Values are above 0, and a series with fewer
// than fewestForTrend has 1.
func TrendsAmong(series [][]float64) []float64 {
	slopes, variances, degrees, p := make([]float64, len(series)), make([]float64, len(series)), make([]float64, len(series)), make([]float64, len(series))
	for i, values := range series {
		if n := len(values); n >= fewestForTrend {
			slopes[i], variances[i] = line(values)
			degrees[i] = float64(n - 2)
		}
	}
	prior := NewPrior(variances, degrees)
	for i, values := range series {
		if p[i] = 1; degrees[i] > 0 {
			n := float64(len(values))
			variance, of := prior.Moderate(variances[i], degrees[i])
			p[i] = min(1, 2*studentTail(math.Abs(slopes[i]), math.Sqrt(variance*12/(n*(n*n-1))), of))
		}
	}
	return Holm(p)
}

// line is the slope of the straight line through the logarithms of values, by least squares,
// and their variance around it.
func line(values []float64) (slope, variance float64) {
	n, center := float64(len(values)), 0.0
	for _, v := range values {
		center += math.Log(v) / n
	}
	xx, xy, yy := 0.0, 0.0, 0.0
	for i, v := range values {
		x, y := float64(i)-(n-1)/2, math.Log(v)-center
		xx, xy, yy = xx+x*x, xy+x*y, yy+y*y
	}
	return xy / xx, max(0, yy-xy*xy/xx) / (n - 2)
}

// slope is that of Theil and Sen, with each value.
func slope(values []float64) float64 {
	slopes := make([]float64, 0, len(values)*(len(values)-1)/2)
	for i := range values {
		for j := i + 1; j < len(values); j++ {
			slopes = append(slopes, (values[j]-values[i])/float64(j-i))
		}
	}
	return median(slopes)
}

// trendProbability is the p of Trend.
func trendProbability(values []float64) float64 {
	n, up, down := len(values), 0, 0
	for i, v := range values {
		for _, later := range values[i+1:] {
			switch {
			case later > v:
				up++
			case later < v:
				down++
			}
		}
	}
	if n > mostExact {
		// The difference between the pairs that go up and those that go down is
		// nearly normal. Equal pairs make this cautious.
		deviation := math.Sqrt(float64(n*(n-1)*(2*n+5)) / 18)
		z := (math.Abs(float64(up-down)) - 1) / deviation
		return min(1, math.Erfc(z/math.Sqrt2))
	}
	// Equal pairs are no evidence of a trend: half of them count each way.
	inversions := min(up, down) + (n*(n-1)/2-up-down+1)/2
	return min(1, 2*shareOfOrders(n, inversions))
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
