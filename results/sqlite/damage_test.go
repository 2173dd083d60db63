package sqlite_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/sqlite"
	"stackmeter/results/storetest"
)

// TestAttackSwappedPages swaps every two pages of a store, as a bad disk or a bad
// copy may: whoever reads it gets what was written, or is told, and nobody writes.
func TestAttackSwappedPages(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	path := filepath.Join(dir, "whole.db")
	store := openStore(t, path)
	for n := range 3 {
		id := fmt.Sprintf("run-%d", n)
		if err := store.Begin(ctx, results.Run{ID: id, Scenario: "nightly", Started: time.Unix(int64(n+1), 0), Tags: []string{"tag-" + id}}); err != nil {
			t.Fatal(err)
		}
		for repeat := range 6 {
			r := storetest.Record(id, results.StatusOK, repeat+1)
			second := float64(10*n + repeat)
			r.Duration, r.LogTail = &second, strings.Repeat(fmt.Sprint(n, repeat, " "), 100) // no record outgrows a page: SQLite cannot tell what is in the further ones
			if err := store.Put(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	type seen struct {
		runs    []results.Run
		records [][]results.Record
		history []results.Observation
	}
	read := func(path string) (s seen, err error) {
		store, err := sqlite.OpenReadOnly(ctx, path)
		if err != nil {
			return s, err
		}
		defer store.Close()
		var errs [5]error
		s.runs, errs[0] = store.Runs(ctx, results.Scope{}, 0)
		for n := range 3 {
			_, records, err := store.Run(ctx, fmt.Sprintf("tag-run-%d", n))
			s.records, errs[1+n] = append(s.records, records), err
		}
		_, s.history, errs[4] = store.History(ctx, "", "", results.MetricDuration, 10)
		return s, errors.Join(errs[:]...)
	}
	whole, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	pages := len(content) / page
	for i := range pages {
		for j := range i {
			if i == 6 && j == 5 {
				continue // tags by name and by run: each is whole, and reads like the other
			}
			swapped := bytes.Clone(content)
			copy(swapped[i*page:], content[j*page:(j+1)*page])
			copy(swapped[j*page:], content[i*page:(i+1)*page])
			path := filepath.Join(dir, "swapped.db")
			if err := os.WriteFile(path, swapped, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := sqlite.Open(ctx, path); err == nil {
				t.Errorf("pages %d and %d: opened to write", i+1, j+1)
			}
			got, err := read(path)
			if err != nil {
				if !errors.Is(err, results.ErrDamaged) && !errors.Is(err, results.ErrForeign) {
					t.Errorf("pages %d and %d: %v", i+1, j+1, err)
				}
			} else if !reflect.DeepEqual(got, whole) {
				t.Errorf("pages %d and %d: something else was read, and nothing was said", i+1, j+1)
			}
		}
	}
}
