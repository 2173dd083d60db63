package stats

import (
	"math"
	"slices"
	"sync"
)

// Looks are the numbers of values after each of which it is decided, by these values,
// whether to take more. The zero value is a number of values that was decided before.
type Looks struct{ First, Last int }

// interval is that of the median, of values from the smallest to the largest. That it is
// looked at again and again, and that one stops where it is narrow, makes an interval miss
// more often than a single look would. This one is wider: its ends are so far out that the
// chance that the median is ever outside, at any of the looks, is at most 1 − Confidence,
// whatever decides. It is nil with too few values.
//
// Each value is below the median with a probability of a half, so that the number of those
// below is a random walk, and the chance that it ever leaves the bounds is counted. See
// Darling and Robbins, Confidence Sequences for Mean, Variance, and Median (1967), and
// Pocock, Group Sequential Methods in the Design and Analysis of Clinical Trials (1977).
func (l Looks) interval(sorted []float64) *Interval {
	n := len(sorted)
	if n < l.First || n > l.Last {
		return nil
	}
	outside := l.positions()[n]
	if outside == 0 {
		return nil
	}
	return &Interval{Low: sorted[outside-1], High: sorted[n-outside], Confidence: Confidence}
}

var positionsOf sync.Map // by Looks

// positions are how far from either end of so many ordered values the interval ends: the
// same chance of being outside at each look by itself, as large as all together allow.
func (l Looks) positions() []int {
	if known, has := positionsOf.Load(l); has {
		return known.([]int)
	}
	low, high := 0.0, 1-Confidence
	for range 30 {
		if middle := (low + high) / 2; l.everOutside(l.at(middle)) > 1-Confidence {
			high = middle
		} else {
			low = middle
		}
	}
	positions := l.at(low)
	if l.everOutside(positions) > 1-Confidence { // of so few values not even the range holds it
		positions = make([]int, l.Last+1)
	}
	positionsOf.Store(l, positions)
	return positions
}

// at are the positions at which a single look misses with this chance. The range costs
// nothing more after the first look: whoever is outside of it then was outside before.
func (l Looks) at(chance float64) []int {
	positions := make([]int, l.Last+1)
	for n := l.First; n <= l.Last; n++ {
		share := math.Pow(0.5, float64(n)) // of the walks with so many values below
		for k, tail := 0, 0.0; k < n/2; k++ {
			if tail += 2 * share; tail > chance && k > 0 {
				break
			}
			positions[n] = k + 1
			share *= float64(n-k) / float64(k+1)
		}
	}
	return positions
}

// everOutside is the chance that the median is outside at any look.
func (l Looks) everOutside(positions []int) float64 {
	shares, outside := []float64{1}, 0.0 // of the walks that were inside so far, by how many values are below
	for n := 1; n <= l.Last; n++ {
		next := make([]float64, n+1)
		for below, share := range shares {
			next[below] += share / 2
			next[below+1] += share / 2
		}
		for k := range positions[n] {
			for _, below := range slices.Compact([]int{k, n - k}) {
				outside += next[below]
				next[below] = 0
			}
		}
		shares = next
	}
	return outside
}
