package stats

import (
	"math"
	"slices"
)

// ChangeInterval is the interval of the relative change from base to head (0.05
// is 5% more), at Confidence or above. It is nil where a sample is missing, too
// small or has a value that is not above 0. It is the interval of Hodges and
// Lehmann's shift on the ratios of all pairs and agrees with the rank test. See
// Hodges and Lehmann, Estimates of Location Based on Rank Tests (1963).
func ChangeInterval(base, head *Sample) *Interval {
	if base == nil || head == nil || base.Min <= 0 || head.Min <= 0 {
		return nil
	}
	outside, confidence := pairsOutside(base.N, head.N)
	if outside == 0 {
		return nil
	}
	ratios := make([]float64, 0, base.N*head.N)
	for _, b := range base.Values {
		for _, h := range head.Values {
			ratios = append(ratios, h/b-1)
		}
	}
	slices.Sort(ratios)
	return &Interval{Low: ratios[outside-1], High: ratios[len(ratios)-outside], Confidence: confidence}
}

// mostPairs is the largest product of sample sizes whose rank sums are counted
// one by one. Above it, their normal approximation is used.
const mostPairs = 900

// pairsOutside is the position, from either end, of the ordered pairwise ratio
// that bounds an interval of Confidence. It is 0 when there are too few ratios.
// The true ratio lies outside a bound at position k with the probability that
// the U statistic is below k.
func pairsOutside(n, m int) (k int, confidence float64) {
	tail := (1 - Confidence) / 2
	if n*m > mostPairs {
		mean, deviation := float64(n*m)/2, math.Sqrt(float64(n)*float64(m)*float64(n+m+1)/12)
		const z = 1.959964 // 97.5%
		return max(0, int(math.Floor(mean-z*deviation))), Confidence
	}
	below := 0.0
	for u, share := range rankSums(n, m) {
		if below+share > tail {
			return u, 1 - 2*below
		}
		below += share
	}
	return 0, 0
}

// rankSums is the distribution of Mann and Whitney's U statistic when both
// samples come from one distribution: the share of all orders for each value
// from 0 to n·m. The counts are the coefficients of a Gaussian binomial.
func rankSums(n, m int) []float64 {
	counts := make([]float64, n*m+1)
	counts[0] = 1
	for i := 1; i <= n; i++ {
		for u := len(counts) - 1; u >= m+i; u-- { // times 1 − x^(m+i)
			counts[u] -= counts[u-m-i]
		}
		for u := i; u < len(counts); u++ { // divided by 1 − x^i
			counts[u] += counts[u-i]
		}
	}
	total := 0.0
	for _, c := range counts {
		total += c
	}
	for u := range counts {
		counts[u] /= total
	}
	return counts
}
