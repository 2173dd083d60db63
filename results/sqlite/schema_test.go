package sqlite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackmeter/results"
)

// TestMigrate opens a store with one more migration than it has been through.
func TestMigrate(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "s.db")
	store, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Begin(ctx, results.Run{ID: "old", Started: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	current := len(migrations())
	steps := append(migrations(), "ALTER TABLE runs ADD COLUMN shade TEXT")
	broken := append(migrations(), "ALTER TABLE runs ADD COLUMN shade TEXT; ALTER TABLE nonsense ADD COLUMN x TEXT")

	if err := store.prepare(ctx, broken); err == nil {
		t.Fatal("a broken step passed")
	}
	if version, err := store.version(ctx); err != nil || version != current {
		t.Fatalf("version %d (%v) after a broken step, want %d", version, err, current)
	}
	if err := store.prepare(ctx, steps); err != nil {
		t.Fatal(err)
	}
	if version, err := store.version(ctx); err != nil || version != current+1 {
		t.Fatalf("version %d (%v), want %d", version, err, current+1)
	}
	var tagged int
	if err := store.db.QueryRowContext(ctx, "SELECT count(*) FROM runs WHERE shade IS NULL AND id = 'old'").Scan(&tagged); err != nil || tagged != 1 {
		t.Errorf("the old run is not there after the migration (%d, %v)", tagged, err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(context.Context, string) (*Store, error){"Open": Open, "OpenReadOnly": OpenReadOnly} {
		if _, err := open(ctx, path); !errors.Is(err, results.ErrNewer) {
			t.Errorf("%s of a store with a migration that is not known here: %v, want ErrNewer", name, err)
		}
	}
}

// olderSchema makes a store that went through that many migrations, with the
// run old and the facts f of a topology in it.
func olderSchema(t *testing.T, path string, version int) *Store {
	t.Helper()
	old, err := open(path, "rwc", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.prepare(t.Context(), migrations()[:version]); err != nil {
		t.Fatal(err)
	}
	if _, err := old.db.ExecContext(t.Context(), `
		INSERT INTO runs (id, scenario, file, started, outcome, runtime, host, plan, fingerprint, owner)
		VALUES ('old', 's', '', '1970-01-01T00:00:01.000000000Z', 'ok', '', '{}', '{}', '', '');
		INSERT INTO facts (sha256, json) VALUES ('f', '{"name": "flask"}')`); err != nil {
		t.Fatal(err)
	}
	return old
}

// TestOlderStore opens a store of the first schema, with a record in it: what
// that did not hold is missing, not 0, and the next record has it.
func TestOlderStore(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "s.db")
	old := olderSchema(t, path, 1)
	if _, err := old.db.ExecContext(ctx, `
		INSERT INTO cells (run, cell, repeat, topology, server, nginx, client, pool, requests, keepalive, started, status, reason, log_tail, memory_peak_bytes, memory_samples, topology_facts)
		VALUES ('old', 'flask/single/n1', 1, 'flask', 'flask', 0, 'single', 1, 1, 0, '2026-01-01T00:00:00.000000000Z', 'ok', '', '', 7, 3, 'f')`); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	store, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	_, records, err := store.Run(ctx, "old")
	if err != nil || len(records) != 1 {
		t.Fatalf("%d records (%v), want the old one", len(records), err)
	}
	if m := records[0].Memory; m.Peak == nil || *m.Peak != 7 || m.Series != nil || records[0].CPU.Machine != nil {
		t.Errorf("memory of the old record: %+v", m)
	}
	pruned := records[0]
	pruned.Cell.Repeat, pruned.Status, pruned.Reason, pruned.Memory = 2, results.StatusPruned, "not started", results.Memory{}
	failed := records[0]
	failed.Cell.Repeat, failed.Status, failed.OutOfMemory = 3, results.StatusFailed, results.MemoryGPU
	for _, r := range []results.Record{pruned, failed} {
		if err := store.Put(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	run, records, err := store.Run(ctx, "old")
	if err != nil || len(records) != 3 {
		t.Fatalf("%d records (%v), want the old one and two more", len(records), err)
	}
	for _, r := range records {
		if r.Cell.Repeat == 2 && (r.Status != results.StatusPruned || r.Memory.Samples != 0) || r.Cell.Repeat == 3 && r.OutOfMemory != results.MemoryGPU {
			t.Errorf("repeat %d: %+v", r.Cell.Repeat, r)
		}
	}
	if c := run.Counts; c.OK != 1 || c.Failed != 1 || c.Pruned != 1 {
		t.Errorf("counts %+v", c)
	}
	var numbers int
	if err := store.db.QueryRowContext(ctx, `SELECT count(*) FROM cells WHERE status = 'pruned' AND coalesce(duration_s, throughput_rps, replies, errors,
		latency_p50_s, gpu_peak_bytes, gpu_samples, memory_peak_bytes, memory_samples, cpu_stack_s, bytes_sent, start_s) IS NOT NULL`).Scan(&numbers); err != nil || numbers != 0 {
		t.Errorf("%d pruned rows with a number (%v)", numbers, err)
	}
	var violations int
	if err := store.db.QueryRowContext(ctx, "SELECT count(*) FROM pragma_foreign_key_check").Scan(&violations); err != nil || violations != 0 {
		t.Errorf("%d rows refer to nothing after the migration (%v)", violations, err)
	}
	broken := records[0]
	broken.Cell.Repeat, broken.Status = 4, "spared"
	if err := store.Put(ctx, broken); err == nil {
		t.Error("the store took a status that does not exist")
	}
}

// TestOlderStoreKeepsEverything moves cells of the fourth schema, the last one
// without the status pruned, to the newest: every value is in its column.
func TestOlderStoreKeepsEverything(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "s.db")
	old := olderSchema(t, path, 4)
	// A value of its own in each column.
	values := map[string]string{"run": "'old'", "topology_facts": "'f'", "stack_facts": "'f'", "status": "'failed'"}
	columns := columnsOf(t, old)
	var names, given []string
	for i, c := range columns {
		if values[c.name] == "" {
			values[c.name] = map[string]string{"TEXT": "'t%d'", "INTEGER": "%d", "REAL": "%d.5", "BLOB": "x'%02x'"}[c.kind]
			values[c.name] = fmt.Sprintf(values[c.name], i)
		}
		names, given = append(names, c.name), append(given, values[c.name])
	}
	if _, err := old.db.ExecContext(ctx, "INSERT INTO cells ("+strings.Join(names, ", ")+") VALUES ("+strings.Join(given, ", ")+")"); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	store, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for i, name := range names {
		var same bool
		if err := store.db.QueryRowContext(ctx, "SELECT "+name+" IS "+given[i]+" FROM cells").Scan(&same); err != nil || !same {
			t.Errorf("%s is no longer %s (%v)", name, given[i], err)
		}
	}
	if now := columnsOf(t, store); len(now) != len(columns)+1 {
		t.Errorf("%d columns, want those %d and out_of_memory", len(now), len(columns))
	}
}

type columnOf struct{ name, kind string }

// columnsOf are the columns of a store's cells, in their order.
func columnsOf(t *testing.T, s *Store) []columnOf {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), "SELECT name, type FROM pragma_table_info('cells')")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []columnOf
	for rows.Next() {
		var c columnOf
		if err := rows.Scan(&c.name, &c.kind); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
