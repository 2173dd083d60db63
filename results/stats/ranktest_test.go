package stats

import (
	"math"
	"testing"
)

func TestCompare(t *testing.T) {
	for _, test := range []struct {
		name        string
		a, b        []float64
		p           float64
		shown, able bool
		change      float64
	}{
		{"one repeat can show nothing", []float64{1}, []float64{2}, 1, false, false, 1},
		{"nor can three, wholly apart", []float64{1, 1.1, 1.2}, []float64{2, 2.1, 2.2}, 0.1, false, false, 1.0 / 1.1},
		{"four can", []float64{1, 1.1, 1.2, 1.3}, []float64{2, 2.1, 2.2, 2.3}, 2.0 / 70, true, true, 1 / 1.15},
		{"six beside three can", []float64{1, 1.1, 1.2, 1.3, 1.4, 1.5}, []float64{0.5, 0.6, 0.7}, 2.0 / 84, true, true, 0.6/1.25 - 1},
		{"four that overlap", []float64{1, 2, 3, 4}, []float64{2.5, 3.5, 1.5, 0.5}, 48.0 / 70, false, true, 2/2.5 - 1},
		{"all the same", []float64{3, 3, 3, 3}, []float64{3, 3, 3, 3}, 1, false, true, 0},
		{"constants that differ", []float64{3, 3, 3, 3}, []float64{4, 4, 4, 4}, 2.0 / 70, true, true, 1.0 / 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Compare(NewSample(test.a), NewSample(test.b))
			if math.Abs(got.P-test.p) > 1e-9 || got.Shown != test.shown || got.Able != test.able || math.Abs(got.Change-test.change) > 1e-9 {
				t.Errorf("%+v; want p %v, shown %v, able %v, change %v", got, test.p, test.shown, test.able, test.change)
			}
		})
	}
	if got := Compare(nil, NewSample([]float64{1})); got.Shown || got.Able {
		t.Errorf("nothing against something: %+v", got)
	}
}
