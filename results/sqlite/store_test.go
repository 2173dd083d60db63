package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/sqlite"
	"stackmeter/results/storetest"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/history"
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

// TestStore runs the conformance suite.
func TestStore(t *testing.T) {
	paths := map[results.Store]string{}
	storetest.Run(t, storetest.Bench{
		Open: func(t *testing.T) results.Store {
			path := filepath.Join(t.TempDir(), "s.db")
			store := openStore(t, path)
			paths[store] = path
			return store
		},
		Again: func(t *testing.T, store results.Store) results.Store { return openStore(t, paths[store]) },
	})
}

// TestInMemory runs the conformance suite on a store that is no file.
func TestInMemory(t *testing.T) {
	storetest.Run(t, storetest.Bench{Open: func(t *testing.T) results.Store {
		store, err := sqlite.OpenInMemory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return store
	}})
}

// TestOneFile: whatever a store's name, its file is all there is of it, and can
// be read alone.
func TestOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd name?#%20&mode=ro.db")
	store := openStore(t, path)
	begin(t, store, "one")
	if err := store.Put(t.Context(), storetest.Record("one", results.StatusOK, 1)); err != nil {
		t.Fatal(err)
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
	reader, err := sqlite.OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if run, records, err := reader.Run(t.Context(), "one"); err != nil || run.ID != "one" || len(records) != 1 {
		t.Errorf("run %s with %d records (%v)", run.ID, len(records), err)
	}
	if err := reader.Put(t.Context(), storetest.Record("one", results.StatusOK, 8)); err == nil {
		t.Error("a store opened for reading took a record")
	}
}

// TestByIDReadsOneRun: another run whose plan cannot be read is not in its way.
func TestByIDReadsOneRun(t *testing.T) {
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
	early := bytes.Clone(whole)
	copy(early[60:64], []byte{0, 0, 0, 6})
	copy(early[68:72], "stkm") // application_id
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
		{"a schema of before the first release", early, nil},
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
			if bytes.Equal(test.content, early) {
				if _, reading := sqlite.OpenReadOnly(t.Context(), path); reading == nil || reading.Error() != err.Error() || !strings.Contains(err.Error(), "from before its first release") {
					t.Errorf("to write: %v; to read: %v", err, reading)
				}
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
		r := storetest.Record("one", results.StatusFailed, i+1)
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

// TestMemoryOfManyCells bounds what a record that was read holds on to: what it has in
// common with others is there once, and a histogram keeps no empty counts.
func TestMemoryOfManyCells(t *testing.T) {
	store := openStore(t, filepath.Join(t.TempDir(), "s.db"))
	const cells = 2000
	var records []results.Record
	for i := range cells {
		r := storetest.Record("many", results.StatusOK, i+1)
		r.Stack = &results.Stack{Proxy: strings.Repeat("x", 20_000)}
		r.Latency = new(load.Latency)
		for j := range 100 {
			r.Latency.Record(time.Duration(j*j+1) * time.Millisecond)
		}
		records = append(records, r)
	}
	if err := store.Import(t.Context(), results.Run{ID: "many", Scenario: "many", Started: time.Unix(1, 0)}, records); err != nil {
		t.Fatal(err)
	}
	records = nil
	live := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := live()
	_, read, err := store.Run(t.Context(), "many")
	if err != nil || len(read) != cells {
		t.Fatal(len(read), err)
	}
	if each := (live() - before) / cells; each > 8<<10 {
		t.Errorf("a record takes %d bytes", each)
	}
	runtime.KeepAlive(read)
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
			r := storetest.Record(id, results.StatusOK, 1)
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
			if c := verdict.CompareRuns(base, head, before, after); len(c.Cells) != 10_000 {
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
			if h := history.New("nightly", duration, runs, observations); len(h.Cells) != 333 {
				b.Fatal(len(h.Cells))
			}
		}
	})
}

// BenchmarkMillion lists runs, and reads one and its history, beside a thousand cells and
// beside a million.
func BenchmarkMillion(b *testing.B) {
	storetest.Million(b, "sqlite", func(b *testing.B) (results.Store, string, error) {
		path := filepath.Join(b.TempDir(), "s.db")
		store, err := sqlite.Open(b.Context(), path)
		return store, path, err
	})
}
