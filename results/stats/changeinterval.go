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
	doubled := make([]int, n+m)
	for i := range doubled {
		doubled[i] = 2 * (i + 1)
	}
	below, least := 0.0, n*(n+1)
	for sum, share := range rankSums(doubled, n) {
		if below+share > tail {
			return (sum - least) / 2, 1 - 2*below
		}
		below += share
	}
	return 0, 0
}
