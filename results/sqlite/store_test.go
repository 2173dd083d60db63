package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/sqlite"
	"stackmeter/scenarios"
)

func openStore(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func begin(t *testing.T, store *sqlite.Store, id string) {
	t.Helper()
	if err := store.Begin(t.Context(), results.Run{ID: id, Started: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
}

// cell is a record with no figures at all.
func cell(run, status string, repeat int) results.Record {
	spec := scenarios.LoadSpec{Requests: 10, Client: scenarios.ClientMT, Pool: 2}
	return results.Record{
		Run:      run,
		Topology: scenarios.Topology{Name: "flask", Server: scenarios.ServerFlask},
		Cell:     scenarios.Cell{Name: "flask/" + spec.Name(), Repeat: repeat, Load: spec},
		Started:  time.Unix(int64(repeat), 5).UTC(),
		Status:   status,
	}
}

// fill sets every exported field below v to something that is not zero, so
// that a field which the store forgets shows.
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
			fill(v.Field(i), n)
		}
	default:
		panic("fill: " + v.Type().String())
	}
}

func TestRoundTrip(t *testing.T) {
	full := results.Record{}
	fill(reflect.ValueOf(&full).Elem(), new(int))
	full.Run, full.Status, full.Cell.Name, full.OutOfMemory = "one", results.StatusOK, "full", results.MemoryGPU
	empty := cell("one", results.StatusFailed, 7)

	run := results.Run{}
	fill(reflect.ValueOf(&run).Elem(), new(int))
	run.ID, run.Counts = "one", nil
	slices.Sort(run.Tags)

	path := filepath.Join(t.TempDir(), "odd name?#%20&mode=ro.db")
	store := openStore(t, path)
	if err := store.Begin(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	for _, r := range []results.Record{empty, full} {
		if err := store.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 1 || names[0].Name() != filepath.Base(path) {
		t.Errorf("left behind after Close: %v", names)
	}

	reopened, err := sqlite.OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer reopened.Close()
	gotRun, records, err := reopened.Run(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	counts := results.Counts{OK: 1, Failed: 1, Planned: results.PlannedCells(run.Plan)}
	if gotRun.Counts == nil || *gotRun.Counts != counts {
		t.Errorf("counts = %+v, want %+v", gotRun.Counts, counts)
	}
	gotRun.Counts = nil
	// What may be a secret is not written.
	run.Plan, full.Topology = run.Plan.Redacted(), full.Topology.Redacted()
	equal(t, "run", gotRun, run)
	if len(records) != 2 {
		t.Fatalf("%d records, want 2", len(records))
	}
	equal(t, "record without figures", records[0], empty)
	equal(t, "latency", records[1].Latency.Percentile(50), full.Latency.Percentile(50))
	records[1].Latency, full.Latency = nil, nil // compared above; inside it holds scratch space
	equal(t, "full record", records[1], full)

	if err := reopened.Put(t.Context(), cell("one", results.StatusOK, 8)); err == nil {
		t.Error("a store opened for reading took a record")
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

func TestDone(t *testing.T) {
	store := openStore(t, filepath.Join(t.TempDir(), "s.db"))
	begin(t, store, "one")
	begin(t, store, "two")
	put := func(status string, want error) {
		t.Helper()
		if err := store.Put(t.Context(), cell("one", status, 1)); !errors.Is(err, want) {
			t.Fatalf("Put %s: %v, want %v", status, err, want)
		}
	}
	done := func(run string, repeat int, want bool) {
		t.Helper()
		got, err := store.Done(run, "flask", cell(run, "", repeat).Cell)
		if err != nil || got != want {
			t.Fatalf("Done of %s, repeat %d: %v, %v; want %v", run, repeat, got, err, want)
		}
	}
	done("one", 1, false)
	put(results.StatusFailed, nil)
	done("one", 1, false)
	put(results.StatusFailed, nil)
	put(results.StatusOK, nil)
	done("one", 1, true)
	done("one", 2, false)
	done("two", 1, false)
	put(results.StatusFailed, results.ErrHeld)
	put(results.StatusOK, nil) // the same measurement, with what is known since
	later := cell("one", results.StatusOK, 1)
	later.Started = later.Started.Add(time.Hour)
	if err := store.Put(t.Context(), later); !errors.Is(err, results.ErrHeld) {
		t.Errorf("another measurement over an ok one: %v, want ErrHeld", err)
	}
	_, records, err := store.Run(t.Context(), "one")
	if err != nil || len(records) != 1 || records[0].Status != results.StatusOK {
		t.Fatalf("the run holds %+v (%v), want its one cell as ok", records, err)
	}
	if err := store.Put(t.Context(), cell("three", results.StatusOK, 1)); !errors.Is(err, results.ErrNoRun) {
		t.Errorf("Put into a run that never began: %v, want ErrNoRun", err)
	}
}

func TestRunLifecycle(t *testing.T) {
	ctx := t.Context()
	store := openStore(t, filepath.Join(t.TempDir(), "s.db"))
	begin(t, store, "one")
	if err := store.Begin(ctx, results.Run{ID: "one"}); err == nil {
		t.Error("the same run began twice")
	}
	for range 2 {
		if err := store.Spent(ctx, "one", results.PhaseMeasure, 1500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	images := map[string]string{"flask/app": "sha256:1", "load client": "sha256:2"}
	if err := store.Images(ctx, "one", images); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(99, 0).UTC()
	if err := store.Finish(ctx, "one", results.OutcomeInterrupted, at); err != nil {
		t.Fatal(err)
	}
	run, _, err := store.Run(ctx, "")
	if err != nil || run.Outcome != results.OutcomeInterrupted || run.Finished == nil || !run.Finished.Equal(at) ||
		run.Spent[results.PhaseMeasure] != 3 {
		t.Fatalf("finished run = %+v (%v)", run, err)
	}
	if err := store.Resume(ctx, "one", scenarios.Plan{Thresholds: []string{"errors == 0"}}, "another process"); err != nil {
		t.Fatal(err)
	}
	run, _, err = store.Run(ctx, "")
	if err != nil || run.Outcome != "" || run.Finished != nil || run.Spent[results.PhaseMeasure] != 3 || !maps.Equal(run.Images, images) || len(run.Plan.Thresholds) != 1 {
		t.Fatalf("resumed run = %+v (%v)", run, err)
	}
	for name, err := range map[string]error{
		"Spent":  store.Spent(ctx, "none", "x", 1),
		"Images": store.Images(ctx, "none", images),
		"Finish": store.Finish(ctx, "none", "ok", at),
		"Resume": store.Resume(ctx, "none", scenarios.Plan{}, "another process"),
	} {
		if !errors.Is(err, results.ErrNoRun) {
			t.Errorf("%s of a run that is not there: %v, want ErrNoRun", name, err)
		}
	}
}

// TestByID reads one run, and none of the others: one whose plan cannot be read
// is not in its way. The beginning of an id is none.
func TestByID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	store := openStore(t, path)
	for _, id := range []string{"one", "two"} {
		if err := store.Begin(t.Context(), results.Run{ID: id, Scenario: "nightly", Started: time.Unix(1, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "UPDATE runs SET plan = '[]' WHERE id = 'two'"); err != nil {
		t.Fatal(err)
	}
	if run, err := store.ByID(t.Context(), "one"); err != nil || run.ID != "one" || run.Scenario != "nightly" || run.Counts == nil {
		t.Errorf("one: %+v, %v", run, err)
	}
	if _, err := store.ByID(t.Context(), "two"); err == nil || errors.Is(err, results.ErrNoRun) {
		t.Errorf("a plan that cannot be read: %v", err)
	}
	for _, id := range []string{"on", "", "latest"} {
		if _, err := store.ByID(t.Context(), id); !errors.Is(err, results.ErrNoRun) {
			t.Errorf("%q: %v, want ErrNoRun", id, err)
		}
	}
}

func TestFindRun(t *testing.T) {
	store := openStore(t, filepath.Join(t.TempDir(), "s.db"))
	if _, _, err := store.Run(t.Context(), ""); !errors.Is(err, results.ErrNoRun) {
		t.Fatalf("latest of none: %v, want ErrNoRun", err)
	}
	for i, id := range []string{"20260101-aa", "20260102-bb", "20260102-b", "20260102-bc", "50%_x"} {
		if err := store.Begin(t.Context(), results.Run{ID: id, Started: time.Unix(int64(i), 0)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, which, want string }{
		{"empty is the latest", "", "50%_x"},
		{"latest", results.Latest, "50%_x"},
		{"unique beginning", "20260101", "20260101-aa"},
		{"exact beats longer ones", "20260102-b", "20260102-b"},
		{"ambiguous", "20260102", ""},
		{"unknown", "2027", ""},
		{"wildcards are letters", "%", ""},
		{"an end is no beginning", "aa", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			run, _, err := store.Run(t.Context(), test.which)
			if test.want == "" {
				if !errors.Is(err, results.ErrNoRun) {
					t.Errorf("found %q (%v), want ErrNoRun", run.ID, err)
				}
				return
			}
			if err != nil || run.ID != test.want {
				t.Errorf("found %q (%v), want %q", run.ID, err, test.want)
			}
		})
	}
	runs, err := store.Runs(t.Context())
	if err != nil || len(runs) != 5 || runs[0].ID != "50%_x" || runs[4].ID != "20260101-aa" {
		t.Errorf("runs = %v (%v), want the last one first", runs, err)
	}
}

func TestRefusesAndLeavesAlone(t *testing.T) {
	whole := wholeStore(t)
	foreign := foreignDatabase(t)
	truncated := func(to int) []byte { return whole[:to] }
	scribbled := func(from, to int) []byte {
		b := bytes.Clone(whole)
		for i := from; i < to; i++ {
			b[i] = 0xa5
		}
		return b
	}
	newer := bytes.Clone(whole)
	copy(newer[60:64], []byte{0, 0, 0, 99}) // user_version
	for _, test := range []struct {
		name    string
		content []byte
		want    error
	}{
		{"text", []byte("name: quickstart\n"), results.ErrForeign},
		{"a byte", []byte("S"), results.ErrForeign},
		{"zeros", make([]byte, 8192), results.ErrForeign},
		{"another program's database", foreign, results.ErrForeign},
		{"a newer schema", newer, results.ErrNewer},
		{"cut in the header", truncated(50), nil},
		{"cut in the first page", truncated(1000), nil},
		{"cut at a page", truncated(4096), results.ErrDamaged},
		{"half of it", truncated(len(whole) / 2), results.ErrDamaged},
		{"the last byte missing", truncated(len(whole) - 1), results.ErrDamaged},
		{"the last page missing", truncated(len(whole) - 4096), results.ErrDamaged},
		{"pages overwritten", scribbled(4096, len(whole)), results.ErrDamaged},
		{"schema overwritten", scribbled(100, 4096), results.ErrDamaged},
		{"header overwritten", scribbled(0, 100), results.ErrForeign},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s.db")
			if err := os.WriteFile(path, test.content, 0o644); err != nil {
				t.Fatal(err)
			}
			store, err := sqlite.Open(t.Context(), path)
			if err == nil {
				store.Close()
				t.Fatal("opened")
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "left as it is") {
				t.Errorf("error %q does not name the file and say that it was left as it is", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, test.content) {
				t.Errorf("the file was changed (%v)", err)
			}
			if names, _ := os.ReadDir(filepath.Dir(path)); len(names) != 1 {
				t.Errorf("files beside it: %v", names)
			}
		})
	}
}

func TestOpenRefusesPlaces(t *testing.T) {
	folder := t.TempDir()
	if _, err := sqlite.Open(t.Context(), folder); err == nil {
		t.Error("opened a folder")
	}
	if _, err := sqlite.Open(t.Context(), filepath.Join(folder, "none", "s.db")); err == nil {
		t.Error("opened a file in a folder that is not there")
	}
	missing := filepath.Join(folder, "s.db")
	if _, err := sqlite.OpenReadOnly(t.Context(), missing); err == nil {
		t.Error("opened a missing file for reading")
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening for reading made the file (%v)", err)
	}
}

// TestReadsDamaged: of a damaged store what can be read is read.
func TestReadsDamaged(t *testing.T) {
	content := wholeStore(t)
	path := filepath.Join(t.TempDir(), "s.db")
	for i := len(content) - 4096; i < len(content); i++ {
		content[i] = 0
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), path); !errors.Is(err, results.ErrDamaged) {
		t.Fatalf("Open: %v, want ErrDamaged", err)
	}
	store, err := sqlite.OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	run, records, err := store.Run(t.Context(), "one")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if run.ID != "one" || len(records) == 0 {
		t.Errorf("read run %q and %d records (%v), want those before the damage", run.ID, len(records), err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, content) {
		t.Errorf("the file was changed (%v)", err)
	}
}

// wholeStore is the bytes of a store with some pages of cells.
func wholeStore(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.db")
	store := openStore(t, path)
	begin(t, store, "one")
	for i := range 40 {
		r := cell("one", results.StatusFailed, i+1)
		r.LogTail = strings.Repeat("log ", 500)
		if err := store.Put(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
