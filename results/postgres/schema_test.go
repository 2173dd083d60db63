package postgres

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/postgres/pgtest"
	"stackmeter/results/sqlstore"
	"stackmeter/results/storetest"
)

// twoSteps are the steps with one that a later version may have.
func twoSteps() []string {
	return append(schema(), `ALTER TABLE cells ADD COLUMN shade text; UPDATE cells SET shade = 'grey'`)
}

// TestMigrate has several processes open, at once, a database without tables, and then
// one whose tables lack a step and a figure: it is migrated once, and all can write. A
// step that fails changes nothing.
func TestMigrate(t *testing.T) {
	ctx, server := t.Context(), pgtest.Start(t)
	url := server.Database()
	several := func(steps []string) {
		t.Helper()
		var opening sync.WaitGroup
		for range 6 {
			opening.Go(func() {
				store, err := open(ctx, url, false, steps)
				if err == nil {
					err = store.Close()
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		opening.Wait()
	}
	several(schema())
	store, err := Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	record := storetest.Record("old", results.StatusOK, 1)
	record.Duration, record.Replies = new(2.0), 10
	if err := errors.Join(store.Begin(ctx, results.Run{ID: "old", Scenario: "nightly", Started: time.Unix(1, 0)}), store.Put(ctx, record), store.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := open(ctx, url, false, append(twoSteps(), "ALTER TABLE nonsense ADD COLUMN x text")); err == nil {
		t.Fatal("a broken step passed")
	}
	server.Exec(url, "ALTER TABLE cells DROP COLUMN throughput_rps")
	several(twoSteps())
	store, err = open(ctx, url, false, twoSteps())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	grey := 0
	if err := (database{store}).Read(ctx, func(tx sqlstore.Tx) error {
		return tx.Conn.QueryRowContext(ctx, "SELECT count(*) FROM cells WHERE shade = 'grey'").Scan(&grey)
	}); err != nil || grey != 1 {
		t.Errorf("%d cells went through the step (%v), want 1", grey, err)
	}
	if _, observed, err := store.History(ctx, "nightly", "", results.MetricThroughput, 1); err != nil || len(observed) != 1 || observed[0].Value == nil || *observed[0].Value != 5 {
		t.Errorf("%+v (%v)", observed, err)
	}
	if err := store.Put(ctx, storetest.Record("old", results.StatusOK, 2)); err != nil {
		t.Error(err)
	}
	for _, open := range []func(context.Context, string) (*Store, error){Open, OpenReadOnly} {
		if _, err := open(ctx, url); !errors.Is(err, results.ErrNewer) {
			t.Errorf("opened by a version that does not know the step: %v, want ErrNewer", err)
		}
	}
}

// TestOldServer: a server that lacks what a lost connection needs is refused before
// anything is written.
func TestOldServer(t *testing.T) {
	for number, refused := range map[int]bool{96_024: true, 130_023: true, 140_000: false, 180_001: false} {
		if err := oldServer(number); errors.Is(err, ErrName) != refused || !refused && err != nil {
			t.Errorf("%d: %v", number, err)
		}
	}
}
