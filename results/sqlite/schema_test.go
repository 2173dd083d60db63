package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/sqlstore"
	"stackmeter/results/storetest"
)

// secondStep is a step that a later version may have.
const secondStep = `ALTER TABLE cells ADD COLUMN shade TEXT; UPDATE cells SET shade = 'grey'`

// firstSchema makes a store of the first schema with a run of one cell in it, in a
// folder of its own, and returns what is in the file.
func firstSchema(t *testing.T) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "nightly.db")
	store, err := openToWrite(t.Context(), path, schema())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		store.Begin(t.Context(), results.Run{ID: "old", Scenario: "nightly", Started: time.Unix(1, 0)}),
		store.Put(t.Context(), storetest.Record("old", results.StatusOK, 1)),
		store.Close()); err != nil {
		t.Fatal(err)
	}
	if content, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// shades is how many cells of a store went through the second step.
func shades(t *testing.T, store *Store) (n int) {
	t.Helper()
	if err := (file{store}).Read(t.Context(), func(tx sqlstore.Tx) error {
		return tx.Conn.QueryRowContext(t.Context(), "SELECT count(*) FROM cells WHERE shade = 'grey'").Scan(&n)
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func twoSteps() []string { return append(schema(), secondStep) }

// TestStoreOfTheFirstSchema: a store from before topologies had axes of all kinds is
// read as it is, and written once it has their column.
func TestStoreOfTheFirstSchema(t *testing.T) {
	path, _ := firstSchema(t)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"ALTER TABLE cells DROP COLUMN axes", "ALTER TABLE cells DROP COLUMN of", "ALTER TABLE runs DROP COLUMN lanes", "ALTER TABLE runs DROP COLUMN answers", "DROP INDEX cells_by_fingerprint", "ALTER TABLE cells DROP COLUMN fingerprint", "ALTER TABLE cells DROP COLUMN reused", "DROP TABLE counts", "CREATE INDEX cells_by_status ON cells (run, status)", "PRAGMA user_version = 1",
		`UPDATE facts SET json = '{"name": "nginx+flask", "server": "flask", "nginx": true}' WHERE sha256 = (SELECT topology_facts FROM cells)`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, open := range []func(context.Context, string, []string) (*Store, error){openToRead, openToWrite} {
		store, err := open(t.Context(), path, schema())
		if err != nil {
			t.Fatal(err)
		}
		run, records, err := store.Run(t.Context(), "old")
		if err != nil || len(records) != 1 || !records[0].Topology.Nginx() || records[0].Topology.Axes["proxy"] != "nginx" || *run.Counts != (results.Counts{OK: 1}) {
			t.Errorf("%+v, counts %+v (%v)", records, run.Counts, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMigrate opens a store with one more step than it has been through.
func TestMigrate(t *testing.T) {
	ctx := t.Context()
	path, content := firstSchema(t)
	broken := append(twoSteps(), "ALTER TABLE nonsense ADD COLUMN x TEXT")
	if _, err := openToWrite(ctx, path, broken); err == nil {
		t.Fatal("a broken step passed")
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, content) {
		t.Errorf("a broken step changed the file (%v)", err)
	}
	store, err := openToWrite(ctx, path, twoSteps())
	if err != nil {
		t.Fatal(err)
	}
	if n := shades(t, store); n != 1 {
		t.Errorf("%d cells went through the step, want 1", n)
	}
	if err := errors.Join(store.Put(ctx, storetest.Record("old", results.StatusOK, 2)), store.Close()); err != nil {
		t.Fatal(err)
	}
	if store, err = openToWrite(ctx, path, twoSteps()); err != nil {
		t.Fatal(err)
	}
	if run, records, err := store.Run(ctx, "old"); err != nil || run.Scenario != "nightly" || len(records) != 2 || shades(t, store) != 1 {
		t.Errorf("opened once more it has the run %+v with %d records (%v)", run, len(records), err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(context.Context, string, []string) (*Store, error){"to write": openToWrite, "to read": openToRead} {
		if _, err := open(ctx, path, schema()); !errors.Is(err, results.ErrNewer) {
			t.Errorf("opened %s by a version that does not know the step: %v, want ErrNewer", name, err)
		}
	}
}

// TestReadsOlderSchema reads a store of an older schema without changing it,
// backs it up as it is, and sees what is added by someone who migrates it
// meanwhile.
func TestReadsOlderSchema(t *testing.T) {
	ctx := t.Context()
	path, content := firstSchema(t)
	reader, err := openToRead(ctx, path, twoSteps())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, records, err := reader.Run(ctx, "old"); err != nil || len(records) != 1 || shades(t, reader) != 1 {
		t.Errorf("%d records (%v)", len(records), err)
	}
	if err := reader.Tag(ctx, "old", "release"); err == nil {
		t.Error("a store that is open for reading took a tag")
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := reader.Backup(ctx, copied); err != nil {
		t.Error(err)
	}
	again, err := openToRead(ctx, copied, schema())
	if err != nil {
		t.Fatal(err)
	}
	if _, records, err := again.Run(ctx, "old"); err != nil || len(records) != 1 {
		t.Errorf("the backup has %d records (%v)", len(records), err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, content) {
		t.Errorf("reading changed the file (%v)", err)
	}
	if beside, err := os.ReadDir(filepath.Dir(path)); err != nil || len(beside) != 1 {
		t.Errorf("beside the store lies %v (%v)", beside, err)
	}

	writer, err := openToWrite(ctx, path, twoSteps())
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := writer.Put(ctx, storetest.Record("old", results.StatusOK, 2)); err != nil {
		t.Fatal(err)
	}
	if _, records, err := reader.Run(ctx, "old"); err != nil || len(records) != 2 {
		t.Errorf("the reader sees %d records (%v) after one more was written, want 2", len(records), err)
	}
}

// TestColumns: a row has NULL for what was not measured, 0 for a figure that is
// 0, and no statuses but those that exist.
func TestColumns(t *testing.T) {
	ctx := t.Context()
	store, err := Open(ctx, filepath.Join(t.TempDir(), "s.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Begin(ctx, results.Run{ID: "one", Started: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	second, none := 1.0, int64(0)
	idle := storetest.Record("one", results.StatusOK, 2)
	idle.Duration, idle.GPU.Peak, idle.GPU.Validity = &second, &none, "valid"
	for _, r := range []results.Record{storetest.Record("one", results.StatusPruned, 1), idle} {
		if err := store.Put(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Put(ctx, storetest.Record("one", "spared", 3)); err == nil {
		t.Error("the store took a status that does not exist")
	}
	for where, want := range map[string]int{
		`repeat = 1 AND coalesce(duration_s, throughput_rps, replies, errors, latency_p50_s, gpu, gpu_peak_bytes, gpu_samples,
			memory_peak_bytes, memory_samples, cpu_stack_s, bytes_sent, load, start_s, workers, flags) IS NULL`: 1,
		"repeat = 2 AND throughput_rps = 0 AND errors = 0 AND gpu_peak_bytes = 0 AND gpu_stack_peak_bytes IS NULL": 1,
		"stack_facts IS NOT NULL": 0,
	} {
		var rows int
		if err := store.db.QueryRowContext(ctx, "SELECT count(*) FROM cells WHERE "+where).Scan(&rows); err != nil || rows != want {
			t.Errorf("%d rows where %s (%v), want %d", rows, where, err, want)
		}
	}
}

// TestNewFigure opens a store of a stackmeter that did not know a figure: it gets
// the column, with the figure of the records that are there, and is read with it
// before that.
func TestNewFigure(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "nightly.db")
	store, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	record, second := storetest.Record("old", results.StatusOK, 1), 2.0
	record.Duration, record.Replies = &second, 10
	if err := errors.Join(
		store.Begin(ctx, results.Run{ID: "old", Scenario: "nightly", Started: time.Unix(1, 0)}),
		store.Put(ctx, record)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.db.ExecContext(ctx, "ALTER TABLE cells DROP COLUMN throughput_rps"); err != nil {
		t.Fatal(err)
	}
	throughput := func(open func(context.Context, string) (*Store, error)) {
		t.Helper()
		store, err := open(ctx, path)
		if err != nil {
			t.Fatal(err)
		}
		_, observed, err := store.History(ctx, "nightly", "", results.MetricThroughput, 1)
		if err := errors.Join(err, store.Close()); err != nil || len(observed) != 1 || observed[0].Value == nil || *observed[0].Value != 5 {
			t.Errorf("%+v (%v)", observed, err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	throughput(OpenReadOnly)
	throughput(Open)
	throughput(OpenReadOnly)
}
