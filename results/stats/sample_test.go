package stats

import (
	"math"
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
