package stats

import (
	"math"
	"testing"
)

func TestTrend(t *testing.T) {
	for _, test := range []struct {
		name   string
		values []float64
		change float64
		p      float64
		known  bool
	}{
		{"four are too few", []float64{1, 2, 3, 4}, 0, 1, false},
		{"five on the rise", []float64{1, 2, 3, 4, 5}, 4, 2.0 / 120, true},
		{"five that fall", []float64{5, 4, 3, 2, 1}, -4, 2.0 / 120, true},
		{"one out of order", []float64{1, 2, 3, 5, 4}, 4, 10.0 / 120, true},
		{"no order", []float64{3, 1, 5, 2, 4}, 1.5, 98.0 / 120, true},
		{"all equal", []float64{2, 2, 2, 2, 2}, 0, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			change, p, known := Trend(test.values)
			if math.Abs(change-test.change) > 1e-9 || math.Abs(p-test.p) > 1e-9 || known != test.known {
				t.Errorf("change %v, p %v, known %v; want %v, %v, %v", change, p, known, test.change, test.p, test.known)
			}
		})
	}
	// Where the orders are too many to count, the two ways agree.
	var rising []float64
	for i := range 21 {
		rising = append(rising, float64((i*8)%21)+float64(i))
	}
	_, approximate, _ := Trend(rising)
	_, exact, _ := Trend(rising[:20])
	if approximate <= 0 || approximate >= 1 || math.Abs(approximate-exact) > 0.1 {
		t.Errorf("of 21 values p = %v, of the first 20 exactly %v", approximate, exact)
	}
}
