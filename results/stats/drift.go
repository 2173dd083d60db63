package stats

import (
	"math"
	"slices"
)

// A Drift is a series that goes up or down, a little with each value.
type Drift struct {
	From   int     // index of the first value of it
	Change float64 // with each value, as a share: 0.01 is 1% more
	P      float64 // the probability of an order as one-sided in a series that does not
}

// Levels of the tests for a drift, for all series that are looked at together. A young
// series is tested as a whole, and at a higher level: what creeps from its very first
// night has no quiet nights before it that a step could be seen against, and it is young
// for so few nights that the false alarms stay few.
const (
	driftLevel = 0.0002
	youngLevel = 0.02
	mostYoung  = 15 // values
)

// lengths are the numbers of last values that are tried for a drift, the longest first.
func lengths() []int { return []int{60, 40, 28, 20, 14, 10, 8} }

// drift is that of the last values, as many as follow a line. A stair of the steps that
// were found, or of one, does not follow it better. Of a young series in which no step was
// found the line need not be the better one: that it moves is what there is to say.
func (s *levelSearch) drift() *Drift {
	if n := len(s.logs); n <= mostYoung {
		if d := s.driftOf(n, youngLevel); d != nil && (len(s.starts) == 0 || s.onLine(d.From)) {
			return d
		}
	}
	for _, n := range lengths() {
		if n <= len(s.logs) {
			if d := s.driftOf(n, driftLevel); d != nil && s.onLine(d.From) {
				return d
			}
		}
	}
	return nil
}

// driftOf is that of the last n values, if it is beyond a level.
func (s *levelSearch) driftOf(n int, level float64) *Drift {
	from := len(s.logs) - n
	p := trendProbability(s.logs[from:])
	if p > level*s.share {
		return nil
	}
	return &Drift{From: from, Change: math.Expm1(slope(s.logs[from:])), P: p}
}

// onLine reports whether the values since from follow a line at least as well as a stair.
func (s *levelSearch) onLine(from int) bool { return s.lineError(from) <= s.stairError(from) }

// lineError is the mean square of the values since from around their line.
func (s *levelSearch) lineError(from int) float64 {
	values := s.logs[from:]
	n := float64(len(values))
	center, middle := mean(values), (n-1)/2
	xx, xy, yy := 0.0, 0.0, 0.0
	for i, v := range values {
		x := float64(i) - middle
		xx, xy, yy = xx+x*x, xy+x*(v-center), yy+square(v-center)
	}
	return (yy - xy*xy/xx) / (n - 2)
}

// stairError is that around the levels of the steps that were found since from, or of
// the best single one if that fits better. A step takes two parameters, where it is
// and how large.
func (s *levelSearch) stairError(from int) float64 {
	best := math.Inf(1)
	inside := slices.DeleteFunc(slices.Clone(s.starts), func(start int) bool { return start <= from })
	if free := len(s.logs) - from - 1 - 2*len(inside); len(inside) > 0 && free > 0 {
		best = s.squaresAround(from, inside) / float64(free)
	}
	for at := from + 1; at < len(s.logs); at++ {
		best = min(best, s.squaresAround(from, []int{at})/float64(len(s.logs)-from-3))
	}
	return best
}

// squaresAround is the sum of squares of the values since from around their levels.
func (s *levelSearch) squaresAround(from int, starts []int) float64 {
	sum, first := 0.0, from
	for _, to := range append(slices.Clone(starts), len(s.logs)) {
		center := mean(s.logs[first:to])
		for _, v := range s.logs[first:to] {
			sum += square(v - center)
		}
		first = to
	}
	return sum
}
