package sqlite_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/sqlite"
	"stackmeter/scenarios"
)

// TestHistory: what history reads of a record is what the metric says of it.
func TestHistory(t *testing.T) {
	store := openStore(t, filepath.Join(t.TempDir(), "s.db"))
	for i, id := range []string{"one", "two", "three"} {
		if err := store.Begin(t.Context(), results.Run{ID: id, Scenario: "s", Started: time.Unix(int64(i), 0)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Begin(t.Context(), results.Run{ID: "other", Scenario: "x", Started: time.Unix(-1, 0)}); err != nil {
		t.Fatal(err)
	}
	figure, bytes := 1.5, int64(7<<20)
	full := cell("three", results.StatusOK, 1)
	full.Duration, full.Replies, full.CPU.Stack, full.CPU.Client = &figure, 10, &figure, &figure
	full.GPU.Validity, full.GPU.Peak, full.GPU.Stack, full.Memory.Peak = "valid", &bytes, &bytes, &bytes
	full.Latency = new(load.Latency)
	full.Latency.Record(time.Second)
	full.Latency.Record(3 * time.Second)
	full.Load.Search = &load.Search{Rate: 12}
	empty := cell("two", results.StatusFailed, 1)
	for _, r := range []results.Record{full, empty, cell("other", results.StatusOK, 1)} {
		if err := store.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range results.Metrics() {
		runs, observations, err := store.History(t.Context(), "", "flask/*", m.Name, 2)
		if err != nil || len(runs) != 2 || runs[0].ID != "two" || runs[0].Scenario != "s" || len(observations) != 2 {
			t.Fatalf("%s: %v, %v (%v)", m.Name, runs, observations, err)
		}
		for _, o := range observations {
			of := full
			if o.Run == "two" {
				of = empty
			}
			want := m.Of(of)
			if (o.Value == nil) != (want == nil) || want != nil && *o.Value != *want {
				t.Errorf("%s of %s is %v, want %v", m.Name, o.Run, o.Value, want)
			}
			if o.Clean != of.Clean() {
				t.Errorf("%s: clean %v", o.Run, o.Clean)
			}
		}
	}
	if _, none, err := store.History(t.Context(), "s", "nginx*", "duration", 30); err != nil || len(none) != 0 {
		t.Errorf("a pattern that matches nothing: %v (%v)", none, err)
	}
}

func TestFindRunByName(t *testing.T) {
	ctx := t.Context()
	store := openStore(t, filepath.Join(t.TempDir(), "s.db"))
	for i, id := range []string{"a1", "b1", "a2", "a3", "b2"} {
		if err := store.Begin(ctx, results.Run{ID: id, Scenario: id[:1], Started: time.Unix(int64(i), 0)}); err != nil {
			t.Fatal(err)
		}
	}
	for id, verdict := range map[string]string{"a1": results.VerdictPassed, "a2": results.VerdictPassed, "a3": results.VerdictFailed, "b1": results.VerdictPassed} {
		if err := store.Judged(ctx, id, verdict, "", []results.Check{{Threshold: "errors == 0", Cell: "c"}}); err != nil {
			t.Fatal(err)
		}
	}
	for tag, run := range map[string]string{"gold": "a1", "a": "a2"} {
		if err := store.Tag(ctx, run, tag); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		which string
		scope results.Scope
		want  string
	}{
		{"latest", results.Scope{}, "b2"}, {"latest", results.Scope{Scenario: "a"}, "a3"}, {"latest~1", results.Scope{}, "b1"},
		{"a3~2", results.Scope{}, "a1"}, {"a3~0", results.Scope{}, "a3"}, {"a3~3", results.Scope{}, ""}, {"a3~x", results.Scope{}, ""},
		{"last-passed", results.Scope{}, "a2"}, {"last-passed", results.Scope{Scenario: "b"}, "b1"},
		{"last-passed", results.Scope{Scenario: "a", Before: "a2"}, "a1"}, {"last-passed", results.Scope{Scenario: "a", Before: "a1"}, ""},
		{"gold", results.Scope{}, "a1"}, {"a", results.Scope{}, "a2"}, {"gold~1", results.Scope{}, ""},
	} {
		got, err := store.Find(ctx, test.which, test.scope)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s within %+v is %q (%v), want %q", test.which, test.scope, got, err, test.want)
		}
	}
	if err := store.Tag(ctx, "b2", "gold"); err != nil {
		t.Fatal(err)
	}
	if got, _ := store.Find(ctx, "gold", results.Scope{}); got != "b2" {
		t.Errorf("the tag is %q's after it was given to b2", got)
	}
	for _, tag := range []string{"latest", "last-passed", "x~1", " "} {
		if err := store.Tag(ctx, "b2", tag); err == nil {
			t.Errorf("tag %q was taken", tag)
		}
	}
	if err := store.Untag(ctx, "gold"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Find(ctx, "gold", results.Scope{}); err == nil {
		t.Error("the tag is still there")
	}
}

// BenchmarkTenThousandCells reads a run of 10,000 cells, and the history of
// cells over 30 runs of 333 of them.
func BenchmarkTenThousandCells(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s.db")
	store, err := sqlite.Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	add := func(id, scenario string, at, cells int) {
		var records []results.Record
		for i := range cells {
			r := cell(id, results.StatusOK, 1)
			duration, peak := 1+float64((i*7+at*13)%100)/1000, int64(i)<<20
			r.Duration, r.Memory.Peak = &duration, &peak
			spec := scenarios.LoadSpec{Requests: 10, Client: scenarios.ClientMT, Pool: i + 1}
			r.Cell = scenarios.Cell{Name: "flask/" + spec.Name(), Repeat: 1, Load: spec}
			r.LogTail = strings.Repeat("x", 100)
			records = append(records, r)
		}
		if err := store.Import(b.Context(), results.Run{ID: id, Scenario: scenario, Started: time.Unix(int64(at), 0)}, records); err != nil {
			b.Fatal(err)
		}
	}
	for night := range 30 {
		add(fmt.Sprintf("n%d", night), "nightly", night, 333)
	}
	add("base", "large", 100, 10_000)
	add("head", "large", 101, 10_000)
	duration, err := results.FindMetric(results.MetricDuration)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("run", func(b *testing.B) {
		for b.Loop() {
			if _, records, err := store.Run(b.Context(), "head"); err != nil || len(records) != 10_000 {
				b.Fatal(len(records), err)
			}
		}
	})
	b.Run("compare", func(b *testing.B) {
		for b.Loop() {
			base, before, err := store.Run(b.Context(), "base")
			if err != nil {
				b.Fatal(err)
			}
			head, after, err := store.Run(b.Context(), "head")
			if err != nil {
				b.Fatal(err)
			}
			if c := results.CompareRuns(base, head, before, after); len(c.Cells) != 10_000 {
				b.Fatal(len(c.Cells))
			}
		}
	})
	b.Run("history", func(b *testing.B) {
		for b.Loop() {
			runs, observations, err := store.History(b.Context(), "nightly", "", "duration", 30)
			if err != nil {
				b.Fatal(err)
			}
			if h := results.NewHistory("nightly", duration, runs, observations); len(h.Cells) != 333 {
				b.Fatal(len(h.Cells))
			}
		}
	})
}
