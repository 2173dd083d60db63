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
	"stackmeter/scenarios/goals"
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
		{"records that were measured alike", alike},
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
	empty.Reason, empty.LogTail = "said \x00 and \xff", "\xc3\x28 and \x00"
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
	empty.Reason, empty.LogTail = "said \uFFFD and \uFFFD", "\uFFFD( and \uFFFD"
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
	if runs, err := store.Runs(t.Context(), results.Scope{}, 0); err != nil || len(runs) != 1 || runs[0].Counts.OK != 1 {
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
	lanes := results.Lanes{Have: []results.Lane{{Devices: []string{"GPU-a"}, Cores: "0-2", Client: "3"}}, Off: "a reason",
		Check: &results.LaneCheck{Lanes: 2, Pairs: 8, Alone: 1, Beside: 2, Ratio: 2, Low: new(1.5), High: new(2.5)}}
	devices := []gpu.Device{{Index: 1, UUID: "GPU-a", Name: "A", Memory: 1 << 30, Driver: "550", Node: "n1"}}
	answers := []results.Answer{{Load: "mt2/n10", Topology: "flask", Sure: 0.95, Decided: true, Why: "sure"}}
	must(t,
		store.Images(ctx, "one", images), store.Lanes(ctx, "one", lanes), store.Devices(ctx, "one", devices), store.Planned(ctx, "one", 12),
		store.Finish(ctx, "one", results.OutcomeInterrupted, at),
		store.Judged(ctx, "one", results.VerdictFailed, "base", checks), store.Answered(ctx, "one", answers))
	run, _ := get(t, store, "one")
	if run.Outcome != results.OutcomeInterrupted || run.Finished == nil || *run.Finished != at.UTC() || run.Spent[results.PhaseMeasure] != 3 {
		t.Errorf("finished run = %+v", run)
	}
	if run.Planned != 12 || run.Counts.Planned != 12 || run.Counts.Missing() != 12 {
		t.Errorf("%d cells are planned, and the counts are %+v", run.Planned, *run.Counts)
	}
	if !reflect.DeepEqual(run.Lanes, &lanes) {
		t.Errorf("lanes = %+v", run.Lanes)
	}
	if !slices.Equal(run.GPUDevices, devices) {
		t.Errorf("devices = %+v", run.GPUDevices)
	}
	if !slices.Equal(run.Answers, answers) {
		t.Errorf("answers = %+v", run.Answers)
	}
	if run.Verdict != results.VerdictFailed || run.Against != "base" || !reflect.DeepEqual(run.Checks, checks) {
		t.Errorf("judged run = %+v", run)
	}
	must(t, store.Resume(ctx, "one", scenarios.Plan{Thresholds: []string{"errors == 0"}}, "another process"))
	run, _ = get(t, store, "one")
	if run.Outcome != "" || run.Finished != nil || run.Verdict != "" || run.Checks != nil || run.Answers != nil {
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
		"Lanes":          store.Lanes(ctx, "none", results.Lanes{}),
		"Devices":        store.Devices(ctx, "none", nil),
		"Planned":        store.Planned(ctx, "none", 7),
		"Finish":         store.Finish(ctx, "none", "ok", time.Now()),
		"Judged":         store.Judged(ctx, "none", "", "", nil),
		"Answered":       store.Answered(ctx, "none", nil),
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
	// In a search neither what was pruned nor what ran out of memory is a fault. What
	// is put over a record counts instead of it, and what is imported counts once.
	want := func(id string, counts results.Counts) {
		t.Helper()
		if run, err := store.ByID(t.Context(), id); err != nil || *run.Counts != counts || run.Count(records) != counts && id == "one" {
			t.Errorf("counts of %s %+v (%v), want %+v", id, run.Counts, err, counts)
		}
	}
	must(t, store.Resume(t.Context(), "one", scenarios.Plan{Search: &goals.Search{}}, ""))
	want("one", results.Counts{OK: 1, Closed: 2})
	must(t, store.Resume(t.Context(), "one", scenarios.Plan{}, ""))
	want("one", results.Counts{OK: 1, Failed: 1, Pruned: 1})
	again := pruned
	again.Status, again.OutOfMemory = results.StatusFailed, results.MemoryMain
	twice := again
	for _, r := range []*results.Record{&again, &twice} {
		r.Run = "two"
	}
	twice.Status, twice.OutOfMemory = results.StatusOK, ""
	must(t, store.Import(t.Context(), results.Run{ID: "two", Started: time.Unix(2, 0), Plan: scenarios.Plan{Search: &goals.Search{}}}, []results.Record{again, twice}))
	want("two", results.Counts{OK: 1})
	for i, counts := range []results.Counts{{OK: 1, Closed: 1}, {OK: 1, Closed: 1}, {OK: 1, Failed: 1}, {OK: 2}} {
		r := again
		r.Cell.Repeat = 5
		r.Status = []string{results.StatusPruned, results.StatusFailed, results.StatusFailed, results.StatusOK}[i]
		if r.OutOfMemory = ""; i == 1 {
			r.OutOfMemory = results.MemoryGPU
		}
		put(t, store, r)
		want("two", counts)
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
