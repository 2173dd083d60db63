package stats

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// nights are durations of one night after the other: 10 s with a noise of 2%,
// and from night at on more by a share.
func nights(seed uint64, n, at int, step float64) []float64 {
	random := rand.New(rand.NewPCG(seed, 7))
	var values []float64
	for i := range n {
		level := 10.0
		if i >= at {
			level *= 1 + step
		}
		values = append(values, level*(1+0.02*random.NormFloat64()))
	}
	return values
}

// window is what history looks at by default.
const window = 30

func TestStepsOfOddSeries(t *testing.T) {
	constant := make([]float64, 60)
	outlier := nights(1, 40, 40, 0)
	outlier[20] *= 3
	both := append(nights(2, 20, 20, 0), nights(3, 20, 0, 0.2)...)
	both = append(both, nights(4, 20, 20, 0)...)
	for _, test := range []struct {
		name   string
		values []float64
		want   int
	}{
		{"nothing", nil, 0}, {"one value", []float64{1}, 0}, {"five values", []float64{1, 1, 1, 9, 9}, 0},
		{"constant", constant, 0}, {"one bad night", outlier, 0}, {"up and down again", both, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			if steps := Steps(test.values); len(steps) != test.want {
				t.Errorf("steps %+v, want %d", steps, test.want)
			}
		})
	}
	if steps := Steps(both); len(steps) == 2 && (*Change(steps[0].Before, steps[0].After) < 0.15 || *Change(steps[1].Before, steps[1].After) > -0.1 || steps[0].P > StepLevel) {
		t.Errorf("steps %+v", steps)
	}
}

// shuffledStep is a series with a step beyond all noise at a place.
func shuffledStep(seed uint64, before, after int) []float64 {
	random := rand.New(rand.NewPCG(seed, 3))
	var values []float64
	for i := range before + after {
		level := 10.0
		if i >= before {
			level = 100
		}
		values = append(values, level+random.Float64())
	}
	return values
}

// TestStepsEarliest: what history says about how soon a step can show is so.
func TestStepsEarliest(t *testing.T) {
	for runs := range StepRuns {
		for before := range runs {
			for seed := range uint64(10) {
				if steps := Steps(shuffledStep(seed, before, runs-before)); len(steps) > 0 {
					t.Fatalf("%d runs show a step: %+v", runs, steps)
				}
			}
		}
	}
	most, found := 0, 0
	for before := StepRuns; before < 25; before++ {
		for seed := range uint64(5) {
			after := 1
			for ; len(Steps(shuffledStep(seed, before, after))) == 0; after++ {
				if after == 10 {
					t.Fatalf("no step of 10 runs after %d", before)
				}
			}
			most = max(most, after)
			if after >= 5 {
				found++
			}
		}
	}
	if most != 6 || found < 54 {
		t.Errorf("a large step shows after %d runs at most, and after five or six in %d of 60 series; want 6 and nearly all", most, found)
	}
}

// BenchmarkSteps measures the search for steps: its speed, which steps it finds
// and how soon, and how many false alarms it raises. Seeds are fixed, so that
// the figures other than the speed are always the same.
func BenchmarkSteps(b *testing.B) {
	quiet, stepped := nights(1, window, window, 0), nights(1, window, 20, 0.1)
	b.Run("quiet", func(b *testing.B) {
		for b.Loop() {
			Steps(quiet)
		}
	})
	b.Run("stepped", func(b *testing.B) {
		for b.Loop() {
			Steps(stepped)
		}
	})
	for _, step := range []float64{0.03, 0.05, 0.10} {
		b.Run(fmt.Sprintf("found=%g", step), func(b *testing.B) { benchmarkFound(b, step) })
	}
	b.Run("alarms", benchmarkAlarms)
	for _, correlation := range []float64{0, 0.4} {
		b.Run(fmt.Sprintf("correlation=%g", correlation), func(b *testing.B) { benchmarkDependent(b, correlation) })
	}
}

// benchmarkFound asks every night about the last 30 nights, of series with one
// step under a noise of 2%.
func benchmarkFound(b *testing.B, step float64) {
	const series, quiet, watched = 50, 20, 20
	for b.Loop() {
		found, elsewhere := 0, 0
		var delays []float64
		near := func(at int) bool { return at >= quiet-3 && at <= quiet+3 }
		for seed := range uint64(series) {
			values := nights(100+seed, quiet+watched, quiet, step)
			for night := quiet + 1; night <= len(values); night++ {
				from := max(0, night-window)
				if slices.ContainsFunc(Steps(values[from:night]), func(s Step) bool { return near(from + s.At) }) {
					found++
					delays = append(delays, float64(night-quiet))
					break
				}
			}
			for _, s := range Steps(values[len(values)-window:]) {
				if !near(len(values) - window + s.At) {
					elsewhere++
				}
			}
		}
		b.ReportMetric(100*float64(found)/series, "%found")
		b.ReportMetric(median(delays), "nights-later")
		b.ReportMetric(float64(elsewhere), "elsewhere")
	}
}

// benchmarkAlarms asks every night about the last 30, of series without a step.
func benchmarkAlarms(b *testing.B) {
	const series, length = 20, 200
	for b.Loop() {
		alarms := 0
		for seed := range uint64(series) {
			values := nights(1000+seed, length, length, 0)
			known := map[int]bool{}
			for night := 2 * stepSide; night <= length; night++ {
				from := max(0, night-window)
				for _, s := range Steps(values[from:night]) {
					at, near := from+s.At, false
					for k := at - 3; k <= at+3; k++ {
						near = near || known[k]
					}
					if !near {
						alarms++
					}
					known[at] = true
				}
			}
		}
		b.ReportMetric(float64(alarms)/series, "alarms/200-nights")
		if alarms > 2*series {
			b.Errorf("%d false alarms in %d series", alarms, series)
		}
	}
}

// benchmarkDependent looks for steps in series without one, in which each value
// is like the one before.
func benchmarkDependent(b *testing.B, correlation float64) {
	for b.Loop() {
		alarms := 0
		for seed := range uint64(300) {
			random := rand.New(rand.NewPCG(seed, 5))
			var values []float64
			x := 0.0
			for range 90 {
				x = correlation*x + random.NormFloat64()
				values = append(values, 100+x)
			}
			if len(Steps(values)) > 0 {
				alarms++
			}
		}
		b.ReportMetric(float64(alarms), "of-300")
		if said := map[float64]int{0: 1, 0.4: 28}; alarms != said[correlation] {
			b.Errorf("%d series of 300 have false steps, and the README says %d", alarms, said[correlation])
		}
	}
}
