package stats

import "math"

// A Pick is the best of several candidates, picked by values of the same rounds. What is best in
// some rounds was lucky in them as well, so that its lead in these is more than it has (the
// winner's curse). Each round is judged by the others: they pick, and what they picked is
// compared in the round that had no part in it. The mean over the rounds is the lead that the
// pick has, of whatever values: it is made by one round fewer, and no lead is left of it where
// there is none. See Stone, Cross-Validatory Choice and Assessment of Statistical Predictions (1974).
type Pick struct {
	logs          [][]float64 // of the values, by candidate and round
	first, second []int       // the best and the next, by the median of the rounds but one
}

// NewPick is that of values by candidate and round. So many of them are candidates, and those
// behind them are compared with the best alone. It is nil with fewer than two rounds or without
// anything to compare, and where a value is not above 0.
func NewPick(values [][]float64, candidates int, higher bool) *Pick {
	if len(values) < 2 || len(values[0]) < 2 {
		return nil
	}
	p, sign := &Pick{logs: make([][]float64, len(values))}, 1.0
	if higher {
		sign = -1
	}
	for i, of := range values {
		for _, v := range of {
			if v <= 0 {
				return nil
			}
			p.logs[i] = append(p.logs[i], math.Log(v))
		}
	}
	for round := range values[0] {
		first, second, best, next := -1, -1, math.Inf(1), math.Inf(1)
		for i, of := range p.logs[:candidates] {
			rest := append(append(make([]float64, 0, len(of)), of[:round]...), of[round+1:]...)
			switch cost := sign * median(rest); {
			case first < 0 || cost < best:
				first, second, best, next = i, first, cost, best
			case second < 0 || cost < next:
				second, next = i, cost
			}
		}
		p.first, p.second = append(p.first, first), append(p.second, second)
	}
	return p
}

// Lead is by how many times the ratio of another one to the best that was picked is to change
// for its luck: it is 1 where every round but one picks the same. next says that the other is
// the next best.
func (p *Pick) Lead(best, other int, next bool) float64 {
	sum := 0.0
	for round, first := range p.first {
		second := other
		if next {
			second = p.second[round]
		}
		sum += p.logs[second][round] - p.logs[first][round] - (p.logs[other][round] - p.logs[best][round])
	}
	return math.Exp(sum / float64(len(p.first)))
}
