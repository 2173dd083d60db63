package verdict

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios/threshold"
)

// simulated are repeats of so many cells with a noise of 5% around a level.
func simulated(random *rand.Rand, cells, repeats int, level float64) []results.Record {
	var records []results.Record
	for cell := range cells {
		var durations []float64
		for range repeats {
			durations = append(durations, level*math.Exp(0.05*random.NormFloat64()))
		}
		records = append(records, repeated(fmt.Sprint("cell", cell), durations...)...)
	}
	return records
}

// BenchmarkNothingChanged compares runs of 18 cells in which nothing changed: in
// how many of 100 any cell is shown to have changed or breaks a threshold, which
// is 5 at most, and in how many one would without the correction.
func BenchmarkNothingChanged(b *testing.B) {
	condition, err := results.Vocabulary().Parse("duration <= base")
	if err != nil {
		b.Fatal(err)
	}
	const runs = 400
	for b.Loop() {
		random := rand.New(rand.NewPCG(5, 6))
		shown, broken, uncorrected := 0, 0, 0
		for range runs {
			base, head := simulated(random, 18, 8, 10), simulated(random, 18, 8, 10)
			cells := CompareRuns(results.Run{}, results.Run{}, base, head).Cells
			if slices.ContainsFunc(cells, func(c CellComparison) bool { return c.Changes[0].Difference.Shown }) {
				shown++
			}
			if slices.ContainsFunc(cells, func(c CellComparison) bool { return c.Changes[0].Difference.P <= 1-stats.Confidence }) {
				uncorrected++
			}
			if slices.ContainsFunc(CheckThresholds([]*threshold.Threshold{condition}, Summarise(head), Summarise(base)), results.Check.Broken) {
				broken++
			}
		}
		if most := runs * 33 / 400; shown > most || broken > most { // 5%, and three standard deviations more
			b.Errorf("%d shown and %d broken of %d", shown, broken, runs)
		}
		b.ReportMetric(100*float64(shown)/runs, "%shown")
		b.ReportMetric(100*float64(broken)/runs, "%broken")
		b.ReportMetric(100*float64(uncorrected)/runs, "%uncorrected")
	}
}

// TestChangeAmongMany: one cell in 18 that became 20% slower is shown, and
// breaks the threshold, and the others are left alone.
func TestChangeAmongMany(t *testing.T) {
	condition, err := results.Vocabulary().Parse("duration < base * 1.05")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(7, 8))
	base := simulated(random, 18, 8, 10)
	head := slices.Concat(simulated(random, 1, 8, 13), simulated(random, 18, 8, 10)[8:])
	for _, cell := range CompareRuns(results.Run{}, results.Run{}, base, head).Cells {
		change := cell.Changes[0]
		if worse := cell.Name == "cell0/mt5/n100"; change.Worse() != worse || change.Better() || change.Compared != 18 || change.Corrected < change.Difference.P {
			t.Errorf("%s: %+v", cell.Name, change)
		}
	}
	for _, check := range CheckThresholds([]*threshold.Threshold{condition}, Summarise(head), Summarise(base)) {
		if check.Broken() != (check.Cell == "cell0/mt5/n100") || check.P != nil && check.Tests != 18 {
			t.Errorf("%+v", check)
		}
	}
}

// TestTooFewRepeatsForMany: four repeats that are wholly apart show a change of
// one cell, and of 18 none; that is said, with how many it takes.
func TestTooFewRepeatsForMany(t *testing.T) {
	if one, many := stats.RepeatsForDifference(1), stats.RepeatsForDifference(18); one != 4 || many != 6 {
		t.Errorf("a change in one cell takes %d repeats, and in one of 18 %d; want 4 and 6", one, many)
	}
	condition, err := results.Vocabulary().Parse("duration < base * 1.05")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(9, 10))
	base := simulated(random, 18, 4, 10)
	head := slices.Concat(simulated(random, 1, 4, 20), base[4:])
	for _, cell := range CompareRuns(results.Run{}, results.Run{}, base, head).Cells {
		if change := cell.Changes[0]; change.Difference.Shown || change.Difference.Able || change.Needs != 0 && change.Needs < 6 {
			t.Errorf("%s: %+v", cell.Name, change)
		}
	}
	checks := CheckThresholds([]*threshold.Threshold{condition}, Summarise(head), Summarise(base))
	for _, check := range checks {
		want := results.CheckOK
		if check.Cell == "cell0/mt5/n100" {
			want = results.CheckUndecided
		}
		if check.Status != want || want == results.CheckUndecided && check.Needs != 6 {
			t.Errorf("%+v, want %s", check, want)
		}
	}
}
