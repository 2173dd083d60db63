package stats

import "math"

// RepeatsForInterval is the smallest number of repeats whose range contains the
// median with Confidence. All n values fall on one side of it with a probability
// of 2/2ⁿ.
func RepeatsForInterval() int {
	n := 1
	for 2*math.Pow(0.5, float64(n)) > 1-Confidence {
		n++
	}
	return n
}

// RepeatsForDifference is the smallest number of repeats in each of two samples
// with which a two-sided test can show a difference, when its p-value is
// corrected for this many tests.
func RepeatsForDifference(tests int) int {
	n := 1
	for float64(tests)*SmallestP(n, n) > 1-Confidence {
		n++
	}
	return n
}

// SmallestP is the smallest two-sided p-value that samples of these sizes can
// have: two of all the orders of their values separate them completely.
func SmallestP(n, m int) float64 {
	orders := 1.0
	for i := 1; i <= min(n, m); i++ {
		orders *= float64(n+m-min(n, m)+i) / float64(i)
	}
	return min(1, 2/orders)
}

// RepeatsLikely is how many repeats of each side would show a difference like
// this one four times in five, when the p-value is corrected for this many
// tests. It is 0 where the samples do not hint at a difference. It applies
// Noether's formula to the share of pairs in which head is above base; see
// Noether, Sample Size Determination for Some Common Nonparametric Tests (1987).
func RepeatsLikely(base, head *Sample, tests int) int {
	above := 0.0
	for _, b := range base.Values {
		for _, h := range head.Values {
			switch {
			case h > b:
				above++
			case h == b:
				above += 0.5
			}
		}
	}
	share := above/float64(base.N*head.N) - 0.5
	if share == 0 {
		return 0
	}
	const power = 0.841621 // of 80%
	z := math.Sqrt2*math.Erfinv(1-(1-Confidence)/float64(tests)) + power
	needs := math.Ceil(z * z / (6 * share * share))
	return max(RepeatsForDifference(tests), int(min(needs, 1e6)))
}

// OneSidedLevel is the level of a one-sided test. Three repeats on each side
// reach 0.05 exactly, and in binary 1 − 0.95 is a little below that.
const OneSidedLevel = 1 - Confidence + 1e-9

// RepeatsForOneSided is RepeatsForDifference for a one-sided test.
func RepeatsForOneSided(tests int) int {
	n := 1
	for float64(tests)*SmallestP(n, n)/2 > OneSidedLevel {
		n++
	}
	return n
}
