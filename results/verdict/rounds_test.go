package verdict

import (
	"testing"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios"
	"stackmeter/scenarios/threshold"
)

// roundsOf are repeats over stacks that stay up, so many on each start.
func roundsOf(peak int64, starts ...[]float64) []results.Record {
	var records []results.Record
	for i, durations := range starts {
		for k, r := range repeated("cell", durations...) {
			r.Cell.Repeat, r.Start = len(records)+1, i+1
			r.Memory = results.Memory{Peak: &peak}
			if k > 0 {
				r.Memory = results.Memory{Reason: results.LaterRound}
			}
			records = append(records, r)
		}
	}
	return records
}

// TestRoundsMemory: the memory of the first round speaks for all rounds.
func TestRoundsMemory(t *testing.T) {
	for peak, within := range map[int64]bool{900 << 20: true, 1100 << 20: false} {
		s := Summarise(roundsOf(peak, []float64{1, 1, 1}))[0]
		if s.MainPeak == nil || s.MainPeak.N != 1 || len(s.MainReasons) != 0 {
			t.Errorf("peak %+v, reasons %v", s.MainPeak, s.MainReasons)
		}
		budget, err := NewBudget(results.MetricMemoryPeak, "1GiB")
		if meets, known := budget.Meets(s); err != nil || meets != within || !known {
			t.Errorf("%d MiB: within the budget %v, known %v, %v", peak>>20, meets, known, err)
		}
		condition, err := results.Vocabulary().Parse("memory_peak < 1GiB and duration < 2s")
		if err != nil {
			t.Fatal(err)
		}
		want := results.CheckOK
		if !within {
			want = results.CheckBroken
		}
		if checks := CheckThresholds([]*threshold.Threshold{condition}, []Summary{s}, nil); checks[0].Status != want {
			t.Errorf("%d MiB: %+v", peak>>20, checks[0])
		}
	}
	records := roundsOf(1, []float64{1, 1})
	records[0].Status = results.StatusFailed // and with it all that is known of memory
	s := Summarise(records)[0]
	budget, _ := NewBudget(results.MetricMemoryPeak, "1GiB")
	if _, known := budget.Meets(s); known || s.MainPeak != nil || len(s.MainReasons) != 1 {
		t.Errorf("without the first round: %+v, %v", s.MainPeak, s.MainReasons)
	}
}

// TestRoundsInterval: starts that differ make the interval wider, for tables and for
// until alike.
func TestRoundsInterval(t *testing.T) {
	low, high := []float64{1, 1.01, 1.02, 1.03}, []float64{1.2, 1.21, 1.22, 1.23}
	s := Summarise(roundsOf(1, low, high))[0]
	want := stats.NewNestedSample([][]float64{low, high}, stats.Looks{First: 6, Last: 9})
	if s.Duration.Interval.Low != want.Interval.Low || s.Duration.Interval.High != want.Interval.High || s.Duration.Interval.High < 2 || *s.Sample(results.Metric(results.MetricDuration)).Interval != *s.Duration.Interval {
		t.Errorf("%+v, want %+v", s.Duration.Interval, want.Interval)
	}
	plan := scenarios.Plan{Fresh: scenarios.FreshRun, Starts: 1, Repeats: 9, Until: &scenarios.Until{Min: 3, Within: 0.2}}
	topology := roundsOf(1, low)[0].Topology
	for repeat := 1; repeat <= 9; repeat++ {
		cells := []scenarios.Cell{{Name: "cell", Repeat: repeat}, {Name: "other", Repeat: repeat}}
		plan.Trials = append(plan.Trials, scenarios.Trial{Topology: topology, Repeat: repeat, Cells: cells})
	}
	next := scenarios.Trial{Topology: topology, Repeat: 9, Cells: []scenarios.Cell{{Name: "cell", Repeat: 9}}}
	named := func(records []results.Record) []results.Record {
		for i := range records {
			records[i].Cell.Name = "cell"
		}
		return records
	}
	one := named(roundsOf(1, append(low, high...)))
	if NewRepeats(plan, one).Needed(next) {
		t.Error("one start: its cell is known within 20%, and the other one of its stack does not count")
	}
	if !NewRepeats(plan, named(roundsOf(1, low, high))).Needed(next) {
		t.Error("two starts: they are 20% apart, and it is not known")
	}
}
