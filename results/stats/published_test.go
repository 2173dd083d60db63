package stats

import (
	"math"
	"testing"
)

// The figures here were computed once by scipy 1.10.1 and numpy 1.24: independent
// implementations of what this package does itself.

// TestRankSumsAsScipy has those of scipy.stats.mannwhitneyu(head, base, method="exact").
func TestRankSumsAsScipy(t *testing.T) {
	for _, test := range []struct {
		base, head  []float64
		down, up, p float64
	}{
		{[]float64{10.1, 10.4, 9.8, 10.0, 10.2}, []float64{10.6, 10.9, 10.3, 11.0}, 0.9920634920634921, 0.015873015873015872, 0.031746031746031744},
		{[]float64{1, 2, 3.5, 4, 7, 8, 9.5, 11, 12, 13}, []float64{5, 6, 10, 14, 15, 16, 17}, 0.9784553681612507, 0.027663512957630608, 0.055327025915261216},
	} {
		got := Compare(NewSample(test.base), NewSample(test.head))
		if !near(got.Down, test.down, 1e-12) || !near(got.Up, test.up, 1e-12) || !near(got.P, test.p, 1e-12) {
			t.Errorf("%v against %v: %+v, want %v, %v, %v", test.head, test.base, got, test.down, test.up, test.p)
		}
	}
}

// TestHodgesLehmannAsScipy: the two-sided 95% interval of the ratios has the bounds
// that the exact distribution of U (scipy's _mwu_state.pmf(k, 5, 4)) puts at the second
// ordered ratio from either end, and pairs have the p of scipy.stats.wilcoxon(mode=
// "exact") and the estimate of numpy's median of the pairwise averages.
func TestHodgesLehmannAsScipy(t *testing.T) {
	got := ChangeInterval(NewSample([]float64{10.1, 10.4, 9.8, 10.0, 10.2}), NewSample([]float64{10.6, 10.9, 10.3, 11.0}))
	if got == nil || !near(got.Low, 0.009803921568627638, 1e-9) || !near(got.High, 0.11224489795918369, 1e-9) || !near(got.Confidence, 1-2*0.01587302, 1e-6) {
		t.Errorf("%+v", got)
	}
	ratios := []float64{1.03, 1.08, 0.99, 1.05, 1.02, 1.07, 1.10, 1.04}
	ones := make([]float64, len(ratios))
	for i := range ones {
		ones[i] = 1
	}
	pairs := Pair(ones, ratios)
	if !near(pairs.Ratio, 1.0472771823483182, 1e-12) || !near(pairs.Up, 0.0078125, 1e-12) || !near(pairs.Down, 0.99609375, 1e-12) || !near(pairs.P, 0.015625, 1e-12) {
		t.Errorf("%+v", pairs)
	}
}

// TestHolmAsNumpy has the running maximum of (m − i)·p over the sorted p-values.
func TestHolmAsNumpy(t *testing.T) {
	got := Holm([]float64{0.01, 0.04, 0.03, 0.005, 0.5, 0.0005})
	for i, want := range []float64{0.04, 0.09, 0.09, 0.025, 0.5, 0.003} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("%v: at %d want %v", got, i, want)
		}
	}
}
