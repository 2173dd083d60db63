package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestChangeIntervalHolds: intervals of 95% hold the true change in about 95
// of 100 cases, and agree with the test about 0.
func TestChangeIntervalHolds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const cases, truth = 200, 0.08
	sample := func(n int, center float64) *Sample {
		var v []float64
		for range n {
			v = append(v, center*math.Exp(0.05*random.NormFloat64()))
		}
		return NewSample(v)
	}
	for _, n := range []int{5, 9, 40} {
		held, disagree := 0, 0
		for range cases {
			base, head := sample(n, 10), sample(n, 10*(1+truth))
			interval := ChangeInterval(base, head)
			if interval == nil {
				t.Fatalf("no interval of %d repeats", n)
			}
			if interval.Low <= truth && truth <= interval.High {
				held++
			}
			if without := interval.Low > 0 || interval.High < 0; without != Compare(base, head).Shown {
				disagree++
			}
		}
		if held < 930*cases/1000 || held > 990*cases/1000 {
			t.Errorf("%d repeats: the interval held the change in %d of %d cases", n, held, cases)
		}
		if disagree > cases/100 {
			t.Errorf("%d repeats: interval and test disagree in %d of %d cases", n, disagree, cases)
		}
	}
}
