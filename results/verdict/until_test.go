package verdict

import (
	"math/rand/v2"
	"testing"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios"
)

// TestUntilHoldsWhatItSays: repeats that end where the interval is narrow end where it is so
// by chance. The one that a report shows then still holds the true median in 95 of 100. One
// that knows of a single look, and is looked at as often, does not.
func TestUntilHoldsWhatItSays(t *testing.T) {
	const times = 2000
	topology := flask()
	for _, test := range []struct {
		until scenarios.Until
		most  int
		noise float64
		tail  bool // some of the repeats were disturbed
	}{
		{scenarios.Until{Min: 3, Within: 0.02}, 10, 0.02, false},
		{scenarios.Until{Min: 3, Within: 0.03}, 20, 0.05, false},
		{scenarios.Until{Min: 3, Within: 0.03}, 40, 0.05, false},
		{scenarios.Until{Min: 3, Within: 0.03}, 40, 0.05, true},
		{scenarios.Until{Min: 8, Within: 0.05}, 30, 0.10, false},
	} {
		plan := scenarios.Plan{Fresh: scenarios.FreshTopology, Repeats: test.most, Until: &test.until}
		load := pooled("mt", 5, 100)
		for repeat := 1; repeat <= test.most; repeat++ {
			plan.Trials = append(plan.Trials, scenarios.Trial{Topology: topology, Repeat: repeat, Cells: []scenarios.Cell{{Name: topology.Name + "/" + load.Name(), Load: load, Repeat: repeat}}})
		}
		random := rand.New(rand.NewPCG(11, 11))
		inside := func(i *stats.Interval) int { return one(i.Low <= 1 && 1 <= i.High) }
		holds, made, single := 0, 0, 0
		for range times {
			repeats, records, ended := NewRepeats(plan, nil), []results.Record(nil), false
			for _, trial := range plan.Trials {
				if !repeats.Needed(trial) {
					break
				}
				duration := 1 + test.noise*random.NormFloat64()
				if test.tail && random.Float64() < 0.2 {
					duration += 4 * test.noise * (random.Float64() - 0.5)
				}
				record := results.Record{Topology: topology, Cell: trial.Cells[0], Status: results.StatusOK, Duration: &duration}
				repeats.Add(record)
				records = append(records, record)
				if look := Summarise(records)[0].Duration; !ended && look.Interval != nil && (*look.HalfWidth() <= test.until.Within || len(records) == test.most) {
					ended, single = true, single+inside(look.Interval)
				}
			}
			made += len(records)
			holds += inside(SummariseRun(results.Run{Plan: plan}, records)[0].Duration.Interval)
		}
		share, looked := float64(holds)/times, float64(single)/times
		t.Logf("within %v of at most %d, noise %v: after %.1f repeats the interval holds the median in %.1f%%, one of a single look in %.1f%%",
			test.until.Within, test.most, test.noise, float64(made)/times, 100*share, 100*looked)
		if share < 0.94 {
			t.Error("want 94% or more")
		}
		if test.most == 40 && looked > 0.94 {
			t.Error("a single look would do, and the test shows nothing")
		}
	}
}
