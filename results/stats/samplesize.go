package stats

import (
	"math"
)

// RepeatsForInterval is the fewest repeats whose range holds the median with
// Confidence: all of n fall on one side of it with a probability of 2/2ⁿ.
func RepeatsForInterval() int {
	n := 1
	for 2*math.Pow(0.5, float64(n)) > 1-Confidence {
		n++
	}
	return n
}

// RepeatsForDifference is the fewest repeats of each of two samples with which
// a test can show anything, of so many that are corrected for each other.
func RepeatsForDifference(tests int) int {
	n := 1
	for float64(tests)*SmallestP(n, n) > 1-Confidence {
		n++
	}
	return n
}

// SmallestP is the smallest p-value that samples of these sizes can have: two
// of the ways to put the values in order separate them wholly.
func SmallestP(n, m int) float64 {
	orders := 1.0
	for i := 1; i <= min(n, m); i++ {
		orders *= float64(n+m-min(n, m)+i) / float64(i)
	}
	return min(1, 2/orders)
}

// RepeatsLikely applies Noether's formula to the share of pairs in which the
// head is above the base, for a power of 80% in one of so many tests.
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

// OneSidedLevel is the level of a one-sided test. Three repeats on each side reach
// it exactly, and 1 − 0.95 is a little below 0.05 in binary.
const OneSidedLevel = 1 - Confidence + 1e-9

// RepeatsForOneSided is the fewest repeats of each side with which a one-sided
// test can show anything, of so many that are corrected for each other.
func RepeatsForOneSided(tests int) int {
	n := 1
	for float64(tests)*SmallestP(n, n)/2 > OneSidedLevel {
		n++
	}
	return n
}
