package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"testing"
	"time"
)

func naming(t *testing.T, store results.Store) {
	ctx := t.Context()
	if _, _, err := store.Run(ctx, ""); !errors.Is(err, results.ErrNoRun) {
		t.Errorf("latest of none: %v, want ErrNoRun", err)
	}
	for i, id := range []string{"a1", "b1", "a2", "a3", "20-aa", "21-bb", "21-b", "21-bc", "50%_x", "b2"} {
		begin(t, store, id, id[:1], int64(i))
	}
	for id, verdict := range map[string]string{"a1": results.VerdictPassed, "a2": results.VerdictPassed, "a3": results.VerdictFailed, "b1": results.VerdictPassed} {
		must(t, store.Judged(ctx, id, verdict, "", nil))
	}
	for tag, run := range map[string]string{"gold": "a1", "a": "a2", "b1": "a1"} {
		must(t, store.Tag(ctx, run, tag))
	}
	of := func(scenario, before string) results.Scope { return results.Scope{Scenario: scenario, Before: before} }
	for _, test := range []struct {
		name, which string
		scope       results.Scope
		want        string // empty: ErrNoRun
	}{
		{"nothing is the latest", "", of("", ""), "b2"},
		{"latest", results.Latest, of("", ""), "b2"},
		{"latest of a scenario", results.Latest, of("a", ""), "a3"},
		{"latest before", results.Latest, of("", "a3"), "a2"},
		{"latest of no scenario", results.Latest, of("c", ""), ""},
		{"latest before one that is not there", results.Latest, of("", "c"), ""},
		{"the one before of its scenario", "latest~1", of("", ""), "b1"},
		{"two before", "a3~2", of("", ""), "a1"},
		{"none before", "a3~0", of("", ""), "a3"},
		{"too many before", "a3~3", of("", ""), ""},
		{"no number", "a3~x", of("", ""), ""},
		{"below 0", "a3~-1", of("", ""), ""},
		{"last passed", results.LastPassed, of("", ""), "a2"},
		{"last passed of a scenario", results.LastPassed, of("b", ""), "b1"},
		{"last passed before", results.LastPassed, of("a", "a2"), "a1"},
		{"none passed before", results.LastPassed, of("a", "a1"), ""},
		{"tag", "gold", of("", ""), "a1"},
		{"before a tag", "gold~1", of("", ""), ""},
		{"a tag beats beginnings", "a", of("", ""), "a2"},
		{"an id beats tags", "b1", of("", ""), "b1"},
		{"unique beginning", "20", of("", ""), "20-aa"},
		{"an id beats beginnings", "21-b", of("", ""), "21-b"},
		{"ambiguous", "21", of("", ""), ""},
		{"unknown", "27", of("", ""), ""},
		{"wildcards are letters", "%", of("", ""), ""},
		{"wildcards in an id", "50%_", of("", ""), "50%_x"},
		{"an end is no beginning", "aa", of("", ""), ""},
	} {
		got, err := store.Find(ctx, test.which, test.scope)
		if got != test.want || (test.want == "") != errors.Is(err, results.ErrNoRun) {
			t.Errorf("%s: %q within %+v is %q (%v), want %q", test.name, test.which, test.scope, got, err, test.want)
		}
		if run, _, err := store.Run(ctx, test.which); test.scope == of("", "") && run.ID != test.want {
			t.Errorf("%s: the run %q is %q (%v), want %q", test.name, test.which, run.ID, err, test.want)
		}
	}
}

func tagging(t *testing.T, store results.Store) {
	ctx := t.Context()
	for i, id := range []string{"one", "two"} {
		must(t, store.Begin(ctx, results.Run{ID: id, Started: time.Unix(int64(i), 0), Tags: []string{"gold"}}))
	}
	if run, _ := get(t, store, "gold"); run.ID != "two" {
		t.Errorf("gold is %s, want two, which began with the tag last", run.ID)
	}
	must(t, store.Tag(ctx, "one", "silver"), store.Tag(ctx, "one", "gold"))
	if run, _ := get(t, store, "gold"); run.ID != "one" || !slices.Equal(run.Tags, []string{"gold", "silver"}) {
		t.Errorf("gold is %s with the tags %v", run.ID, run.Tags)
	}
	for _, tag := range []string{"latest", "last-passed", "x~1", " ", ""} {
		if err := store.Tag(ctx, "one", tag); err == nil {
			t.Errorf("tag %q was taken", tag)
		}
	}
	must(t, store.Untag(ctx, "gold"))
	if id, err := store.Find(ctx, "gold", results.Scope{}); !errors.Is(err, results.ErrNoRun) {
		t.Errorf("the tag that was taken away is that of %q (%v)", id, err)
	}
}

func ordering(t *testing.T, store results.Store) {
	for i, id := range []string{"second", "third", "first", "third too", "other"} {
		begin(t, store, id, []string{"s", "s", "s", "s", "x"}[i], []int64{2, 3, 1, 3, 2}[i])
	}
	for _, test := range []struct {
		scope results.Scope
		last  int
		want  []string
	}{
		{results.Scope{}, 0, []string{"third too", "third", "other", "second", "first"}},
		{results.Scope{}, 3, []string{"third too", "third", "other"}},
		{results.Scope{Scenario: "s"}, 0, []string{"third too", "third", "second", "first"}},
		{results.Scope{Scenario: "s", Before: "third too"}, 2, []string{"third", "second"}},
		{results.Scope{Before: "other"}, 9, []string{"second", "first"}},
		{results.Scope{Scenario: "s", Before: "other"}, 0, []string{"second", "first"}},
		{results.Scope{Before: "first"}, 0, nil},
		{results.Scope{Before: "none"}, 0, nil},
		{results.Scope{Scenario: "none"}, 0, nil},
	} {
		runs, err := store.Runs(t.Context(), test.scope, test.last)
		var ids []string
		for _, run := range runs {
			ids = append(ids, run.ID)
		}
		if err != nil || !slices.Equal(ids, test.want) {
			t.Errorf("the last %d runs within %+v: %v (%v), want %v", test.last, test.scope, ids, err, test.want)
		}
	}
}

// history: what it reads of a record is what the metric says of it.
func history(t *testing.T, store results.Store) {
	for i, id := range []string{"one", "two", "three"} {
		begin(t, store, id, "s", int64(i))
	}
	begin(t, store, "other", "x", -1)
	figure, bytes := 1.5, int64(7<<20)
	full := Record("three", results.StatusOK, 1)
	full.Duration, full.Replies, full.CPU.Stack, full.CPU.Client = &figure, 10, &figure, &figure
	full.GPU.Validity, full.GPU.Peak, full.GPU.Stack, full.Memory.Peak = "valid", &bytes, &bytes, &bytes
	full.Latency = new(load.Latency)
	full.Latency.Record(time.Second)
	full.Latency.Record(3 * time.Second)
	full.Load.Search, full.Load.FirstByte = &load.Search{Rate: 12}, &results.Spread{P50: 0.25, P99: 0.5}
	full.Load.Events, full.Load.FirstEvent, full.Load.EventGap = &bytes, &results.Spread{P50: 0.3, P99: 0.6}, &results.Spread{P50: 0.01, P99: 0.02}
	full.Load.RoundTrip = &results.RoundTrip{Spread: results.Spread{P50: 0.0002, P99: 0.0005, Max: 0.001}, N: 200}
	full.GPU.Devices = []gpu.DeviceUsage{{Activity: gpu.TelemetrySummary{Energy: &figure}}}
	empty := Record("two", results.StatusFailed, 1)
	put(t, store, full, empty, Record("one", results.StatusOK, 1), Record("other", results.StatusOK, 1))
	for _, m := range results.Metrics() {
		if m.Of(&full) == nil {
			t.Errorf("the record lacks %s", m.Name)
		}
		for pattern, matches := range map[string]int{"": 2, "flask/*": 2, "*": 2, "fl?sk/mt[12]/*": 2, "flask": 0, "nginx*": 0, "[": 0} {
			runs, observations, err := store.History(t.Context(), "", pattern, m.Name, 2)
			if err != nil || len(runs) != 2 || runs[0].ID != "two" || runs[1].ID != "three" || len(observations) != matches {
				t.Fatalf("%s of %s: %v, %v (%v)", m.Name, pattern, runs, observations, err)
			}
			for _, o := range observations {
				of := full
				if o.Run == "two" {
					of = empty
				}
				want := results.Observation{Run: of.Run, Cell: of.Cell.Name, Repeat: 1, Clean: of.Clean(), Value: m.Of(&of)}
				if !reflect.DeepEqual(o, want) {
					t.Errorf("%s: %+v, want %+v", m.Name, o, want)
				}
			}
		}
	}
	if runs, _, err := store.History(t.Context(), "x", "", results.MetricDuration, 30); err != nil || len(runs) != 1 || runs[0].ID != "other" {
		t.Errorf("of another scenario: %v (%v)", runs, err)
	}
	if _, _, err := store.History(t.Context(), "s", "", "shoe_size", 30); err == nil {
		t.Error("a metric that does not exist has a history")
	}
}

// alike: of what was measured alike, only what is ok, recent, and its run's own.
func alike(t *testing.T, store results.Store) {
	for i, id := range []string{"one", "two"} {
		begin(t, store, id, "s", int64(i))
	}
	of := func(run, status string, repeat int, fingerprint, reused string) results.Record {
		r := Record(run, status, repeat)
		r.Fingerprint, r.Reused = fingerprint, reused
		return r
	}
	put(t, store,
		of("two", results.StatusOK, 9, "a", ""), of("one", results.StatusOK, 5, "a", ""), of("one", results.StatusOK, 6, "b", ""),
		of("one", results.StatusFailed, 7, "a", ""), of("one", results.StatusOK, 8, "c", ""), of("one", results.StatusOK, 4, "a", ""), of("two", results.StatusOK, 5, "a", "one"))
	since := time.Unix(5, 5)
	found, err := store.Alike(t.Context(), []string{"none", "a", "b"}, since)
	var got []string
	for _, r := range found {
		got = append(got, fmt.Sprint(r.Run, r.Cell.Repeat, r.Fingerprint))
	}
	if want := []string{"one5a", "one6b", "two9a"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v (%v), want %v", got, err, want)
	}
	many := make([]string, 3000)
	for i := range many {
		many[i] = fmt.Sprint("none", i)
	}
	if found, err := store.Alike(t.Context(), append(many, "c"), since); err != nil || len(found) != 1 {
		t.Errorf("%d of many (%v), want 1", len(found), err)
	}
	if found, err := store.Alike(t.Context(), nil, since); err != nil || len(found) != 0 {
		t.Errorf("%d of none (%v)", len(found), err)
	}
	if _, observed, err := store.History(t.Context(), "s", "", results.MetricDuration, 9); err != nil || slices.ContainsFunc(observed, func(o results.Observation) bool { return o.Run == "two" && o.Repeat == 5 }) {
		t.Errorf("what was reused is in a history: %v (%v)", observed, err)
	}
}
