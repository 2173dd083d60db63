package stats_test

import (
	"math/rand/v2"
	"testing"

	"stackmeter/results/stats"
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

// TestStepsFound says which steps are found, how soon, and how many false
// alarms quiet nights raise, when history is asked every night about its last
// 30 nights. Seeds are fixed: the figures are always the same.
func TestStepsFound(t *testing.T) {
	const series, quiet, watched = 50, 20, 20
	for _, test := range []struct {
		step     float64
		atLeast  int // of the 50 series, found within 20 nights
		soonMost int // nights after the step, in the median of those found
	}{{0.03, 25, 14}, {0.05, 47, 8}, {0.10, 49, 5}} {
		found, wrongPlace := 0, 0
		var delays []float64
		for seed := range uint64(series) {
			values := nights(100+seed, quiet+watched, quiet, test.step)
			for night := quiet + 1; night <= len(values); night++ {
				from := max(0, night-window)
				hit := false
				for _, s := range stats.Steps(values[from:night]) {
					if at := from + s.At; at >= quiet-3 && at <= quiet+3 {
						hit = true
					}
				}
				if hit {
					found++
					delays = append(delays, float64(night-quiet))
					break
				}
			}
			steps := stats.Steps(values[len(values)-window:])
			for _, s := range steps {
				if at := len(values) - window + s.At; at < quiet-3 || at > quiet+3 {
					wrongPlace++
				}
			}
		}
		delay := stats.Median(delays)
		t.Logf("a step of %.0f%% under noise of 2%%: %d of %d found within %d nights, in the median after %.0f nights; %d steps elsewhere",
			100*test.step, found, series, watched, delay, wrongPlace)
		if found < test.atLeast || delay > float64(test.soonMost) {
			t.Errorf("step of %.0f%%: found %d, median delay %.0f; want at least %d and at most %d", 100*test.step, found, delay, test.atLeast, test.soonMost)
		}
	}
}

func TestFalseAlarms(t *testing.T) {
	const series, length = 20, 200
	alarms, nightsWith := 0, 0
	for seed := range uint64(series) {
		values := nights(1000+seed, length, length, 0)
		known := map[int]bool{}
		for night := 2 * stats.StepSide; night <= length; night++ {
			from := max(0, night-window)
			steps := stats.Steps(values[from:night])
			if len(steps) > 0 {
				nightsWith++
			}
			for _, s := range steps {
				at := from + s.At
				near := false
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
	t.Logf("%d quiet series of %d nights: %d false alarms, %.2f for each 200 nights; %.2f%% of the nights showed one",
		series, length, alarms, float64(alarms)/series, 100*float64(nightsWith)/(series*length))
	if alarms > 2*series {
		t.Errorf("%d false alarms over %d × %d quiet nights", alarms, series, length)
	}
}

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
			if steps := stats.Steps(test.values); len(steps) != test.want {
				t.Errorf("steps %+v, want %d", steps, test.want)
			}
		})
	}
	if steps := stats.Steps(both); len(steps) == 2 && (steps[0].Change() < 0.15 || steps[1].Change() > -0.1 || steps[0].P > stats.StepLevel) {
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
	for runs := range stats.StepRuns {
		for before := range runs {
			for seed := range uint64(10) {
				if steps := stats.Steps(shuffledStep(seed, before, runs-before)); len(steps) > 0 {
					t.Fatalf("%d runs show a step: %+v", runs, steps)
				}
			}
		}
	}
	most, found := 0, 0
	for before := stats.StepRuns; before < 25; before++ {
		for seed := range uint64(5) {
			after := 1
			for ; len(stats.Steps(shuffledStep(seed, before, after))) == 0; after++ {
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

// TestStepsOfDependentNights: the false alarms that the README names.
func TestStepsOfDependentNights(t *testing.T) {
	for _, test := range []struct {
		correlation float64
		alarms      int
	}{{0, 1}, {0.4, 28}} {
		alarms := 0
		for seed := range uint64(300) {
			random := rand.New(rand.NewPCG(seed, 5))
			var values []float64
			x := 0.0
			for range 90 {
				x = test.correlation*x + random.NormFloat64()
				values = append(values, 100+x)
			}
			if len(stats.Steps(values)) > 0 {
				alarms++
			}
		}
		if alarms != test.alarms {
			t.Errorf("an autocorrelation of %v gave false steps in %d of 300 series, and the README says %d", test.correlation, alarms, test.alarms)
		}
	}
}

func BenchmarkSteps(b *testing.B) {
	quiet, stepped := nights(1, window, window, 0), nights(1, window, 20, 0.1)
	b.Run("quiet", func(b *testing.B) {
		for b.Loop() {
			stats.Steps(quiet)
		}
	})
	b.Run("stepped", func(b *testing.B) {
		for b.Loop() {
			stats.Steps(stepped)
		}
	})
}
