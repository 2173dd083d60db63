package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestStudent has values of scipy 1.10.1: stats.t.sf and stats.t.isf.
func TestStudent(t *testing.T) {
	for _, test := range []struct{ t, degrees, want float64 }{
		{2.5, 6, 0.02326411614208364},
		{3.3, 41.7, 0.0009930333390518059},
		{-1, 3, 0.8044988905221148},
		{4, 1e9, 3.167124410823392e-05},
	} {
		if got := studentTail(test.t*0.3, 0.3, test.degrees); !near(got, test.want, 1e-7) {
			t.Errorf("beyond %v with %v degrees: %v, want %v", test.t, test.degrees, got, test.want)
		}
	}
	for _, test := range []struct{ p, degrees, want float64 }{
		{0.01, 6, 3.1426684032909855}, {0.2, 40, 0.8506997954053551}, {0.025, 7, 2.3646242510103},
	} {
		if got := (Departure{Deviation: 0.5, Degrees: test.degrees}).Reach(1 - test.p); !near(got, test.want/2, 1e-7) {
			t.Errorf("%v with %v degrees: %v, want half of %v", test.p, test.degrees, got, test.want)
		}
	}
}

// TestDepartOfOne is Student's prediction of one more value, by hand: a mean of 2, a
// variance of 2.5, and a head 3 above it are t = 3/√(2.5·1.2) with 4 degrees.
func TestDepartOfOne(t *testing.T) {
	d := Depart([]Nights{{Before: []float64{0, 1, 2, 3, 4}, Head: 5}})[0]
	if d.Nights != 5 || d.By != 3 || !near(d.Deviation, math.Sqrt(3), 1e-12) || d.Degrees != 4 || !near(d.Up, studentTail(math.Sqrt(3), 1, 4), 1e-12) || !near(d.Up+d.Down, 1, 1e-9) {
		t.Errorf("%+v", d)
	}
}

// TestDepartOfConstants: what never varied is changed by any change, and unchanged
// without one, whatever the rounding of its mean.
func TestDepartOfConstants(t *testing.T) {
	same := math.Log(0.1 + 0.2)
	before := []float64{same, same, same, same, same, same, same}
	found := Depart([]Nights{{before, same}, {before, same + 0.01}, {before, same - 0.01}})
	for i, want := range [][2]float64{{1, 1}, {0, 1}, {1, 0}} {
		if d := found[i]; d.Up != want[0] || d.Down != want[1] {
			t.Errorf("%+v, want up %v and down %v", d, want[0], want[1])
		}
	}
	if i := found[1].Interval(); !near(i.Low, math.Expm1(0.01), 1e-6) || !near(i.High, i.Low, 1e-9) {
		t.Errorf("%+v", i)
	}
}

// TestDepartHolds: the tests keep their level whether the cells vary alike or each in
// its own way, and the interval of a change holds it.
func TestDepartHolds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const nights, cells, runs, change = 7, 18, 600, 0.03
	for _, own := range []bool{false, true} {
		above, held := 0, 0
		for range runs {
			series := make([]Nights, cells)
			for i := range series {
				spread := 0.01
				if own {
					spread *= math.Exp(0.7 * random.NormFloat64())
				}
				for range nights {
					series[i].Before = append(series[i].Before, spread*random.NormFloat64())
				}
				series[i].Head = change + spread*random.NormFloat64()
			}
			for _, d := range Depart(series) {
				if interval := d.Interval(); interval.Low <= math.Expm1(change) && math.Expm1(change) <= interval.High {
					held++
				}
			}
			for i := range series {
				series[i].Head -= change
			}
			for _, d := range Depart(series) {
				if d.Up <= 0.05 {
					above++
				}
			}
		}
		if share := float64(above) / (runs * cells); share < 0.035 || share > 0.06 {
			t.Errorf("of their own %v: %.1f%% of the tests reject at 5%%", own, 100*share)
		}
		if share := float64(held) / (runs * cells); share < 0.94 || share > 0.965 {
			t.Errorf("of their own %v: %.1f%% of the intervals hold", own, 100*share)
		}
	}
}
