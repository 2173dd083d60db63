package results_test

import (
	"slices"
	"sync"
	"testing"

	"stackmeter/results/nights"
	"stackmeter/results/verdict"
)

// marked is in how many reports of so many runs any cell has a flag, of each of the two.
func marked(cells, repeats, runs int, noise float64, seeds uint64, change func(cell, repeat int) float64) (unstable, drift int) {
	var adding sync.Mutex
	each(runs, func(seed uint64) {
		durations, _ := nights.NewSequence(nights.Noise{Repeat: noise}, cells, repeats, seeds+seed).Next(nil)
		for cell := range durations {
			for repeat := range durations[cell] {
				durations[cell][repeat] *= 1 + change(cell, repeat)
			}
		}
		summaries := verdict.Summarise(nights.Records("run", durations))
		has := func(flag string) int {
			return count(slices.ContainsFunc(summaries, func(s verdict.Summary) bool { return slices.Contains(s.Flags, flag) }))
		}
		adding.Lock()
		defer adding.Unlock()
		unstable, drift = unstable+has(verdict.FlagUnstable), drift+has(verdict.FlagDrift)
	})
	return unstable, drift
}

// TestMarksAreCorrectedForTheCells: of reports in which no cell is unsteady and none drifts, 5%
// at most say so of any of their cells; what does drift, or was disturbed, is still found.
func TestMarksAreCorrectedForTheCells(t *testing.T) {
	const calm = 0.05
	for _, size := range [][2]int{{1, 3}, {6, 10}, {18, 3}, {60, 3}, {60, 8}} {
		const runs = 200
		unstable, drift := marked(size[0], size[1], runs, calm, 0, func(int, int) float64 { return 0 })
		if t.Logf("%d cells × %d: of %d quiet reports %d have an unstable cell and %d one that drifts", size[0], size[1], runs, unstable, drift); percent(max(unstable, drift), runs) > 5 {
			t.Errorf("want 5%% at most")
		}
	}
	const runs, noise = 60, 0.02
	up := func(repeat, repeats int) float64 { return 0.1 * float64(repeat) / float64(repeats-1) }
	for _, test := range []struct {
		what                    string
		cells, repeats, atLeast int
		noise                   float64
		change                  func(cell, repeat int) float64
		drift                   bool
	}{
		{"10% more over the run in all cells", 18, 5, 95, noise, func(_, repeat int) float64 { return up(repeat, 5) }, true},
		{"10% more over the run in one", 18, 10, 85, noise, func(cell, repeat int) float64 { return up(repeat, 10) * float64(count(cell == 0)) }, true},
		{"one repeat at +30%", 60, 3, 75, noise, func(cell, repeat int) float64 { return 0.3 * float64(count(cell == 0 && repeat == 1)) }, false},
		{"20% of noise in all", 18, 3, 95, 0.20, func(int, int) float64 { return 0 }, false},
	} {
		unstable, drift := marked(test.cells, test.repeats, runs, test.noise, 1000, test.change)
		found := map[bool]int{true: drift, false: unstable}[test.drift]
		if t.Logf("%s of %d × %d: marked in %d of %d", test.what, test.cells, test.repeats, found, runs); percent(found, runs) < float64(test.atLeast) {
			t.Errorf("want %d%%", test.atLeast)
		}
	}
}
