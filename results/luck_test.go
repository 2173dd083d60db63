package results_test

import (
	"math"
	"sync"
	"testing"

	"stackmeter/results"
	"stackmeter/results/nights"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
)

// TestTheBestIsQuotedAsItIs: the best of many was lucky in the repeats that picked it. What is
// quoted of it beside the baseline and beside the runner-up is near what it is, where what was
// measured is not, and the interval holds what it is.
func TestTheBestIsQuotedAsItIs(t *testing.T) {
	goal := verdict.Goal{Objective: results.Metric(results.MetricDuration)}
	for _, test := range []struct {
		what           string
		cells, repeats int
		level          func(cell int) float64 // beside cell 0, the baseline
	}{
		{"18 that are the same beside a slow one", 19, 3, func(cell int) float64 { return float64(count(cell == 0)) }},
		{"18 that are the same beside a slow one", 19, 6, func(cell int) float64 { return float64(count(cell == 0)) }},
		{"one that is 6% better than 7", 9, 6, func(cell int) float64 { return float64(count(cell == 0)) - 0.06*float64(count(cell == 4)) }},
		{"8 with 10% between them", 8, 6, func(cell int) float64 { return -0.1 * float64(cell) }},
	} {
		const runs = 600
		var adding sync.Mutex
		naive, quoted, naiveNext, quotedNext, holds, intervals := 0.0, 0.0, 0.0, 0.0, 0, 0
		each(runs, func(seed uint64) {
			durations, _ := nights.NewSequence(nights.Noise{Repeat: 0.02}, test.cells, test.repeats, seed).Next(nil)
			for cell := range durations {
				for i := range durations[cell] {
					durations[cell][i] *= math.Exp(test.level(cell) - 0.1*float64(cell)) // the levels of a sequence are 10% apart
				}
			}
			summaries := verdict.Summarise(nights.Records("run", durations))
			r := verdict.Recommend(summaries, scenarios.Plan{Baseline: &scenarios.Baseline{Topology: "cell00"}}, goal)[0]
			level := map[string]float64{}
			for cell, s := range summaries {
				level[s.Name()] = test.level(cell) - test.level(0)
			}
			best := level[r.Best.Name()]
			adding.Lock()
			defer adding.Unlock()
			naive += math.Log(*r.Ratio.Measured) - best
			quoted += math.Log(*r.Ratio.Ratio) - best
			naiveNext += math.Log(*r.RunnerUp.Measured) - (level[r.RunnerUp.Summary.Name()] - best)
			quotedNext += math.Log(*r.RunnerUp.Ratio) - (level[r.RunnerUp.Summary.Name()] - best)
			if i := r.Ratio.Interval; i != nil {
				intervals++
				holds += count(i.Low <= math.Exp(best) && math.Exp(best) <= i.High)
			}
		})
		t.Logf("%s, %d repeats: beside the baseline %+.2f%% as measured, %+.2f%% as quoted; the runner-up %+.2f%% and %+.2f%%; %.1f%% of the intervals hold it",
			test.what, test.repeats, 100*naive/runs, 100*quoted/runs, 100*naiveNext/runs, 100*quotedNext/runs, percent(holds, intervals))
		if math.Abs(quoted/runs) > 0.003 || math.Abs(quotedNext/runs) > 0.003 {
			t.Error("want 0.3% at most of what is quoted")
		}
		if test.cells == 19 && naive/runs > -0.01 {
			t.Error("what was measured would do, and the test shows nothing")
		}
		if intervals > 0 && percent(holds, intervals) < 94 {
			t.Error("want 94% of the intervals")
		}
	}
}
