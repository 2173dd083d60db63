package stats

import "math"

// Settings of the search for plateaus.
const (
	plateauLevel = 0.0005 // for all series that are looked at together
	mostPlateau  = mostBefore

	// leastDistance is how far a rank sum is from its mean, in deviations, at least,
	// where it is rare enough: of 75 values 3.7, of four among ever so many 3.5.
	leastDistance = 3.4
)

// findPlateaus adds the stretches whose ranks stand out of the level around them, and
// searches what it is divided into again.
func (s *levelSearch) findPlateaus() {
	var search func(from, to int)
	search = func(from, to int) {
		first, last, found := standingOut(s.logs[from:to], plateauLevel*s.share)
		if !found {
			return
		}
		bounds := []int{from, from + first, from + last, to}
		for i, at := range bounds[1:] {
			if i < 2 && at > from && at < to {
				s.starts = append(s.starts, at)
			}
			if at > bounds[i] && at-bounds[i] < to-from {
				search(bounds[i], at)
			}
		}
	}
	levels := append(append([]int{0}, s.starts...), len(s.logs))
	for i, to := range levels[1:] {
		search(levels[i], to)
	}
}

// standingOut is the stretch [first, last) whose ranks differ most from those of all
// other values together, if that is beyond a level: the exact probability of its rank
// sum, times the number of stretches. Random orders would have to be many more than
// that, and would say less.
func standingOut(values []float64, level float64) (first, last int, found bool) {
	n := len(values)
	if n < FewestForSteps {
		return 0, 0, false
	}
	sums := make([]float64, n+1) // of the ranks up to an index
	for i, rank := range ranksOf(values) {
		sums[i+1] = sums[i] + rank
	}
	stretches, largest := 0, 0.0
	for i := range n {
		for j := i + 2; j <= min(n, i+mostPlateau); j++ {
			m := float64(j - i)
			if n-(j-i) < 2 {
				continue
			}
			stretches++
			distance := math.Abs(sums[j]-sums[i]-m*float64(n+1)/2) / math.Sqrt(m*(float64(n)-m)*float64(n+1)/12)
			if distance > largest+1e-9 {
				first, last, largest = i, j, distance
			}
		}
	}
	if largest < leastDistance {
		return 0, 0, false
	}
	others := append(append([]float64{}, values[:first]...), values[last:]...)
	return first, last, float64(stretches)*rankProbability(others, values[first:last]) <= level
}

// rankProbability is the two-sided probability of two rank sums as different.
func rankProbability(a, b []float64) float64 {
	down, up := tails(a, b)
	return min(1, 2*min(down, up))
}
