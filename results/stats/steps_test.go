package stats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// noisy are the levels of n nights with a noise of 2%; change is added to their logarithms.
func noisy(seed uint64, n int, change func(night int) float64) []float64 {
	random := rand.New(rand.NewPCG(seed, 7))
	values := make([]float64, n)
	for night := range values {
		values[night] = 10 * math.Exp(0.02*random.NormFloat64()+change(night))
	}
	return values
}

func quiet(int) float64 { return 0 }

// BenchmarkFindLevels is the speed of it: one series and 19 of 60 nights. What it finds and
// how often it is wrong is in the benchmarks of package results.
func BenchmarkFindLevels(b *testing.B) {
	for _, n := range []int{1, 19} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var series [][]float64
			for seed := range n {
				series = append(series, noisy(uint64(seed), 60, quiet))
			}
			for b.Loop() {
				FindLevels(series)
			}
		})
	}
}

func TestFindLevelsOfOddSeries(t *testing.T) {
	constant, whole := make([]float64, 60), make([]float64, 40)
	for i := range whole {
		whole[i] = 500
		if i >= 30 {
			whole[i] = 510
		}
	}
	counts := append(make([]float64, 20), 3, 3, 3, 3, 3, 3, 3, 3, 3, 3)
	outlier := noisy(1, 60, quiet)
	outlier[30] *= 3
	for _, test := range []struct {
		name   string
		values []float64
		want   []int
	}{
		{"nothing", nil, nil}, {"one value", []float64{1}, nil}, {"seven values", []float64{1, 1, 1, 1, 9, 9, 9}, nil},
		{"zeros", constant, nil}, {"whole numbers", whole, []int{30}}, {"from zero", counts, []int{20}}, {"one bad night", outlier, nil},
		{"negative", []float64{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			levels := FindLevels([][]float64{test.values})[0]
			var at []int
			for _, step := range levels.Steps {
				at = append(at, step.At)
			}
			if !slices.Equal(at, test.want) || levels.Drift != nil {
				t.Errorf("%+v, want steps at %v", levels, test.want)
			}
		})
	}
}

// TestStepSays: a plateau's sizes, intervals and end; a drift's; and a last value that
// stands alone.
func TestStepSays(t *testing.T) {
	plateau := noisy(5, 50, func(night int) float64 {
		if night >= 20 && night < 28 {
			return math.Log(1.2)
		}
		return 0
	})
	steps := FindLevels([][]float64{plateau})[0].Steps
	if len(steps) != 2 || steps[0].At != 20 || steps[0].Ended != steps[1].At || steps[1].At != 28 || steps[1].Ended != 0 {
		t.Fatalf("steps %+v", steps)
	}
	up := steps[0]
	if up.Interval == nil || up.Interval.Low < 0.15 || up.Interval.Low > 0.2 || up.Interval.High < 0.2 || up.Interval.High > 0.25 || up.Earliest > 20 || up.Latest < 20 || up.Latest-up.Earliest > 2 {
		t.Errorf("step %+v, interval %+v", up, up.Interval)
	}
	drift := FindLevels([][]float64{noisy(7, 40, func(night int) float64 { return 0.01 * float64(max(0, night-20)) })})[0]
	if drift.Drift == nil || math.Abs(drift.Drift.Change-0.01) > 0.002 {
		t.Errorf("%+v", drift.Drift)
	}
	last := noisy(8, 30, func(night int) float64 { return float64(night/29) * 0.3 })
	if alone := FindLevels([][]float64{last})[0]; alone.Alone == nil || math.Abs(*alone.Alone-0.35) > 0.06 || len(alone.Steps) > 0 {
		t.Errorf("%+v", alone)
	}
	if alone := FindLevels([][]float64{noisy(8, 30, quiet)})[0].Alone; alone != nil {
		t.Errorf("a quiet night stands alone: %v", *alone)
	}
}

// TestStepsCover: the interval of a step holds what it is, and its nights hold when it
// was, about as often as they say.
func TestStepsCover(t *testing.T) {
	inside, when, n := 0, 0, 0
	for seed := range uint64(200) {
		for _, step := range FindLevels([][]float64{noisy(seed, 50, func(night int) float64 { return float64(min(1, night/25)) * math.Log(1.06) })})[0].Steps {
			if step.At < 22 || step.At > 28 {
				continue
			}
			n++
			if step.Interval.Low <= 0.06 && step.Interval.High >= 0.06 {
				inside++
			}
			if step.Earliest <= 25 && step.Latest >= 25 {
				when++
			}
		}
	}
	if n < 150 || float64(inside) < 0.88*float64(n) || float64(when) < 0.85*float64(n) {
		t.Errorf("of %d steps the size is inside in %d, and the night in %d", n, inside, when)
	}
}
