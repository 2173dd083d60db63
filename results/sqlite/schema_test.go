package sqlite

import (
	"context"
	"errors"
	"path/filepath"
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
		if _, err := open(ctx, path); !errors.Is(err, ErrNewer) {
			t.Errorf("%s of a store with a migration that is not known here: %v, want ErrNewer", name, err)
		}
	}
}

// TestOlderStore opens a store of the first schema, with a record in it: what
// that did not hold is missing, not 0, and the next record has it.
func TestOlderStore(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "s.db")
	old, err := open(path, "rwc", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.prepare(ctx, migrations()[:1]); err != nil {
		t.Fatal(err)
	}
	if _, err := old.db.ExecContext(ctx, `
		INSERT INTO runs (id, scenario, file, started, outcome, runtime, host, plan, fingerprint, owner)
		VALUES ('old', 's', '', '1970-01-01T00:00:01.000000000Z', 'ok', '', '{}', '{}', '', '');
		INSERT INTO facts (sha256, json) VALUES ('f', '{"name": "flask"}');
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
}
