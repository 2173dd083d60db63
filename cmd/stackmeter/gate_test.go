package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"strings"
	"testing"
	"time"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/gate"
	"stackmeter/stacks"
)

// nights are runs of one scenario in a store, each judged at its end.
type nights struct {
	t     *testing.T
	app   app
	store results.Store
	n     int
}

func newNights(t *testing.T) *nights {
	t.Helper()
	store, err := openPrivateStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return &nights{t: t, app: app{stderr: console.NewTeller(io.Discard)}, store: store}
}

// A night is one run of two cells.
type night struct {
	thresholds []string
	memory     map[string]int64 // bytes by topology, each a cell
	limit      int64            // resources.memory
	repeats    int
	gate       gateOptions
	undecided  string
	anchor     string
}

func (n *nights) run(o night) (results.Run, error) {
	n.t.Helper()
	n.n++
	run := results.Run{ID: fmt.Sprintf("n%d", n.n), Scenario: "nightly", Outcome: results.OutcomeOK, Started: time.Unix(int64(n.n), 0).UTC()}
	run.Plan = scenarios.Plan{Scenario: "nightly", Repeats: o.repeats, Thresholds: o.thresholds, Gate: gate.Gate{Undecided: o.undecided, Anchor: o.anchor}, Client: scenarios.Client{Engine: scenarios.EngineNative},
		Resources: scenarios.Resources{Memory: o.limit, GPU: scenarios.GPU{Mode: scenarios.GPUOff}}}
	load := scenarios.LoadSpec{Requests: 10, Client: scenarios.ClientSingle, Pool: 1}
	var records []results.Record
	for name, memory := range o.memory {
		for repeat := 1; repeat <= o.repeats; repeat++ {
			trial := scenarios.Trial{Topology: scenarios.Topology{Name: name}, Repeat: repeat, Cells: []scenarios.Cell{{Name: path.Join(name, load.Name()), Repeat: repeat, Load: load}}}
			run.Plan.Trials = append(run.Plan.Trials, trial)
			duration, peak := 1.0, memory+int64(repeat)
			records = append(records, results.Record{Run: run.ID, Topology: trial.Topology, Cell: trial.Cells[0], Status: results.StatusOK,
				Replies: 10, Duration: &duration, Memory: results.Memory{Peak: &peak}})
		}
	}
	run.Planned = run.Plan.Cells()
	if o.gate.tag != "" {
		run.Tags = []string{o.gate.tag}
	}
	err := n.store.Begin(n.t.Context(), run)
	for _, r := range records {
		err = errors.Join(err, n.store.Put(n.t.Context(), r))
	}
	if err != nil {
		n.t.Fatal(err)
	}
	_, err = n.app.judge(n.t.Context(), n.store, &run, records, o.gate)
	return run, err
}

// TestAttackNarrowedNight: no run of some cells, with other settings or under
// other conditions becomes what the next full run is held against.
func TestAttackNarrowedNight(t *testing.T) {
	const slim, fat = 130 << 20, 174 << 20
	gate := []string{"memory_peak < base * 1.05"}
	both := map[string]int64{"w1": slim, "w2": slim}
	full := night{thresholds: gate, memory: both, repeats: 5}
	one := func(topology string, bytes int64) night {
		return night{thresholds: gate, memory: map[string]int64{topology: bytes}, repeats: 5}
	}
	with := func(o night, edit func(*night)) night { edit(&o); return o }
	fatter := with(full, func(o *night) { o.memory = map[string]int64{"w1": slim, "w2": fat} })
	for name, test := range map[string]struct {
		before []night // between the first night and the last
		last   night
		want   string
		error  error
	}{
		"nothing between": {nil, full, results.VerdictPassed, nil},
		"only":            {[]night{one("w1", slim)}, one("w2", fat), results.VerdictFailed, errVerdict},
		"only, then all":  {[]night{one("w1", slim)}, fatter, results.VerdictFailed, errVerdict},
		"weaker thresholds": {[]night{with(fatter, func(o *night) { o.thresholds = []string{"errors == 0", "memory_peak < base * 2"} }),
			with(fatter, func(o *night) { o.thresholds = []string{"errors == 0"} })}, fatter, results.VerdictFailed, errVerdict},
		"no thresholds":                   {[]night{with(fatter, func(o *night) { o.thresholds = nil })}, fatter, results.VerdictFailed, errVerdict},
		"fewer repeats":                   {[]night{with(full, func(o *night) { o.repeats = 1 })}, fatter, results.VerdictFailed, errVerdict},
		"another limit":                   {[]night{with(full, func(o *night) { o.limit, o.gate.across = 1<<30, []string{"limits"} })}, fatter, results.VerdictFailed, errVerdict},
		"limit not named":                 {nil, with(full, func(o *night) { o.limit = 1 << 30 }), results.VerdictRefused, errNotComparable},
		"all renamed":                     {nil, with(full, func(o *night) { o.memory = map[string]int64{"new": fat} }), results.VerdictUndecided, errVerdict},
		"one new":                         {nil, with(full, func(o *night) { o.memory = map[string]int64{"w1": slim, "w2": slim, "new": fat} }), results.VerdictPassed, nil},
		"a figure that was never checked": {nil, with(full, func(o *night) { o.thresholds = append([]string{"duration < base * 1.05"}, gate...) }), results.VerdictPassed, nil},
		"a tag that moved": {[]night{with(one("w1", slim), func(o *night) { o.gate.tag = "gold" })},
			with(fatter, func(o *night) { o.gate.compare = "gold" }), results.VerdictFailed, errVerdict},
		"a run without its cells": {[]night{with(one("w3", slim), func(o *night) { o.gate.tag = "gold" })},
			with(one("w4", slim), func(o *night) { o.gate.compare = "gold" }), results.VerdictUndecided, errVerdict},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNights(t)
			if run, err := n.run(full); run.Verdict != results.VerdictUndecided || !errors.Is(err, errVerdict) {
				t.Fatalf("the first night: %s, %v", run.Verdict, err)
			}
			for _, o := range test.before {
				_, _ = n.run(o) // whether it passes is its own business
			}
			run, err := n.run(test.last)
			if run.Verdict != test.want || !errors.Is(err, test.error) {
				t.Errorf("%s against %q: %v; want %s, %v", run.Verdict, run.Against, err, test.want, test.error)
			}
			if test.last.gate.compare == "" && test.want == results.VerdictFailed && !strings.Contains(run.Against, "n1") {
				t.Errorf("held against %q and not the first night", run.Against)
			}
		})
	}
}

// TestAttackNoThresholdsNoVerdict: a run that is held against nothing has not
// passed anything.
func TestAttackNoThresholdsNoVerdict(t *testing.T) {
	n := newNights(t)
	if run, err := n.run(night{memory: map[string]int64{"w1": 1 << 20}, repeats: 1}); run.Verdict != "" || err != nil {
		t.Errorf("verdict %q, %v", run.Verdict, err)
	}
}

// TestAttackCompareLastPassed: last-passed is found for each cell, and a run that is
// named is filled up with it; no cell is of two runs.
func TestAttackCompareLastPassed(t *testing.T) {
	n := newNights(t)
	gate := []string{"memory_peak < base * 1.05"}
	for _, cells := range []map[string]int64{{"w1": 1 << 20, "w2": 1 << 20}, {"w1": 1 << 20}, {"w2": 2 << 20}} {
		_, _ = n.run(night{thresholds: gate, memory: cells, repeats: 5})
	}
	head, records, err := n.store.Run(t.Context(), "n3")
	if err != nil {
		t.Fatal(err)
	}
	whole := exchange.Imported{Run: head, Records: records}
	for _, test := range []struct {
		which string
		cells map[string]int // repeats by the run and the topology that they are of
		id    string
	}{
		{results.LastPassed, map[string]int{"n1 w1": 5, "n1 w2": 5}, "n1"}, // w1 is gone
		{"n2", map[string]int{"n2 w1": 5, "n1 w2": 5}, "n2, n1"},
	} {
		thresholds, err := parseThresholds(gate, "")
		if err != nil {
			t.Fatal(err)
		}
		base, err := baseline(t.Context(), n.store, whole, thresholds, gateOptions{compare: test.which})
		got := map[string]int{}
		for _, r := range base.Records {
			got[r.Run+" "+r.Topology.Name]++
		}
		if err != nil || base.Run.ID != test.id || !maps.Equal(got, test.cells) {
			t.Errorf("%s is %q with %v: %v", test.which, base.Run.ID, got, err)
		}
	}
}

// TestAttackResumeKeepsChecks: whatever a resume is given, and however often one is
// cut short, a run is held to the thresholds that it was judged by before.
func TestAttackResumeKeepsChecks(t *testing.T) {
	const own, given = "memory_peak < 1GiB", "duration < 1us"
	for name, test := range map[string]struct {
		thresholds []string // of the scenario, now
		failOn     []string
		checks     []string
	}{
		"bare":          {[]string{own}, nil, []string{own, given}},
		"no thresholds": {nil, nil, []string{own, given}},
		"the same":      {[]string{own}, []string{given}, []string{own, given}},
		"a weaker one":  {[]string{own}, []string{"duration < 1h"}, []string{own, given, "duration < 1h"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNights(t)
			run, err := n.run(night{thresholds: []string{own}, memory: map[string]int64{"w1": 1 << 20}, repeats: 1, gate: gateOptions{failOn: []string{given}}})
			if run.Verdict != results.VerdictFailed || !errors.Is(err, errVerdict) {
				t.Fatalf("before: %s, %v", run.Verdict, err)
			}
			now, gate := run, gateOptions{failOn: test.failOn}
			now.Plan.Thresholds = test.thresholds
			for range 2 { // the first is cut short
				if run, err = n.app.resume(t.Context(), n.store, now, stacks.Owner{}, nil, true, runOptions{gate: gate}); err != nil {
					t.Fatal(err)
				}
			}
			run, records, err := n.store.Run(t.Context(), run.ID)
			if err != nil {
				t.Fatal(err)
			}
			more := records[0] // a cell that was still to be measured
			more.Topology.Name, more.Cell.Name = "w2", strings.Replace(more.Cell.Name, "w1", "w2", 1)
			run.Outcome, run.Planned = results.OutcomeOK, 2
			_, err = n.app.judge(t.Context(), n.store, &run, append(records, more), gate)
			run, _, stored := n.store.Run(t.Context(), run.ID)
			if stored != nil || !errors.Is(err, errVerdict) || run.Verdict != results.VerdictFailed {
				t.Errorf("%s, %v, %v", run.Verdict, err, stored)
			}
			held := map[string]int{}
			for _, c := range run.Checks {
				held[c.Threshold]++
			}
			want := map[string]int{}
			for _, text := range test.checks {
				want[text] = 2
			}
			if !maps.Equal(held, want) {
				t.Errorf("held to %v; want %v", held, want)
			}
		})
	}
}

// TestAttackResumeKeepsBaseline: a resume that is not told what to compare with holds
// the run against what it was held against, and not against a later, worse one.
func TestAttackResumeKeepsBaseline(t *testing.T) {
	n := newNights(t)
	slim := night{thresholds: []string{"memory_peak < 1GiB"}, memory: map[string]int64{"w1": 1 << 20}, repeats: 6, gate: gateOptions{tag: "gold"}}
	fat := night{thresholds: slim.thresholds, memory: map[string]int64{"w1": 4 << 20}, repeats: 6}
	for _, o := range []night{slim, fat} {
		if run, err := n.run(o); err != nil || run.Verdict != results.VerdictPassed {
			t.Fatalf("%s, %v", run.Verdict, err)
		}
	}
	fat.thresholds, fat.gate.compare = []string{"memory_peak < base * 2"}, "gold"
	run, err := n.run(fat)
	if run.Verdict != results.VerdictFailed || run.Against != "n1" || !errors.Is(err, errVerdict) {
		t.Fatalf("%s against %q, %v", run.Verdict, run.Against, err)
	}
	for range 2 { // the first is cut short
		if run, err = n.app.resume(t.Context(), n.store, run, stacks.Owner{}, nil, true, runOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	run, records, err := n.store.Run(t.Context(), run.ID)
	if err != nil {
		t.Fatal(err)
	}
	run.Outcome = results.OutcomeOK
	if _, err = n.app.judge(t.Context(), n.store, &run, records, gateOptions{}); run.Verdict != results.VerdictFailed || run.Against != "n1" || !errors.Is(err, errVerdict) {
		t.Errorf("resumed: %s against %q, %v", run.Verdict, run.Against, err)
	}
}

// TestGateOverNights: a run is held against the last nights that passed, of each cell
// those that hold it; with fewer than four against the last one. What all cells have
// in common is said first.
func TestGateOverNights(t *testing.T) {
	const bytes = 100 << 20
	quiet := []float64{1, 1.01, 0.995, 1.004, 0.99, 1.006}
	of := func(share float64, more map[string]int64) night {
		memory := map[string]int64{"w1": int64(bytes * share), "w2": int64(bytes * share * 2)}
		maps.Copy(memory, more)
		return night{thresholds: []string{"memory_peak < base * 1.05"}, memory: memory, repeats: 3}
	}
	begin := func() *nights {
		n := newNights(t)
		for i, share := range quiet {
			run, err := n.run(of(share, nil))
			if i > 0 && (run.Verdict != results.VerdictPassed || err != nil) {
				t.Fatalf("night %d: %s, %v", i, run.Verdict, err)
			}
		}
		return n
	}
	for name, test := range map[string]struct {
		night   night
		compare string
		want    string
		nights  int // that the first check is held against
		fails   bool
	}{
		"quiet":               {of(1.003, nil), "", results.VerdictPassed, 6, false},
		"all":                 {of(1.08, nil), "", results.VerdictFailed, 6, true},
		"one":                 {of(1, map[string]int64{"w1": bytes * 120 / 100}), "", results.VerdictFailed, 6, true},
		"fewer nights":        {of(1.003, nil), "nights:4", results.VerdictPassed, 4, false},
		"one night":           {of(1.003, nil), results.LastPassed, results.VerdictPassed, 0, false},
		"another cell is new": {of(1, map[string]int64{"w4": bytes}), "", results.VerdictPassed, 6, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := begin()
			test.night.gate.compare = test.compare
			run, err := n.run(test.night)
			if run.Verdict != test.want || errors.Is(err, errVerdict) != test.fails {
				t.Errorf("%s, %v; want %s", run.Verdict, err, test.want)
			}
			first := run.Checks[0]
			if first.Nights != test.nights || first.Cells > 0 != (test.nights > 0) || len(strings.Split(run.Against, severally)) != max(1, test.nights) {
				t.Errorf("held against %q, first %+v", run.Against, first)
			}
			if name == "all" && !strings.Contains(fmt.Sprint(err), "at all 2 cells together: 7.") {
				t.Errorf("%v does not say what all cells have in common", err)
			}
		})
	}
}

// TestGateUndecided: a change that nights cannot show is undecided, is said to be, and
// fails where the scenario says so.
func TestGateUndecided(t *testing.T) {
	for _, then := range []string{"", gate.Warn, gate.Fail} {
		n := newNights(t)
		of := func(mib int64) night {
			return night{thresholds: []string{"memory_peak < base * 1.05"}, memory: map[string]int64{"w1": mib << 20}, repeats: 3, undecided: then}
		}
		for i, mib := range []int64{100, 96, 92, 90, 97} {
			if run, _ := n.run(of(mib)); run.Verdict == results.VerdictFailed {
				t.Fatalf("night %d: %+v", i, run.Checks)
			}
		}
		run, err := n.run(of(103))
		if run.Verdict != results.VerdictUndecided || errors.Is(err, errVerdict) != (then == gate.Fail) || run.Checks[0].Broken() {
			t.Errorf("undecided: %q: %s, %v, %+v", then, run.Verdict, err, run.Checks)
		}
		standing := words.StandingOf(run, nil)
		if standing.Good || standing.Bad || standing.Fails() != (then == gate.Fail) || standing.By != "cannot say whether memory_peak < base * 1.05 at w1/single/n10" {
			t.Errorf("undecided: %q: %+v", then, standing)
		}
	}
}

// TestGateAnchor: what came slowly is said, though no night was over the limit, and so
// is that there is no anchor.
func TestGateAnchor(t *testing.T) {
	n := newNights(t)
	of := func(share float64, anchor string) night {
		return night{thresholds: []string{"memory_peak < base * 1.08"}, repeats: 3, anchor: anchor,
			memory: map[string]int64{"w1": int64(share * (100 << 20)), "w2": int64(share * (200 << 20))}}
	}
	first := of(1, "")
	first.gate.tag = "release"
	if run, _ := n.run(first); run.Verdict != results.VerdictUndecided {
		t.Fatal(run.Verdict)
	}
	for i, share := range []float64{1.030, 1.033, 1.036, 1.034, 1.038, 1.040, 1.042} {
		if run, err := n.run(of(share, "")); err != nil || run.Verdict != results.VerdictPassed {
			t.Fatalf("night %d: %s, %v", i, run.Verdict, err)
		}
	}
	run, err := n.run(of(1.045, ""))
	last := run.Checks[len(run.Checks)-1]
	if err != nil || last.Status != results.CheckDrifted || last.Cell != "all 2 cells together since the first of the last 60 nights" || last.Since != "n1" || !strings.Contains(words.Check(last), "against run n1") {
		t.Errorf("%+v, %v", last, err)
	}
	run, err = n.run(of(1.045, "release"))
	counts := results.Counts{OK: 6, Planned: 6}
	if said := words.StandingOf(run, &counts); err != nil || !said.Good || !strings.Contains(said.By, "at all 2 cells together since release: 4.5% more") {
		t.Errorf("%+v, %v", said, err)
	}
	run, err = n.run(of(1.045, "gone"))
	if last = run.Checks[len(run.Checks)-1]; err != nil || run.Verdict != results.VerdictPassed || !strings.Contains(last.Cell, "gone, which no run is called") {
		t.Errorf("%+v, %v", last, err)
	}
}
