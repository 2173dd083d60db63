package results_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/nights"
	"stackmeter/results/verdict"
)

// A nightsStore has the nights of one scenario, the latest first.
type nightsStore struct {
	runs    []results.Run
	records map[string][]results.Record
}

func (s nightsStore) Runs(context.Context, results.Scope, int) ([]results.Run, error) {
	return s.runs, nil
}

func (s nightsStore) Run(_ context.Context, which string) (results.Run, []results.Record, error) {
	i := slices.IndexFunc(s.runs, func(r results.Run) bool { return r.ID == which })
	return s.runs[i], s.records[which], nil
}

// compared is what was found of pairs of nights, of which the second has a change.
type compared struct{ shown, inside, intervals int }

// compareNights compares the last two of so many nights, by what a store knows of them.
func compareNights(t testing.TB, noise nights.Noise, cells, repeats, pairs, known int, of change) compared {
	var all compared
	var adding sync.Mutex
	each(pairs, func(seed uint64) {
		sequence, store := nights.NewSequence(noise, cells, repeats, 70_000+seed), nightsStore{records: map[string][]results.Record{}}
		for night := range known + 2 {
			durations, _ := sequence.Next(nil)
			if night == known+1 {
				durations = of.changed(durations)
			}
			run := results.Run{ID: fmt.Sprint("night-", night), Outcome: results.OutcomeOK, Started: time.Unix(int64(night)*86400, 0)}
			store.runs = slices.Insert(store.runs, 0, run)
			store.records[run.ID] = nights.Records(run.ID, durations)
		}
		base, head := store.runs[1], store.runs[0]
		c := verdict.CompareRuns(base, head, store.records[base.ID], store.records[head.ID])
		if err := verdict.ReadNights(t.Context(), store, &c); err != nil {
			t.Error(err)
		}
		shown, inside, intervals := false, 0, 0
		for i, cell := range c.Cells {
			duration := cell.Changes[0]
			shown = shown || duration.Difference.Shown
			if truth := map[bool]float64{true: of.by}[of.cells == 0 || i < of.cells]; duration.Interval != nil {
				intervals++
				inside += count(duration.Interval.Low <= truth && truth <= duration.Interval.High)
			}
		}
		adding.Lock()
		defer adding.Unlock()
		all = compared{all.shown + count(shown), all.inside + inside, all.intervals + intervals}
	})
	return all
}

// TestTwoNightsAreTwoNights: where a store knows how much nights differ, two unchanged
// ones are rarely told apart, and intervals hold the change; by repeats alone most are.
func TestTwoNightsAreTwoNights(t *testing.T) {
	const pairs = 200
	known := compareNights(t, disturbed(), 18, 3, pairs, 10, change{})
	if share := float64(known.shown) / pairs; share > 0.08 {
		t.Errorf("%.1f%% of unchanged pairs show a change, want 5%%", 100*share)
	}
	if share := float64(known.inside) / float64(known.intervals); math.Abs(share-0.95) > 0.02 || known.intervals != 18*pairs {
		t.Errorf("%.1f%% of %d intervals hold the change, want 95%%", 100*share, known.intervals)
	}
	alone := compareNights(t, disturbed(), 18, 8, pairs, 0, change{})
	if share := float64(alone.shown) / pairs; share < 0.2 {
		t.Errorf("by repeats alone %.1f%% of unchanged pairs show a change: nights differ", 100*share)
	}
	if found := compareNights(t, disturbed(), 18, 3, pairs, 10, change{0.10, 1}); float64(found.shown)/pairs < 0.7 {
		t.Errorf("10%% in one cell is shown in %d of %d", found.shown, pairs)
	}
	t.Logf("of %d unchanged pairs %d show a change, and by repeats alone %d", pairs, known.shown, alone.shown)
}
