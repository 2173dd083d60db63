package stats

import (
	"math"
	"slices"
)

// A Paired is what values that were measured in pairs, base and head of a pair one
// soon after the other, say about head beside base. What changes slowly changes both
// of a pair, and not their ratio.
type Paired struct {
	N     int     // pairs
	Ratio float64 // of head to base: the estimate of Hodges and Lehmann on the logarithms of the pairs' ratios

	// Interval is the ratio's, at Confidence or above; nil with fewer pairs than it
	// takes. It is made of the same averages as the estimate, and agrees with the
	// signed-rank test where no two of these are the same.
	// See Hodges and Lehmann, Estimates of Location Based on Rank Tests (1963).
	Interval *Interval

	Difference // by the signed-rank test; Change is Ratio − 1
}

// Pair compares values of the same length, which are in the order of their pairs. It
// returns nil if there are none, or if one is not above 0.
//
// The test is Wilcoxon's signed-rank test on the logarithms of the ratios, exact up to
// mostSigned pairs, with ties. Pairs without a difference say nothing and are left
// out of it. See Wilcoxon, Individual Comparisons by Ranking Methods (1945).
func Pair(base, head []float64) *Paired {
	n := len(base)
	if n == 0 || n != len(head) || slices.Min(base) <= 0 || slices.Min(head) <= 0 {
		return nil
	}
	logs := make([]float64, n)
	for i := range base {
		logs[i] = math.Log(head[i] / base[i])
	}
	var averages []float64 // of all pairs of logs, each with itself as well
	for i := range logs {
		for j := range i + 1 {
			averages = append(averages, (logs[i]+logs[j])/2)
		}
	}
	slices.Sort(averages)
	p := &Paired{N: n, Ratio: math.Exp(median(averages))}
	if outside, confidence := averagesOutside(n); outside > 0 {
		p.Interval = &Interval{
			Low: math.Exp(averages[outside-1]), High: math.Exp(averages[len(averages)-outside]), Confidence: confidence,
		}
	}
	p.Difference = Difference{Change: Change(1, p.Ratio), N1: n, N2: n, Able: p.Interval != nil}
	p.Down, p.Up = signedTails(logs)
	p.P = min(1, 2*min(p.Down, p.Up))
	p.Shown = p.P <= 1-Confidence
	return p
}

// mostSigned is the largest number of pairs whose signs are counted one by one. Above
// it, the normal approximation of the sum of ranks is used.
const mostSigned = 50

// averagesOutside is the position, from either end, of the ordered average that bounds
// an interval of Confidence; 0 with too few pairs.
func averagesOutside(n int) (k int, confidence float64) {
	tail := (1 - Confidence) / 2
	if n > mostSigned {
		total := float64(n) * float64(n+1)
		const z = 1.959964 // 97.5%
		return max(0, int(math.Floor(total/4-z*math.Sqrt(total*float64(2*n+1)/24)))), Confidence
	}
	doubled := make([]int, n)
	for i := range doubled {
		doubled[i] = 2 * (i + 1)
	}
	below := 0.0
	for sum, share := range signedSums(doubled) {
		if below+share > tail {
			return sum / 2, 1 - 2*below
		}
		below += share
	}
	return 0, 0
}

// signedTails are the probabilities, if either sign is as likely, that the ranks of
// the values above 0 add up to at most, and to at least, what they do.
func signedTails(values []float64) (down, up float64) {
	values = slices.DeleteFunc(slices.Clone(values), func(v float64) bool { return v == 0 })
	sizes := make([]float64, len(values))
	for i, v := range values {
		sizes[i] = math.Abs(v)
	}
	doubled, sum, squares, total := make([]int, len(values)), 0, 0.0, 0.0
	for i, rank := range ranksOf(sizes) {
		doubled[i] = int(2 * rank)
		total += 2 * rank
		squares += 4 * rank * rank
		if values[i] > 0 {
			sum += doubled[i]
		}
	}
	if len(values) > mostSigned {
		deviation := math.Sqrt(squares) / 2
		tail := func(distance float64) float64 {
			return max(math.Erfc((distance-1)/(deviation*math.Sqrt2))/2, math.SmallestNonzeroFloat64)
		}
		over := float64(sum) - total/2
		return min(1, tail(-over)), min(1, tail(over))
	}
	for s, share := range signedSums(doubled) {
		if s <= sum {
			down += share
		}
		if s >= sum {
			up += share
		}
	}
	return min(1, down), min(1, up)
}

// signedSums is the distribution of the sum of these doubled ranks when each is in it
// or not, either as likely: the share of all choices by their sum.
func signedSums(doubled []int) []float64 {
	shares := []float64{1}
	for _, rank := range doubled {
		next := make([]float64, len(shares)+rank)
		for sum, share := range shares {
			next[sum] += share / 2
			next[sum+rank] += share / 2
		}
		shares = next
	}
	return shares
}
