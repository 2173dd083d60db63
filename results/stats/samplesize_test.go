package stats

import (
	"math/rand/v2"
	"testing"
)

func TestRepeatsThatAreNeeded(t *testing.T) {
	if got := RepeatsForInterval(); got != 6 {
		t.Errorf("an interval takes %d repeats, want 6", got)
	}
	if got := RepeatsForDifference(1); got != 4 {
		t.Errorf("a difference takes %d repeats of each, want 4", got)
	}
}

// TestRepeatsNeeded: with as many repeats as are said to be needed, about four
// in five comparisons show the difference.
func TestRepeatsNeeded(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	sample := func(n int, center float64) *Sample {
		var v []float64
		for range n {
			v = append(v, center+random.NormFloat64())
		}
		return NewSample(v)
	}
	needs := RepeatsLikely(sample(2000, 100), sample(2000, 101), 1) // one standard deviation
	shown := 0
	for range 500 {
		if Compare(sample(needs, 100), sample(needs, 101)).Shown {
			shown++
		}
	}
	if shown < 350 || shown > 450 {
		t.Errorf("with %d repeats %d of 500 were shown, want about 400", needs, shown)
	}
}
