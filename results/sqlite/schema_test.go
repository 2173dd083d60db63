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
	steps := append(migrations(), "ALTER TABLE runs ADD COLUMN tag TEXT")
	broken := append(migrations(), "ALTER TABLE runs ADD COLUMN tag TEXT; ALTER TABLE nonsense ADD COLUMN x TEXT")

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
	if err := store.db.QueryRowContext(ctx, "SELECT count(*) FROM runs WHERE tag IS NULL AND id = 'old'").Scan(&tagged); err != nil || tagged != 1 {
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
