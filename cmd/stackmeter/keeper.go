package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/sqlite"
)

// A keeper is the store of a run. Nobody can measure a cell again as it was, so
// what cannot be stored is written to a file that stackmeter import reads.
type keeper struct {
	*sqlite.Store
	db   string
	run  results.Run      // once it has begun
	lost []results.Record // that are not stored
}

func (k *keeper) Put(ctx context.Context, r results.Record) error {
	err := k.Store.Put(ctx, r)
	if err == nil || errors.Is(err, results.ErrHeld) {
		return err
	}
	k.lost = slices.DeleteFunc(k.lost, func(o results.Record) bool { return o.Key() == r.Key() })
	k.lost = append(k.lost, r)
	run, records := k.run, k.lost
	if errors.Is(err, results.ErrMoved) {
		// The file is open, and has what was stored before.
		if all, stored, err := k.Store.Run(ctx, run.ID); err == nil {
			run, records = all, append(stored, records...)
		}
	}
	file, failed := keep(k.db, run, records)
	if failed != nil {
		return fmt.Errorf("%w\nthe record could not be kept in a file either: %v", err, failed)
	}
	return fmt.Errorf("%w\nthe record is kept in %s; once the store can be written, `stackmeter import %s --db %s` adds it", err, file, file, k.db)
}

// keep writes a run to a file beside the store, or else to where there is room.
func keep(db string, run results.Run, records []results.Record) (file string, failed error) {
	for _, folder := range []string{filepath.Dir(db), ".", os.TempDir()} {
		file = filepath.Join(folder, fmt.Sprintf("%s.%s.json", filepath.Base(db), run.ID))
		err := replace(file, func(w io.Writer) error { return exchange.WriteJSON(w, run, records) })
		if err == nil {
			return file, nil
		}
		failed = errors.Join(failed, err)
	}
	return "", failed
}
