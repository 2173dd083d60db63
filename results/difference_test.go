package results_test

import (
	"math"
	"slices"
	"testing"

	"stackmeter/results"
)

func TestRepeatsThatAreNeeded(t *testing.T) {
	if got := results.RepeatsForInterval(); got != 6 {
		t.Errorf("an interval takes %d repeats, want 6", got)
	}
	if got := results.RepeatsForDifference(1); got != 4 {
		t.Errorf("a difference takes %d repeats of each, want 4", got)
	}
}

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
			got := results.Compare(results.NewSample(test.a), results.NewSample(test.b))
			if math.Abs(got.P-test.p) > 1e-9 || got.Shown != test.shown || got.Able != test.able || math.Abs(got.Change-test.change) > 1e-9 {
				t.Errorf("%+v; want p %v, shown %v, able %v, change %v", got, test.p, test.shown, test.able, test.change)
			}
		})
	}
	if got := results.Compare(nil, results.NewSample([]float64{1})); got.Shown || got.Able {
		t.Errorf("nothing against something: %+v", got)
	}
}

func TestVariation(t *testing.T) {
	if got := results.NewSample([]float64{4}).Variation(); got != nil {
		t.Errorf("of one repeat: %v", *got)
	}
	if got := results.NewSample([]float64{9, 11}).Variation(); got == nil || math.Abs(*got-math.Sqrt2/10) > 1e-12 {
		t.Errorf("of 9 and 11: %v, want √2/10", got)
	}
}

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
			change, p, known := results.Trend(test.values)
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
	_, approximate, _ := results.Trend(rising)
	_, exact, _ := results.Trend(rising[:20])
	if approximate <= 0 || approximate >= 1 || math.Abs(approximate-exact) > 0.1 {
		t.Errorf("of 21 values p = %v, of the first 20 exactly %v", approximate, exact)
	}
}

func TestStabilityFlags(t *testing.T) {
	load := pooled("mt", 5, 100)
	repeats := func(durations ...float64) []results.Record {
		var records []results.Record
		for i, d := range durations {
			records = append(records, ok(flask(), load, i+1, d, -1))
		}
		return records
	}
	for _, test := range []struct {
		name    string
		records []results.Record
		want    []string
	}{
		{"steady", repeats(10, 10.2, 9.9, 10.1, 10, 9.8), nil},
		{"one repeat", repeats(10), nil},
		{"two that are far apart", repeats(10, 12), []string{results.FlagUnstable}},
		{"one that was disturbed", repeats(10, 10.1, 14, 10, 9.9), []string{results.FlagUnstable}},
		{"a trend", repeats(10, 10.2, 10.4, 10.6, 10.8), []string{results.FlagDrift}},
		{"a trend that is too small to matter", repeats(10, 10.05, 10.1, 10.15, 10.2), nil},
		{"a trend of four is none yet", repeats(10, 10.3, 10.6, 10.9), nil},
		{"the same number of errors in each", []results.Record{
			withErrors(ok(flask(), load, 1, 10, -1), 2), withErrors(ok(flask(), load, 2, 10, -1), 2)}, []string{results.FlagErrors}},
		{"other numbers of errors", []results.Record{
			withErrors(ok(flask(), load, 1, 10, -1), 2), withErrors(ok(flask(), load, 2, 10, -1), 3)},
			[]string{results.FlagErrors, results.FlagErrorsDiffer}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := results.Summarise(test.records)[0]
			if !slices.Equal(s.Flags, test.want) {
				t.Errorf("flags %v, want %v; %+v", s.Flags, test.want, s.Stability)
			}
		})
	}
}
