package results_test

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"stackmeter/results"
	"stackmeter/results/nights"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/threshold"
)

const window = 7 // nights that a gate holds a run against

// A change is what a build does to its cells: so many of them are slower by a share.
type change struct {
	by    float64
	cells int // 0: all
}

func (c change) String() string {
	if c.cells == 0 {
		return fmt.Sprintf("%+.0f%% in all", 100*c.by)
	}
	return fmt.Sprintf("%+.0f%% in %d", 100*c.by, c.cells)
}

// changed are the durations of a night with the change.
func (c change) changed(durations [][]float64) [][]float64 {
	made := make([][]float64, len(durations))
	for cell, repeats := range durations {
		made[cell] = slices.Clone(repeats)
		if c.cells == 0 || cell < c.cells {
			for i := range made[cell] {
				made[cell][i] *= 1 + c.by
			}
		}
	}
	return made
}

func changes() []change {
	return []change{{0.03, 0}, {0.05, 0}, {0.10, 0}, {0.03, 1}, {0.05, 1}, {0.10, 1}, {0.03, 6}, {0.05, 6}, {0.10, 6}}
}

// A tally is what a gate said of the nights of one kind.
type tally struct {
	quiet             int // without outliers
	failed, undecided int // of unchanged ones
	drifted           int // of unchanged ones, since the anchor
	outliers, alarms  int
	found             []int // by change, of nights
}

func gate(t testing.TB) []*threshold.Threshold {
	t.Helper()
	condition, err := results.Vocabulary().Parse("duration < base * 1.05")
	if err != nil {
		t.Fatal(err)
	}
	return []*threshold.Threshold{condition}
}

// judge holds nights of one kind to the gate as stackmeter run does: each against
// the last ones that did not fail. Each night is judged as it is, and as it would have
// been with each of the changes.
func judge(t testing.TB, noise nights.Noise, cells, repeats, sequences, length int, seeds uint64, of []change) tally {
	thresholds, all := gate(t), tally{found: make([]int, len(of))}
	said := func(run int, durations [][]float64, before [][]verdict.Summary) (failed, undecided bool, night []verdict.Summary) {
		night = verdict.Summarise(nights.Records(fmt.Sprint(run), durations))
		checks := verdict.CheckThresholds(thresholds, night, before...)
		return slices.ContainsFunc(checks, results.Check.Broken),
			slices.ContainsFunc(checks, func(c results.Check) bool { return c.Status == results.CheckUndecided }), night
	}
	var adding sync.Mutex
	each(sequences, func(seed uint64) {
		s, is := nights.NewSequence(noise, cells, repeats, seeds+seed), tally{found: make([]int, len(of))}
		var passed [][]verdict.Summary // the latest first
		for night := range window + length {
			durations, outlier := s.Next(nil)
			if outlier && night < 4 {
				continue // nothing could find it
			}
			before := passed[:min(len(passed), window)]
			failed, undecided, summaries := said(night, durations, before)
			drifted := drifts(thresholds, summaries, passed)
			if night < 4 || !failed {
				passed = slices.Insert(passed, 0, summaries)
			}
			switch {
			case night < window:
				continue
			case outlier:
				is.outliers++
				is.alarms += count(failed)
				continue
			}
			is.quiet++
			is.failed += count(failed)
			is.undecided += count(undecided && !failed)
			is.drifted += count(drifted)
			for i, c := range of {
				found, _, _ := said(night, c.changed(durations), before)
				is.found[i] += count(found)
			}
		}
		adding.Lock()
		defer adding.Unlock()
		all.add(is)
	})
	return all
}

// drifts is what stackmeter run says of a night since the first one that passed, of the last
// so many.
func drifts(thresholds []*threshold.Threshold, head []verdict.Summary, passed [][]verdict.Summary) bool {
	if len(passed) == 0 {
		return false
	}
	first := passed[min(len(passed), verdict.AnchorNights)-1]
	checks := verdict.CheckAnchor(thresholds, head, passed[:min(len(passed), window)], verdict.Anchor{Run: "first", Name: "first", Cells: first})
	return slices.ContainsFunc(checks, func(c results.Check) bool { return c.Status == results.CheckDrifted })
}

// creeps is the night on which a run is said to be worse by the gate: of so many cells, 0
// all, each is slower by 1% of the first each night, after some that were quiet. It is 30
// where it never was. So many of them had been said to be before that.
func creeps(t testing.TB, noise nights.Noise, cells, repeats, scenarios, before, of int, seeds uint64) []int {
	thresholds, noticed := gate(t), make([]int, scenarios)
	each(scenarios, func(seed uint64) {
		s, passed := nights.NewSequence(noise, cells, repeats, seeds+seed), [][]verdict.Summary(nil)
		noticed[seed] = 30
		for night := range before + 30 {
			durations, _ := s.Next(func(cell int) float64 {
				if of > 0 && cell >= of {
					return 0
				}
				return 0.01 * float64(max(0, night-before+1))
			})
			head := verdict.Summarise(nights.Records(fmt.Sprint(night), durations))
			failed := slices.ContainsFunc(verdict.CheckThresholds(thresholds, head, passed[:min(len(passed), window)]...), results.Check.Broken)
			if night >= before && (failed || drifts(thresholds, head, passed)) {
				noticed[seed] = night - before + 1
				return
			}
			if !failed || night < 4 {
				passed = slices.Insert(passed, 0, head)
			}
		}
	})
	slices.Sort(noticed)
	return noticed
}

func (t *tally) add(more tally) {
	t.quiet, t.failed, t.undecided = t.quiet+more.quiet, t.failed+more.failed, t.undecided+more.undecided
	t.drifted += more.drifted
	t.outliers, t.alarms = t.outliers+more.outliers, t.alarms+more.alarms
	for i, n := range more.found {
		t.found[i] += n
	}
}

// each calls f for 0 up to n, on all processors.
func each(n int, f func(i uint64)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(uint64(i))
			}
		})
	}
	all.Wait()
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }

// TestGateHoldsItsGoals: as it is built, the gate fails few quiet nights, and finds on
// the first night what it is for.
func TestGateHoldsItsGoals(t *testing.T) {
	goals, drifted, all := []change{{0.05, 0}, {0.10, 1}, {0.03, 0}}, 0, 0
	for _, noise := range nights.Noises() {
		is := judge(t, noise, 18, 3, 8, 20, 0, goals)
		quiet := percent(is.failed, is.quiet)
		if noise.Memory == 0 && quiet > 2 {
			t.Errorf("%s: %.1f%% of %d quiet nights fail, want 2%% at most", noise.Name, quiet, is.quiet)
		}
		t.Logf("%s: of %d quiet nights fail %.1f%%, undecided %.1f%%; found in night 1: %d, %d, %d of them", noise.Name, is.quiet, quiet, percent(is.undecided, is.quiet), is.found[0], is.found[1], is.found[2])
		if noise.Memory == 0 {
			drifted, all = drifted+is.drifted, all+is.quiet
		}
		for i, least := range []float64{95, 95, 75} {
			if found := percent(is.found[i], is.quiet); found < least {
				t.Errorf("%s: %v is found on the first night in %.1f%%, want %v%% at least", noise.Name, goals[i], found, least)
			}
		}
		if undecided := percent(is.undecided, is.quiet); undecided > 8 {
			t.Errorf("%s: %.1f%% of the quiet nights are undecided", noise.Name, undecided)
		}
	}
	if t.Logf("of %d quiet nights %d are said to have drifted since the first", all, drifted); percent(drifted, all) > 0.5 {
		t.Error("want 0.5% at most")
	}
}

// TestGateNoticesCreep: what is slower by 1% a night is over the limit of no night for long,
// and is seen since the first that passed.
func TestGateNoticesCreep(t *testing.T) {
	const scenarios = 20
	for before, atLeast := range map[int]float64{0: 90, 30: 95} {
		noticed := creeps(t, disturbed(), 18, 3, scenarios, before, 0, 0)
		if t.Logf("after %d quiet nights a creep of all cells is said by the nights %v", before, noticed); percent(within(noticed, 10), scenarios) < atLeast {
			t.Errorf("want %v%% by the tenth", atLeast)
		}
	}
	if noticed := creeps(t, disturbed(), 18, 3, scenarios, 0, 1, 0); noticed[scenarios/2] > 13 {
		t.Errorf("a creep of one cell is said by the nights %v", noticed)
	}
}

// BenchmarkGate prints, for each kind of noise and scenario, how many quiet nights
// fail or are undecided and in how many a change is found on its first night; how many are said to have drifted since
// the first; and when a creep of 1% a night is said, of all cells and of one, from the first
// night and after 30 quiet ones: the night in the median, and how many by the tenth. Its seeds
// are others than those that anything was tried with. A part of it is asked for by name,
// such as -bench Gate/iid/18x3.
func BenchmarkGate(b *testing.B) {
	for _, noise := range nights.Noises() {
		b.Run(noise.Name, func(b *testing.B) {
			for _, cells := range []int{1, 9, 18, 50} {
				for _, repeats := range []int{3, 5, 8} {
					b.Run(fmt.Sprintf("%dx%d", cells, repeats), func(b *testing.B) {
						var is tally
						for b.Loop() {
							is = judge(b, noise, cells, repeats, 40, 50, 50_000, changes())
						}
						line := fmt.Sprintf("| %s | %d × %d | %d | %.1f%% | %.1f%% | %.2f%% |", noise.Name, cells, repeats, is.quiet, percent(is.failed, is.quiet), percent(is.undecided, is.quiet), percent(is.drifted, is.quiet))
						for i, c := range changes() {
							if c.cells > cells {
								line += " – |"
								continue
							}
							line += fmt.Sprintf(" %.0f%% |", percent(is.found[i], is.quiet))
						}
						for _, before := range []int{0, 30} {
							for _, of := range []int{0, 1} {
								noticed := creeps(b, noise, cells, repeats, 100, before, of, 50_000)
								line += fmt.Sprintf(" %d, %.0f%% |", noticed[len(noticed)/2], percent(within(noticed, 10), len(noticed)))
							}
						}
						fmt.Println(line)
					})
				}
			}
		})
	}
}
