package stats

import (
	"cmp"
	"math"
	"slices"
)

// A Difference is the result of the two-sided Mann-Whitney U test on two samples
// of one figure. The test assumes nothing about the distribution.
// See Mann and Whitney, On a Test of Whether one of Two Random Variables is
// Stochastically Larger than the Other (1947).
type Difference struct {
	Change *float64 // of the medians, see Change
	N1, N2 int      // values

	// If both samples came from one distribution: the probability that the second
	// is at least as high beside the first (Up), at least as low (Down), and at
	// least as different (P), which is twice the smaller of the two.
	P, Up, Down float64

	// Shown reports whether the test rejects, at the level of 1 − Confidence,
	// that both samples come from one distribution. A difference that is not
	// shown may still exist.
	Shown bool

	// Able reports whether samples of these sizes could have shown a
	// difference, had every value of one been below every value of the other.
	// Where it is false, Shown says nothing.
	Able bool
}

// Change is the change to a value as a share of the one before. It is nil where
// that is 0, of which nothing is a share.
func Change(before, after float64) *float64 {
	if before == 0 {
		return nil
	}
	return new(after/before - 1)
}

// Compare tests whether two samples differ. With a sample missing it shows
// nothing.
func Compare(a, b *Sample) Difference {
	if a == nil || b == nil {
		return Difference{P: 1, Up: 1, Down: 1}
	}
	d := Difference{N1: a.N, N2: b.N, Change: Change(a.Median, b.Median), Able: SmallestP(a.N, b.N) <= 1-Confidence}
	d.Down, d.Up = tails(a.Values, b.Values)
	d.P = min(1, 2*min(d.Down, d.Up))
	d.Shown = d.P <= 1-Confidence
	return d
}

// mostPairs is the largest product of sample sizes whose rank sums are counted
// one by one. Above it, their normal approximation is used.
const mostPairs = 900

// tails are the probabilities that the ranks of b among all values add up to at
// most, and to at least, what they do. Equal values share their mean rank. Up to
// mostPairs they are exact.
func tails(a, b []float64) (down, up float64) {
	if len(a) < len(b) { // counting goes by the smaller sample
		up, down = tails(b, a)
		return down, up
	}
	ranks := ranksOf(slices.Concat(a, b))
	doubled, sum := make([]int, len(ranks)), 0
	for i, rank := range ranks {
		doubled[i] = int(2 * rank)
		if i >= len(a) {
			sum += doubled[i]
		}
	}
	if len(a)*len(b) > mostPairs {
		return normalTails(doubled, len(b), sum)
	}
	for s, share := range rankSums(doubled, len(b)) {
		if s <= sum {
			down += share
		}
		if s >= sum {
			up += share
		}
	}
	return min(1, down), min(1, up)
}

// normalTails is the approximation of tails by a normal distribution, with the
// variance corrected for equal values, and for the sum being in steps. See
// Lehmann, Nonparametrics: Statistical Methods Based on Ranks (1975), section 1.4.
func normalTails(doubled []int, n, sum int) (down, up float64) {
	total := float64(len(doubled))
	mean, squares := total+1, 0.0 // of the doubled ranks
	for _, rank := range doubled {
		squares += (float64(rank) - mean) * (float64(rank) - mean)
	}
	deviation := math.Sqrt(squares * float64(n) * (total - float64(n)) / (total * (total - 1)))
	if deviation == 0 {
		return 1, 1
	}
	tail := func(distance float64) float64 {
		return max(math.Erfc((distance-1)/(deviation*math.Sqrt2))/2, math.SmallestNonzeroFloat64)
	}
	over := float64(sum) - float64(n)*mean
	return tail(-over), tail(over)
}

// rankSums is the distribution of the sum of n of these doubled ranks, when each
// choice is as likely: the share of all choices by their sum.
func rankSums(doubled []int, n int) []float64 {
	most := 0
	for _, rank := range slices.Sorted(slices.Values(doubled))[len(doubled)-n:] {
		most += rank
	}
	counts := make([][]float64, n+1) // by how many were chosen and their sum
	for k := range counts {
		counts[k] = make([]float64, most+1)
	}
	counts[0][0] = 1
	for i, rank := range doubled {
		for k := min(i+1, n); k > 0; k-- {
			for sum := rank; sum <= most; sum++ {
				counts[k][sum] += counts[k-1][sum-rank]
			}
		}
	}
	total := 0.0
	for _, count := range counts[n] {
		total += count
	}
	for sum := range counts[n] {
		counts[n][sum] /= total
	}
	return counts[n]
}

// Holm corrects the p-values of tests that are looked at together and returns
// them in the same order. If there is no difference anywhere, the probability
// that any corrected value is α or less is at most α, however the tests depend
// on each other. Methods that bound the share of false alarms need independent
// tests, and the cells of a run share a machine and often a stack. See Holm, A
// Simple Sequentially Rejective Multiple Test Procedure (1979).
func Holm(p []float64) []float64 {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(p[a], p[b]) })
	corrected := make([]float64, len(p))
	largest := 0.0
	for rank, at := range order {
		largest = max(largest, min(1, float64(len(p)-rank)*p[at]))
		corrected[at] = largest
	}
	return corrected
}

// ranksOf are the ranks of values, from 1. Equal values share their mean rank.
func ranksOf(values []float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	ranks := make([]float64, len(values))
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && values[order[j]] == values[order[i]] {
			j++
		}
		for _, at := range order[i:j] {
			ranks[at] = float64(i+j+1) / 2
		}
		i = j
	}
	return ranks
}
