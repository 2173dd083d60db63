package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// near reports whether two numbers agree to this share.
func near(a, b, share float64) bool {
	return a == b || math.Abs(a-b) <= share*math.Abs(b)
}

// TestPolygamma has values of scipy 1.10.1: special.digamma, special.polygamma(1, ·).
func TestPolygamma(t *testing.T) {
	for _, test := range []struct{ x, di, tri float64 }{
		{0.1, -10.423754940411076, 101.43329915},
		{0.5, -1.9635100260214235, 4.9348022},
		{1, -0.5772156649015329, 1.64493407},
		{3, 0.9227843350984671, 0.39493407},
		{7.25, 1.9104535268837362, 0.14787923},
		{40, 3.6763273740348428, 0.0253151},
	} {
		if got := digamma(test.x); !near(got, test.di, 1e-12) {
			t.Errorf("digamma(%v) = %v, want %v", test.x, got, test.di)
		}
		if got := trigamma(test.x); !near(got, test.tri, 1e-6) {
			t.Errorf("trigamma(%v) = %v, want %v", test.x, got, test.tri)
		}
		if got := trigammaInverse(trigamma(test.x)); !near(got, test.x, 1e-9) {
			t.Errorf("the inverse of trigamma(%v) is %v", test.x, got)
		}
	}
}

// TestPrior has values of the same moments in numpy and scipy 1.10.1, whose root was
// found by optimize.brentq.
func TestPrior(t *testing.T) {
	for _, test := range []struct {
		variances, degrees []float64
		want               Prior
	}{
		{[]float64{1, 4, 0.5, 9, 0.2, 2.5}, []float64{6, 6, 6, 6, 6, 6}, Prior{2.059547431805877, 0.9835520512894255, 36}},
		{[]float64{0.3, 7, 1.1, 0.04, 2}, []float64{3, 5, 6, 4, 2}, Prior{1.3203185723125612, 0.3907649750312574, 20}},
		{[]float64{0.3, 7, 1.1, 5, 0.04, 2}, []float64{3, 5, 6, 0, 4, 2}, Prior{1.3203185723125612, 0.3907649750312574, 20}},
		{[]float64{1, 1.1, 0.9, 1.05}, []float64{6, 6, 6, 6}, Prior{math.Inf(1), 1.2038357419750711, 24}},
		{[]float64{3}, []float64{6}, Prior{}},
		{[]float64{3, 1}, []float64{6, 0}, Prior{}},
		{[]float64{0, 0, 0}, []float64{6, 6, 6}, Prior{Degrees: math.Inf(1), pooled: math.Inf(1)}},
		{nil, nil, Prior{}},
	} {
		if got := NewPrior(test.variances, test.degrees); !near(got.Degrees, test.want.Degrees, 1e-8) || !near(got.Variance, test.want.Variance, 1e-8) || got.pooled != test.want.pooled {
			t.Errorf("%v with %v degrees: %+v, want %+v", test.variances, test.degrees, got, test.want)
		}
	}
	if v, d := (Prior{4, 2, 12}).Moderate(8, 6); !near(v, 5.6, 1e-12) || d != 10 {
		t.Errorf("moderated to %v with %v degrees, want (4·2+6·8)/10 with 10", v, d)
	}
	if v, d := (Prior{math.Inf(1), 2, 12}).Moderate(8, 6); v != 2 || d != 12 {
		t.Errorf("moderated to %v with %v degrees, want the prior's with those of all groups", v, d)
	}
	if v, d := (Prior{}).Moderate(8, 6); v != 8 || d != 6 {
		t.Errorf("moderated to %v with %v degrees by a prior that knows nothing", v, d)
	}
	if v, d := (Prior{}).Moderate(0, 0); !math.IsNaN(v) || d != 0 {
		t.Errorf("%v with %v degrees of nothing", v, d)
	}
}

// TestPriorOfMany: from many groups the prior is found that they were drawn from.
func TestPriorOfMany(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	squares := func(degrees int) (sum float64) {
		for range degrees {
			z := random.NormFloat64()
			sum += z * z
		}
		return sum
	}
	const groups, degrees = 4000, 6
	for _, prior := range []int{4, 20, 0} { // 0: all have the same variance
		var variances, of []float64
		for range groups {
			variance := 0.5
			if prior > 0 {
				variance *= float64(prior) / squares(prior)
			}
			variances, of = append(variances, variance*squares(degrees)/degrees), append(of, degrees)
		}
		got := NewPrior(variances, of)
		found := math.Abs(got.Degrees/float64(prior)-1) < 0.15
		if prior == 0 {
			found = got.Degrees > 100
		}
		if !found || math.Abs(got.Variance/0.5-1) > 0.04 {
			t.Errorf("%+v, want %d degrees and 0.5", got, prior)
		}
	}
}

// TestPriorBesideConstants: a cell that never varies is one of many, and does not make
// the others known to vary as little.
func TestPriorBesideConstants(t *testing.T) {
	variances, degrees := []float64{0}, []float64{6}
	for _, v := range []float64{1, 1.1, 0.9, 1.05, 0.8, 1.2, 0.7} {
		variances, degrees = append(variances, v), append(degrees, 6)
	}
	prior := NewPrior(variances, degrees)
	if v, of := prior.Moderate(1, 6); !(of >= 6 && of < 10) || v < 0.5 {
		t.Errorf("moderated to %v with %v degrees by %+v", v, of, prior)
	}
}
