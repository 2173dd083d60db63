package verdict

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
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
		if check.Status != want || check.Broken() || want == results.CheckUndecided && check.Needs != 6 {
			t.Errorf("%+v, want %s", check, want)
		}
	}
	// Whether that fails the run is for the scenario to say.
	if word := ofChecks(checks); word != results.VerdictUndecided {
		t.Errorf("the run %s", word)
	}
}

// latencies are the records of one cell with these durations, all of whose
// requests took the second of each pair.
func latencies(pairs ...[2]float64) []results.Record {
	var durations []float64
	for _, pair := range pairs {
		durations = append(durations, pair[0])
	}
	records := repeated("a", durations...)
	for i, pair := range pairs {
		records[i].Latency = new(load.Latency)
		records[i].Latency.Record(time.Duration(pair[1] * 1e9))
	}
	return records
}

// TestAttackThresholdOfTwoFigures: each figure is judged by the comparison that
// does not hold, in that comparison's direction, and an improvement of another
// breaks nothing.
func TestAttackThresholdOfTwoFigures(t *testing.T) {
	base := latencies([2]float64{10, 0.17}, [2]float64{10.1, 0.20}, [2]float64{10.2, 0.22}, [2]float64{10.3, 0.25}, [2]float64{10.4, 0.27})
	faster := latencies([2]float64{7, 0.18}, [2]float64{7.1, 0.19}, [2]float64{7.2, 0.24}, [2]float64{7.3, 0.26}, [2]float64{7.4, 0.28})
	slower := latencies([2]float64{13, 0.18}, [2]float64{13.1, 0.19}, [2]float64{13.2, 0.24}, [2]float64{13.3, 0.26}, [2]float64{13.4, 0.28})
	worse := latencies([2]float64{7, 0.38}, [2]float64{7.1, 0.39}, [2]float64{7.2, 0.44}, [2]float64{7.3, 0.46}, [2]float64{7.4, 0.48})
	for _, test := range []struct {
		threshold string
		head      []results.Record
		want      string
	}{
		{"duration < base * 1.05 and p99 < base * 1.05", faster, results.CheckNoise},
		{"p99 < base * 1.05 and throughput > base * 0.95", faster, results.CheckNoise},
		{"p99 < base * 1.05 and errors <= base", faster, results.CheckNoise},
		{"duration < base * 1.05 and p99 < base * 1.05", slower, results.CheckBroken},
		{"duration < base * 1.05 and p99 < base * 1.05", worse, results.CheckBroken},
		{"throughput > base * 0.95 and p99 < base * 1.05", slower, results.CheckBroken},
		{"1.05 > duration / base.duration and 1.05 > p99 / base.p99", faster, results.CheckNoise},
		{"not (duration >= base * 1.05 or p99 >= base * 1.05)", faster, results.CheckNoise},
		{"not (duration >= base * 1.05 or p99 >= base * 1.05)", slower, results.CheckBroken},
		{"duration < base * 1.05 or p99 < base * 1.05", faster, results.CheckOK},
		{"duration < base * 1.05 or p99 < base * 1.05", slower, results.CheckNoise}, // one of the two may be kept
		{"duration / base.duration + p99 / base.p99 < 2.1", slower, results.CheckBroken},
		{"duration < base * 1.05 and p99 < 230ms", faster, results.CheckBroken}, // a number is no baseline
		{"duration < base * 1.05 and p99 < base * 0.9", faster, results.CheckBroken},
	} {
		t.Run(test.threshold, func(t *testing.T) {
			condition, err := results.Vocabulary().Parse(test.threshold)
			if err != nil {
				t.Fatal(err)
			}
			check := CheckThresholds([]*threshold.Threshold{condition}, Summarise(test.head), Summarise(base))[0]
			if check.Status != test.want {
				t.Errorf("%s, p %v of %d tests; want %s", check.Status, check.P, check.Tests, test.want)
			}
		})
	}
}

// TestAttackThresholdFromZero: what grows from 0 breaks a percentage of 0, and
// what stays 0 does not.
func TestAttackThresholdFromZero(t *testing.T) {
	using := func(mib ...int64) []results.Record {
		records := repeated("a", 10, 10, 10, 10, 10)
		for i := range records {
			records[i] = onGPU(records[i], mib[i%len(mib)])
		}
		return records
	}
	for _, test := range []struct {
		threshold string
		head      []results.Record
		want      string
	}{
		{"gpu_peak < base * 1.05", using(0), results.CheckOK},
		{"gpu_peak <= base * 105%", using(0), results.CheckOK},
		{"gpu_peak < base * 1.05", using(500), results.CheckBroken},
		{"gpu_peak <= base * 105%", using(500), results.CheckBroken},
		{"gpu_peak < base + 100MiB", using(0), results.CheckOK},
		{"gpu_peak < base + 100MiB", using(50), results.CheckOK},
		{"gpu_peak < base + 100MiB", using(500), results.CheckBroken},
		{"gpu_peak < base", using(0), results.CheckBroken}, // asks for less than before
		{"gpu_peak <= base * 1.05", using(0, 0, 0, 0, 500), results.CheckOK},
		{"gpu_peak <= base * 1.05", using(500, 500, 500, 0, 0), results.CheckNoise},
		{"gpu_peak / base < 1.05", using(500), results.CheckNotMeasured},
		{"errors < base * 1.05", using(0), results.CheckOK},
		{"errors < base * 1.05", withErrorsEach(using(0)), results.CheckBroken},
	} {
		t.Run(test.threshold, func(t *testing.T) {
			condition, err := results.Vocabulary().Parse(test.threshold)
			if err != nil {
				t.Fatal(err)
			}
			if check := CheckThresholds([]*threshold.Threshold{condition}, Summarise(test.head), Summarise(using(0)))[0]; check.Status != test.want {
				t.Errorf("%+v; want %s", check, test.want)
			}
		})
	}
}

func withErrorsEach(records []results.Record) []results.Record {
	for i := range records {
		records[i] = withErrors(records[i], 1)
	}
	return records
}

// TestAttackThresholdWithoutBaseline: where there is no baseline, what a threshold
// says of the cell alone is enforced, as far as that decides.
func TestAttackThresholdWithoutBaseline(t *testing.T) {
	head := repeated("a", 0.6, 0.6, 0.6)
	for text, want := range map[string]string{
		"duration < base * 10 and duration < 400ms":           results.CheckBroken,
		"duration < 400ms and duration < base * 10":           results.CheckBroken,
		"duration < base * 10 and duration < 700ms":           results.CheckNoBaseline,
		"duration < base * 10 or duration < 700ms":            results.CheckOK,
		"duration < base * 10 or duration < 400ms":            results.CheckNoBaseline,
		"not (duration >= base * 10 or duration >= 400ms)":    results.CheckBroken,
		"not (duration >= base * 10 and duration >= 700ms)":   results.CheckOK,
		"not (duration >= base * 10) and duration < 700ms":    results.CheckNoBaseline,
		"duration < base and (errors == 0 or errors < base)":  results.CheckNoBaseline,
		"duration < base and errors / errors < 1":             results.CheckNotMeasured,
		"duration < base or errors / errors < 1":              results.CheckNoBaseline,
		"duration < base.gpu_peak / 1GiB * 1s and errors > 0": results.CheckBroken,
	} {
		condition, err := results.Vocabulary().Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		for name, base := range map[string][]results.Record{"none": nil, "failed": failing(repeated("a", 1), 1)} {
			if check := CheckThresholds([]*threshold.Threshold{condition}, Summarise(head), Summarise(base))[0]; check.Status != want {
				t.Errorf("%s, baseline %s: %s; want %s", text, name, check.Status, want)
			}
		}
	}
	// The baseline has the cell, and not the figure.
	condition, err := results.Vocabulary().Parse("gpu_peak < base * 2 and duration < 400ms")
	if err != nil {
		t.Fatal(err)
	}
	using := []results.Record{onGPU(head[0], 5)}
	if check := CheckThresholds([]*threshold.Threshold{condition}, Summarise(using), Summarise(repeated("a", 1)))[0]; check.Status != results.CheckBroken || len(check.Missing) > 0 {
		t.Errorf("%+v", check)
	}
}
