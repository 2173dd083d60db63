package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// An interval that is looked at after every observation misses the truth, at any of the
// looks, as rarely as it says: the variance is not known, but estimated from other values.
func TestAnytimeIsValidAtAllLooks(t *testing.T) {
	const races, looks, alpha = 2000, 60, 0.05
	for _, groups := range []int{2, 6, 30} {
		random, missed := rand.New(rand.NewPCG(3, uint64(groups))), 0
		for range races {
			sum, squares, df := 0.0, 0.0, 0.0
			wrong := false
			for n := 1; n <= looks && !wrong; n++ {
				sum += random.NormFloat64()
				for range groups - 1 { // each look adds this many values that only the variance is from
					z := random.NormFloat64()
					squares, df = squares+z*z, df+1
				}
				t := sum / math.Sqrt(float64(n)) / math.Sqrt(squares/df)
				wrong = AnytimeP(t, n, df) <= alpha
			}
			if wrong {
				missed++
			}
		}
		if share := float64(missed) / races; share > alpha*1.2 {
			t.Errorf("with %d groups %.3f of the races found a difference that is not there", groups, share)
		}
	}
}

func TestAnytimeIntervalIsTheTest(t *testing.T) {
	for _, n := range []int{1, 2, 7, 40} {
		for _, df := range []float64{3, 12.5, 400} {
			for _, alpha := range []float64{0.2, 0.05, 0.001} {
				half := AnytimeHalfWidth(n, df, alpha)
				if math.IsInf(half, 1) {
					if p := AnytimeP(1e9, n, df); p < alpha {
						t.Errorf("n %d df %g alpha %g: no interval, and yet p can be %g", n, df, alpha, p)
					}
					continue
				}
				if p := AnytimeP(half, n, df); math.Abs(p/alpha-1) > 1e-6 {
					t.Errorf("n %d df %g: at the end of the interval p = %g, not %g", n, df, p, alpha)
				}
			}
		}
	}
	if p := AnytimeP(50, 0, 10); p != 1 {
		t.Errorf("nothing was observed, and p = %g", p)
	}
	if half := AnytimeHalfWidth(4, 0, 0.05); !math.IsInf(half, 1) {
		t.Errorf("no variance is known, and the interval is ±%g", half)
	}
}
