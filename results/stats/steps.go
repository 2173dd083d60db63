package stats

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Settings of the detection of steps.
const (
	// StepLevel is the probability of finding a step in a series without one.
	// Every night asks the same series again, so it is far below the level of
	// a single comparison.
	StepLevel = 0.002

	// stepSide is the fewest values on each side of a step.
	stepSide = 3

	// StepRuns is the fewest values in which a step of any size can be found.
	// With fewer, too large a share of all orders is as one-sided as a step.
	StepRuns = 13

	stepPermutations = 1999
	stepSeed         = 1
)

// A Step is where a series moved to another level and stayed there.
type Step struct {
	At     int     `json:"-"`      // index of the first value of the new level
	Before float64 `json:"before"` // median of the values since the step before
	After  float64 `json:"after"`  // median of the values up to the next step
	P      float64 `json:"p"`      // the probability of a split at least as clear in a series without a step
}

// Steps finds where the level of a series changed, in order.
//
// At each place it compares the values before and after by the rank sum of Mann
// and Whitney, divided by its deviation. The place with the largest one is a
// step if random orders of the same values seldom give one as large. Then it
// searches both parts. The permutation test has a fixed seed, so the answer is
// always the same.
//
// Ranks make one bad night harmless and assume nothing about the distribution.
// The values are taken to be independent: where each is like the one before, a
// wave is mistaken for steps. A large step after many values is found five or
// six values later, because fewer do not make an order rare enough.
//
// The statistic is Pettitt's, A Non-Parametric Approach to the Change-Point
// Problem (1979), scaled as by Ross, Tasoulis and Adams, Nonparametric
// Monitoring of Data Streams for Changes in Location and Scale (2011). Dividing
// repeatedly with a permutation test is E-divisive, by Matteson and James
// (2014), which Daly and others apply to performance tests in The Use of Change
// Point Detection to Identify Software Performance Regressions (2020).
func Steps(values []float64) []Step {
	var found []Step
	var search func(from, to int)
	random := rand.New(rand.NewPCG(stepSeed, stepSeed))
	search = func(from, to int) {
		at, p := largestSplit(values[from:to], random)
		if at == 0 || p > StepLevel {
			return
		}
		search(from, from+at)
		found = append(found, Step{At: from + at, P: p})
		search(from+at, to)
	}
	search(0, len(values))
	from := 0
	for i := range found {
		to := len(values)
		if i+1 < len(found) {
			to = found[i+1].At
		}
		found[i].Before, found[i].After = median(values[from:found[i].At]), median(values[found[i].At:to])
		from = found[i].At
	}
	return found
}

// largestSplit is where the values before and after differ most, or 0 if there
// is no such place, and the probability of a split as clear by chance.
func largestSplit(values []float64, random *rand.Rand) (at int, p float64) {
	n := len(values)
	if n < 2*stepSide {
		return 0, 1
	}
	ranks := ranksOf(values)
	at, largest := splitOf(ranks)
	if at == 0 {
		return 0, 1
	}
	shuffled := slices.Clone(ranks)
	atLeast := 1 // the order that was seen is one of them
	for range stepPermutations {
		random.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if _, by := splitOf(shuffled); by >= largest-1e-9 {
			atLeast++
			// Too many already: the other orders cannot make it a step.
			if float64(atLeast) > StepLevel*(stepPermutations+1) {
				return at, float64(atLeast) / float64(stepPermutations+1)
			}
		}
	}
	return at, float64(atLeast) / float64(stepPermutations+1)
}

// splitOf is the place with the largest scaled rank sum, and that rank sum.
func splitOf(ranks []float64) (at int, largest float64) {
	n := float64(len(ranks))
	sum := 0.0
	for i, rank := range ranks {
		sum += rank
		k := float64(i + 1)
		if i+1 < stepSide || len(ranks)-i-1 < stepSide {
			continue
		}
		distance := math.Abs(sum-k*(n+1)/2) / math.Sqrt(k*(n-k)*(n+1)/12)
		if distance > largest {
			at, largest = i+1, distance
		}
	}
	return at, largest
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
