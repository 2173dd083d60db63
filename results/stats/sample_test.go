package stats

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func TestSampleInterval(t *testing.T) {
	values := func(n int) []float64 {
		var v []float64
		for i := n; i > 0; i-- {
			v = append(v, float64(i))
		}
		return v
	}
	// Of five repeats the range of all of them holds the median with a
	// confidence of 1-2/2⁵ = 93.75%: one too few.
	for _, n := range []int{1, 2, 3, 5} {
		if s := NewSample(values(n)); s.Interval != nil {
			t.Errorf("%d repeats gave an interval: %+v", n, s.Interval)
		}
	}
	s := NewSample(values(6))
	if s.Interval == nil || s.Interval.Low != 1 || s.Interval.High != 6 || s.Interval.Confidence != 1-2.0/64 {
		t.Errorf("the interval of six repeats is %+v", s.Interval)
	}
	if s.Median != 3.5 || s.N != 6 || s.Values[0] != 1 {
		t.Errorf("sample of six repeats: %+v", s)
	}
}

func TestVariation(t *testing.T) {
	if got := NewSample([]float64{4}).Variation(); got != nil {
		t.Errorf("of one repeat: %v", *got)
	}
	if got := NewSample([]float64{9, 11}).Variation(); got == nil || math.Abs(*got-math.Sqrt2/10) > 1e-12 {
		t.Errorf("of 9 and 11: %v, want √2/10", got)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"one", []float64{3}, 3},
		{"odd", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 3, 2}, 2.5},
		{"equal", []float64{2, 2, 2}, 2},
		{"huge", []float64{math.MaxFloat64, math.MaxFloat64}, math.MaxFloat64},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := slices.Clone(test.values)
			if got := median(test.values); got != test.want {
				t.Errorf("Median(%v) = %v, want %v", test.values, got, test.want)
			}
			if !slices.Equal(before, test.values) {
				t.Errorf("Median changed its argument to %v", test.values)
			}
		})
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("Median of nothing = %v, want NaN", got)
	}
}

func TestSampleSpread(t *testing.T) {
	if got := NewSample(nil); got != nil {
		t.Fatalf("sample of nothing = %+v, want nil", got)
	}
	got := *NewSample([]float64{18.7, 18.5, 18.54})
	want := Sample{N: 3, Values: []float64{18.5, 18.54, 18.7}, Median: 18.54, Min: 18.5, Max: 18.7}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("sample = %+v, want %+v", got, want)
	}
	if half := got.HalfRange(); math.Abs(half-0.1) > 1e-9 {
		t.Errorf("half range = %v, want 0.1", half)
	}
}

// TestNestedSample: one start, and starts of one value each, are a plain sample; two
// starts that differ make the interval wider than their values alone.
func TestNestedSample(t *testing.T) {
	values := []float64{1, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07}
	plain := NewSample(values)
	var each [][]float64
	for _, v := range values {
		each = append(each, []float64{v})
	}
	for name, groups := range map[string][][]float64{"one start": {values}, "each its own": each, "an empty one": {values, nil}} {
		if got := NewNestedSample(groups, Looks{}); !reflect.DeepEqual(got, plain) {
			t.Errorf("%s: %+v, want %+v", name, got, plain)
		}
	}
	if got := NewNestedSample(nil, Looks{}); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
	got := NewNestedSample([][]float64{values[:4], values[4:]}, Looks{})
	// The logarithms of the medians, 1.015 and 1.055, are 0.0386526 apart; t of one
	// degree of freedom is 12.7062.
	if low, high := math.Exp(0.0342142-12.7062*0.0386526/2), math.Exp(0.0342142+12.7062*0.0386526/2); math.Abs(got.Interval.Low-low) > 1e-4 || math.Abs(got.Interval.High-high) > 1e-4 {
		t.Errorf("%+v, want from %v to %v", got.Interval, low, high)
	}
	if zero := NewNestedSample([][]float64{{0, 0, 0}, {1, 1, 1}}, Looks{}); zero.Interval.Low >= 0 || zero.Median != 0.5 {
		t.Errorf("with zeros: %+v", zero.Interval)
	}
}

// TestNestedCoverage: whatever starts change beside what varies between the rounds of
// one, the interval holds the true median in 93 of 100 cases or more. Taken for so many
// independent values, the same do not.
func TestNestedCoverage(t *testing.T) {
	const trials = 2000
	random := rand.New(rand.NewPCG(7, 7))
	for _, starts := range []int{2, 3, 6} {
		for _, spread := range []float64{0, 0.01, 0.05} {
			nested, flat := 0, 0
			for range trials {
				var groups [][]float64
				for range starts {
					of, group := 1+spread*random.NormFloat64(), []float64(nil)
					for range 6 {
						group = append(group, of*(1+0.02*random.NormFloat64()))
					}
					groups = append(groups, group)
				}
				holds := func(s *Sample) int {
					if s.Interval.Low <= 1 && 1 <= s.Interval.High {
						return 1
					}
					return 0
				}
				nested += holds(NewNestedSample(groups, Looks{}))
				flat += holds(NewSample(slices.Concat(groups...)))
			}
			if share := float64(nested) / trials; share < 0.93 {
				t.Errorf("%d starts that vary by %v: the interval holds the median in %.3f", starts, spread, share)
			}
			if share := float64(flat) / trials; spread == 0.05 && share > 0.8 {
				t.Errorf("%d starts that vary by %v: without them %.3f, and the test shows nothing", starts, spread, share)
			}
			t.Logf("%d starts that vary by %v: %.3f, without them %.3f", starts, spread, float64(nested)/trials, float64(flat)/trials)
		}
	}
}
