package verdict

import (
	"math"
	"math/rand/v2"
	"testing"

	"stackmeter/results"
)

// TestBesidePairsRounds: a cell is compared with another one round by round, whatever
// order the records are in, and rounds that only one of them has say nothing.
func TestBesidePairsRounds(t *testing.T) {
	var records []results.Record
	for round := 1; round <= 8; round++ {
		drift := math.Pow(1.5, float64(round))
		records = append(records, ok(flask(), single(100), round, 10*drift, 100))
		if round != 3 {
			records = append(records, ok(gunicorn("g", false, 1, 4), single(100), round, 9*drift, 150))
		}
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	all := Summarise(records)
	r := Beside(all[0], all[1], results.Metric(results.MetricDuration))
	if r.Rounds != 7 || math.Abs(*r.Ratio-0.9) > 1e-9 || r.Interval == nil || r.Interval.High-r.Interval.Low > 1e-9 || !r.Shown || math.Abs(*r.Change+0.1) > 1e-9 {
		t.Errorf("%+v", r)
	}
}

// TestBesideItself: what a cell is beside itself has no interval.
func TestBesideItself(t *testing.T) {
	var records []results.Record
	for round := 1; round <= 8; round++ {
		records = append(records, ok(flask(), single(100), round, 10+float64(round), 100))
	}
	one := Summarise(records)[0]
	if r := Beside(one, one, results.Metric(results.MetricDuration)); *r.Ratio != 1 || r.Interval != nil || r.Shown {
		t.Errorf("%+v", r)
	}
}

// TestBesideFewRounds: with too few rounds for pairs the test is that of two samples,
// and the ratio still that of the rounds.
func TestBesideFewRounds(t *testing.T) {
	var records []results.Record
	for round, pair := range [][2]float64{{10, 8}, {20, 16}, {40, 32}, {80, 64}} {
		records = append(records, ok(flask(), single(100), round+1, pair[0], 100), ok(gunicorn("g", false, 1, 4), single(100), round+1, pair[1], 100))
	}
	all := Summarise(records)
	r := Beside(all[0], all[1], results.Metric(results.MetricDuration))
	if r.Rounds != 4 || math.Abs(*r.Ratio-0.8) > 1e-9 || r.Shown || !r.Able || r.Interval == nil || r.Interval.Low > 0.3 {
		t.Errorf("%+v %+v", r, r.Interval)
	}
	other := []results.Record{ok(flask(), single(100), 1, 10, 100), ok(gunicorn("g", false, 1, 4), single(100), 2, 5, 100)}
	if r := Beside(Summarise(other[:1])[0], Summarise(other[1:])[0], results.Metric(results.MetricDuration)); r.Rounds != 0 || *r.Ratio != 0.5 {
		t.Errorf("cells without a common round: %+v", r)
	}
	if r := Beside(Summarise(other[:1])[0], Summarise([]results.Record{failed(flask(), single(100), 1, "x")})[0], results.Metric(results.MetricDuration)); r.Ratio != nil || r.Shown {
		t.Errorf("a cell that failed: %+v", r)
	}
}
