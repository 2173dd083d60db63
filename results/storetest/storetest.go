// Package storetest is the conformance suite of stores: what the comment of
// results.Store promises, tried out. Each store's test runs it.
package storetest

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/scenarios"
)

// A Bench is one kind of store under test.
type Bench struct {
	// Open returns an empty store.
	Open func(t *testing.T) results.Store

	// Again opens what a store holds once more while that is still open, as
	// another process does beside it, or after it was killed. It is nil for a
	// store that ends with its process.
	Again func(t *testing.T, store results.Store) results.Store
}

// Run runs the suite.
func Run(t *testing.T, bench Bench) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, results.Store)
	}{
		{"what was written comes back", roundTrip},
		{"import is all or nothing", importing},
		{"a run's life", life},
		{"no such run", noRun},
		{"records replace each other", replacing},
		{"counts and repeats", counting},
		{"names of runs", naming},
		{"tags", tagging},
		{"order of runs", ordering},
		{"history", history},
		{"several at once", concurrent},
	} {
		t.Run(test.name, func(t *testing.T) {
			store := bench.Open(t)
			test.run(t, store)
			for range 2 {
				if err := store.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}
		})
	}
	if bench.Again != nil {
		t.Run("a kill between two calls", func(t *testing.T) { killed(t, bench) })
	}
}

// Record is a record of one cell of flask, with no figures at all.
func Record(run, status string, repeat int) results.Record {
	spec := scenarios.LoadSpec{Requests: 10, Client: scenarios.ClientMT, Pool: 2}
	return results.Record{
		Run:      run,
		Topology: scenarios.Topology{Name: "flask", Server: "flask"},
		Cell:     scenarios.Cell{Name: "flask/" + spec.Name(), Repeat: repeat, Load: spec},
		Started:  time.Unix(int64(repeat), 5).UTC(),
		Status:   status,
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// begin enters a run of the scenario, started so many seconds after the epoch.
func begin(t *testing.T, store results.Store, id, scenario string, at int64) {
	t.Helper()
	must(t, store.Begin(t.Context(), results.Run{ID: id, Scenario: scenario, Started: time.Unix(at, 0)}))
}

func put(t *testing.T, store results.Store, records ...results.Record) {
	t.Helper()
	for _, r := range records {
		must(t, store.Put(t.Context(), r))
	}
}

func get(t *testing.T, store results.Store, which string) (results.Run, []results.Record) {
	t.Helper()
	run, records, err := store.Run(t.Context(), which)
	if err != nil {
		t.Fatal(err)
	}
	return run, records
}

func roundTrip(t *testing.T, store results.Store) {
	full := results.Record{}
	fill(reflect.ValueOf(&full).Elem(), new(int))
	full.Run, full.Status, full.Cell.Name, full.OutOfMemory = "one", results.StatusOK, "full", results.MemoryGPU
	empty := Record("one", results.StatusFailed, 7)
	// Figures that are 0 are not missing.
	second, nothing, zero := 1.0, int64(0), 0.0
	zeros := Record("one", results.StatusOK, 8)
	zeros.Duration, zeros.Memory.Peak, zeros.CPU.Stack, zeros.CPU.Client, zeros.GPU.Peak = &second, &nothing, &zero, &zero, &nothing

	run := results.Run{}
	fill(reflect.ValueOf(&run).Elem(), new(int))
	run.ID, run.Counts = "one", nil
	slices.Sort(run.Tags)
	run.Spent[results.PhaseStop] = 1.0 / 3
	must(t, store.Begin(t.Context(), run))
	put(t, store, zeros, full, empty)

	gotRun, records := get(t, store, "one")
	counts := results.Counts{OK: 2, Failed: 1, Planned: run.Planned}
	if gotRun.Counts == nil || *gotRun.Counts != counts {
		t.Errorf("counts = %+v, want %+v", gotRun.Counts, counts)
	}
	gotRun.Counts = nil
	run.Plan, full.Topology = run.Plan.Redacted(), full.Topology.Redacted()
	equal(t, "run", gotRun, run)
	if len(records) != 3 {
		t.Fatalf("%d records, want 3", len(records))
	}
	equal(t, "record without figures", records[0], empty)
	equal(t, "record with zeros", records[1], zeros)
	equal(t, "latency", records[2].Latency.Percentile(50), full.Latency.Percentile(50))
	records[2].Latency, full.Latency = nil, nil // compared above; inside it holds scratch space
	equal(t, "full record", records[2], full)
}

// fill sets every exported field below v to something that is not zero, so that
// a field that the store forgets shows.
func fill(v reflect.Value, n *int) {
	*n++
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000, int64(*n)).UTC()))
		return
	case load.Latency:
		for i := range 5 {
			v.Addr().Interface().(*load.Latency).Record(time.Duration(i+1) * time.Second)
		}
		return
	case time.Duration:
		v.SetInt(int64(*n)*1_000_000 + 1)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text " + strings.Repeat("x", *n%7))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Uint8:
		v.SetUint('7') // of a json.RawMessage
	case reflect.Float64:
		v.SetFloat(float64(*n) + 0.125)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, n)
		fill(value, n)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), n)
			}
		}
	default:
		panic("fill: " + v.Type().String())
	}
}

// equal compares field by field, so that a failure names what differs.
func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	if g.Kind() != reflect.Struct {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %+v, want %+v", what, got, want)
		}
		return
	}
	for i := range g.NumField() {
		if g.Type().Field(i).IsExported() {
			equal(t, what+"."+g.Type().Field(i).Name, g.Field(i).Interface(), w.Field(i).Interface())
		}
	}
}

func importing(t *testing.T, store results.Store) {
	run := results.Run{ID: "one", Scenario: "s", Started: time.Unix(1, 0), Imported: "figures.csv", Tags: []string{"published"}}
	must(t, store.Import(t.Context(), run, []results.Record{Record("one", results.StatusOK, 2), Record("one", results.StatusFailed, 1)}))
	got, records := get(t, store, "published")
	if got.ID != "one" || got.Imported != run.Imported || len(records) != 2 || records[0].Status != results.StatusFailed {
		t.Errorf("run %+v with %d records", got, len(records))
	}
	run.Tags = []string{"latest"}
	for _, id := range []string{"two", "one"} { // for the tag, and for the id too
		run.ID = id
		if err := store.Import(t.Context(), run, []results.Record{Record(id, results.StatusOK, 3)}); err == nil {
			t.Errorf("%s was imported", id)
		}
	}
	if runs, err := store.Runs(t.Context()); err != nil || len(runs) != 1 || runs[0].Counts.OK != 1 {
		t.Errorf("after imports that failed: %+v (%v)", runs, err)
	}
}

func life(t *testing.T, store results.Store) {
	ctx := t.Context()
	begin(t, store, "one", "s", 1)
	for _, id := range []string{"one", "", "latest", "one~1"} {
		if err := store.Begin(ctx, results.Run{ID: id}); err == nil {
			t.Errorf("a run with the id %q began", id)
		}
	}
	must(t, store.Spent(ctx, "one", results.PhaseMeasure, time.Second), store.Spent(ctx, "one", results.PhaseMeasure, 2*time.Second))
	images := map[string]string{"flask/app": "sha256:1", "load client": "sha256:2"}
	at := time.Unix(99, 0)
	checks := []results.Check{{Threshold: "errors == 0", Cell: "c"}}
	must(t,
		store.Images(ctx, "one", images), store.Planned(ctx, "one", 12),
		store.Finish(ctx, "one", results.OutcomeInterrupted, at),
		store.Judged(ctx, "one", results.VerdictFailed, "base", checks))
	run, _ := get(t, store, "one")
	if run.Outcome != results.OutcomeInterrupted || run.Finished == nil || *run.Finished != at.UTC() || run.Spent[results.PhaseMeasure] != 3 {
		t.Errorf("finished run = %+v", run)
	}
	if run.Planned != 12 || run.Counts.Planned != 12 || run.Counts.Missing() != 12 {
		t.Errorf("%d cells are planned, and the counts are %+v", run.Planned, *run.Counts)
	}
	if run.Verdict != results.VerdictFailed || run.Against != "base" || !reflect.DeepEqual(run.Checks, checks) {
		t.Errorf("judged run = %+v", run)
	}
	must(t, store.Resume(ctx, "one", scenarios.Plan{Thresholds: []string{"errors == 0"}}, "another process"))
	run, _ = get(t, store, "one")
	if run.Outcome != "" || run.Finished != nil || run.Verdict != "" || run.Checks != nil {
		t.Errorf("resumed run = %+v, and it has not ended yet", run)
	}
	if run.Spent[results.PhaseMeasure] != 3 || !maps.Equal(run.Images, images) || len(run.Plan.Thresholds) != 1 || run.Owner != "another process" || run.Against != "base" {
		t.Errorf("resumed run = %+v", run)
	}
}

func noRun(t *testing.T, store results.Store) {
	ctx := t.Context()
	begin(t, store, "one", "s", 1)
	_, byID := store.ByID(ctx, "on")
	_, byNothing := store.ByID(ctx, "")
	_, byName := store.ByID(ctx, results.Latest)
	_, _, run := store.Run(ctx, "none")
	_, _, history := store.History(ctx, "none", "", results.MetricDuration, 30)
	for name, err := range map[string]error{
		"Put":            store.Put(ctx, Record("none", results.StatusOK, 1)),
		"Spent":          store.Spent(ctx, "none", "x", 1),
		"Images":         store.Images(ctx, "none", nil),
		"Planned":        store.Planned(ctx, "none", 7),
		"Finish":         store.Finish(ctx, "none", "ok", time.Now()),
		"Judged":         store.Judged(ctx, "none", "", "", nil),
		"Resume":         store.Resume(ctx, "none", scenarios.Plan{}, "another process"),
		"Tag":            store.Tag(ctx, "none", "gold"),
		"Untag":          store.Untag(ctx, "gold"),
		"ByID of a part": byID,
		"ByID of no id":  byNothing,
		"ByID of a name": byName,
		"Run":            run,
		"History":        history,
	} {
		if !errors.Is(err, results.ErrNoRun) {
			t.Errorf("%s: %v, want ErrNoRun", name, err)
		}
	}
	if records, err := store.Repeats(ctx, "none"); err != nil || len(records) > 0 {
		t.Errorf("repeats: %v (%v)", records, err)
	}
	if run, err := store.ByID(ctx, "one"); err != nil || run.ID != "one" || run.Scenario != "s" || run.Counts == nil {
		t.Errorf("one: %+v (%v)", run, err)
	}
}

func replacing(t *testing.T, store results.Store) {
	begin(t, store, "one", "s", 1)
	begin(t, store, "two", "s", 2)
	for i, status := range []string{results.StatusFailed, results.StatusPruned, results.StatusFailed, results.StatusOK} {
		r := Record("one", status, 1)
		r.Started = r.Started.Add(time.Duration(i) * time.Hour)
		put(t, store, r)
	}
	put(t, store, Record("two", results.StatusFailed, 1))
	itself := Record("one", results.StatusOK, 1)
	itself.Started = itself.Started.Add(3 * time.Hour)
	itself.Flags = []string{"known later"}
	put(t, store, itself)
	failed, another := itself, itself
	failed.Status, another.Started = results.StatusFailed, itself.Started.Add(time.Hour)
	for _, r := range []results.Record{failed, another} {
		if err := store.Put(t.Context(), r); !errors.Is(err, results.ErrHeld) {
			t.Errorf("%s of %v over one that is ok: %v, want ErrHeld", r.Status, r.Started, err)
		}
	}
	if _, records := get(t, store, "one"); len(records) != 1 || !reflect.DeepEqual(records[0], itself) {
		t.Errorf("the run holds %+v, want its one record as it was put last", records)
	}
}

func counting(t *testing.T, store results.Store) {
	begin(t, store, "one", "s", 1)
	warm, second := 0.5, 1.0
	ok, failed, pruned := Record("one", results.StatusOK, 3), Record("one", results.StatusFailed, 2), Record("one", results.StatusPruned, 1)
	ok.Duration, ok.Replies, ok.Errors, ok.Stack = &second, 9, 1, &results.Stack{WarmupS: &warm}
	failed.OutOfMemory = results.MemoryGPU
	put(t, store, ok, failed, pruned)
	run, records := get(t, store, "one")
	if want := (results.Counts{OK: 1, Failed: 1, Pruned: 1}); *run.Counts != want {
		t.Errorf("counts %+v, want %+v", *run.Counts, want)
	}
	repeats, err := store.Repeats(t.Context(), "one")
	if err != nil || len(repeats) != len(records) {
		t.Fatalf("%d repeats (%v), want %d", len(repeats), err, len(records))
	}
	for i, r := range repeats {
		of := records[i]
		if r.Topology.Name != of.Topology.Name || r.Cell.Name != of.Cell.Name || r.Cell.Repeat != i+1 || r.Status != of.Status ||
			r.Errors != of.Errors || !reflect.DeepEqual(r.Duration, of.Duration) || r.OutOfMemory != of.OutOfMemory {
			t.Errorf("repeat %+v of the record %+v", r, of)
		}
		if r.Stack != nil != (of.Stack != nil) || r.Stack != nil && *r.Stack.WarmupS != warm {
			t.Errorf("repeat %d has the stack %+v", i+1, r.Stack)
		}
	}
}

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
	for i, id := range []string{"second", "third", "first", "third too"} {
		begin(t, store, id, "s", []int64{2, 3, 1, 3}[i])
	}
	runs, err := store.Runs(t.Context())
	var ids []string
	for _, run := range runs {
		ids = append(ids, run.ID)
	}
	if want := []string{"third too", "third", "second", "first"}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("runs %v (%v), want %v", ids, err, want)
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

// concurrent has several write and read at once: nothing is lost, and what is
// read is of one moment.
func concurrent(t *testing.T, store results.Store) {
	const writers, each = 4, 15
	for i := range writers {
		begin(t, store, fmt.Sprint("run", i), "s", int64(i))
	}
	var writing, reading sync.WaitGroup
	ended := make(chan struct{})
	for i := range writers {
		run := fmt.Sprint("run", i)
		writing.Go(func() {
			for repeat := range each {
				must(t, errors.Join(store.Put(t.Context(), Record(run, results.StatusOK, repeat+1)), store.Spent(t.Context(), run, results.PhaseMeasure, time.Second)))
			}
		})
		reading.Go(func() {
			for seen := 0; ; {
				select {
				case <-ended:
					return
				default:
				}
				got, records, err := store.Run(t.Context(), run)
				if err != nil || len(records) < seen || got.Counts.OK != len(records) {
					t.Errorf("%s: %d records and counts %+v after %d (%v)", run, len(records), got.Counts, seen, err)
				}
				seen = len(records)
			}
		})
	}
	writing.Wait()
	close(ended)
	reading.Wait()
	for i := range writers {
		if run, records := get(t, store, fmt.Sprint("run", i)); len(records) != each || run.Spent[results.PhaseMeasure] != each {
			t.Errorf("%s holds %d records and %v s, want %d", run.ID, len(records), run.Spent, each)
		}
	}
}

// killed opens a store again that was not closed: all that was acknowledged is
// there, except for the time spent since the last write.
func killed(t *testing.T, bench Bench) {
	store := bench.Open(t)
	begin(t, store, "one", "s", 1)
	must(t, store.Spent(t.Context(), "one", results.PhaseStart, time.Second))
	put(t, store, Record("one", results.StatusFailed, 1), Record("one", results.StatusOK, 2))
	must(t, store.Tag(t.Context(), "one", "gold"))
	again := bench.Again(t, store)
	run, records := get(t, again, "gold")
	if run.ID != "one" || len(records) != 2 || run.Spent[results.PhaseStart] != 1 || run.Outcome != "" {
		t.Errorf("run %+v with %d records", run, len(records))
	}
	put(t, again, Record("one", results.StatusOK, 1))
	must(t, again.Finish(t.Context(), "one", results.OutcomeOK, time.Now()), again.Close())
	if run, _ := get(t, store, "one"); run.Outcome != results.OutcomeOK || run.Counts.OK != 2 {
		t.Errorf("beside the one that wrote: %+v", run)
	}
}
