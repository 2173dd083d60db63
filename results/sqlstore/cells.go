package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stackmeter/results"
)

// Put writes a record.
func (s *Store) Put(ctx context.Context, record results.Record) error {
	return named("store cell", record.Cell.Name, s.write(ctx, func(tx Tx) error {
		if err := known(ctx, tx, record.Run); err != nil {
			return fmt.Errorf("run %s: %w", record.Run, err)
		}
		if !results.KnownStatus(record.Status) {
			return fmt.Errorf("there is no status %q", record.Status)
		}
		var status, started, outOfMemory, before string
		err := tx.queryRow(ctx,
			"SELECT status, started, coalesce(out_of_memory, '') FROM cells WHERE run = ? AND cell = ? AND repeat = ?",
			record.Run, record.Cell.Name, record.Cell.Repeat).Scan(&status, &started, &outOfMemory)
		switch {
		case err == nil:
			before = counted(status, outOfMemory)
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		itself := record.Status == results.StatusOK && started == formatTime(record.Started)
		if status == results.StatusOK && !itself {
			return fmt.Errorf("repeat %d of run %s: %w", record.Cell.Repeat, record.Run, results.ErrHeld)
		}
		if err := put(ctx, tx, record); err != nil {
			return err
		}
		return count(ctx, tx, record, before)
	}))
}

// put writes a record over any that is there.
func put(ctx context.Context, tx Tx, record results.Record) error {
	topology, err := addFact(ctx, tx, record.Topology.Redacted())
	if err != nil {
		return err
	}
	var stack any // NULL for none
	if record.Stack != nil {
		alike := *record.Stack
		alike.StartS, alike.ReadyS, alike.WarmupS = nil, nil, nil // they have columns
		if stack, err = addFact(ctx, tx, alike); err != nil {
			return err
		}
	}
	facts := []column{{"topology_facts", topology}, {"stack_facts", stack}}
	return insert(ctx, tx, "cells", slices.Concat(cellColumns(&record), timeColumns(&record), derivedColumns(&record), facts), "run", "cell", "repeat")
}

// addFact stores a piece of JSON once, however many cells it is true of, and
// returns its address, the SHA-256 of the text.
func addFact(ctx context.Context, tx Tx, value any) (address string, err error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	address = hex.EncodeToString(sum[:])
	_, err = tx.exec(ctx, "INSERT INTO facts (sha256, json) VALUES (?, ?) ON CONFLICT DO NOTHING", address, string(text))
	return address, err
}

// Repeats returns the run's records in the order of their start, with what says
// whether a cell has to be measured.
func (s *Store) Repeats(ctx context.Context, run string) ([]results.Record, error) {
	var records []results.Record
	err := s.read(ctx, func(tx Tx) (err error) {
		records, err = query(ctx, tx, briefRecord, "cells WHERE run = ? ORDER BY started", run)
		return err
	})
	return records, named("read the repeats of run", run, err)
}

// mostValues is how many values a statement lists: databases bound them.
const mostValues = 1000

// Alike returns records that were measured alike.
func (s *Store) Alike(ctx context.Context, fingerprints []string, since time.Time) ([]results.Record, error) {
	var records []results.Record
	err := s.read(ctx, func(tx Tx) error {
		records = nil
		for some := range slices.Chunk(fingerprints, mostValues) {
			args := []any{formatTime(since), results.StatusOK}
			for _, fingerprint := range some {
				args = append(args, fingerprint)
			}
			found, err := query(ctx, tx, wholeRecords(), "cells WHERE started >= ? AND status = ? AND reused IS NULL AND fingerprint IN (?"+strings.Repeat(", ?", len(some)-1)+")", args...)
			if err != nil {
				return err
			}
			records = append(records, found...)
		}
		slices.SortStableFunc(records, func(a, b results.Record) int { return a.Started.Compare(b.Started) })
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for cells that were measured alike: %w", err)
	}
	return records, nil
}

// History returns the last runs of a scenario and what they say about one metric.
func (s *Store) History(ctx context.Context, scenario, pattern, metric string, last int) ([]results.Run, []results.Observation, error) {
	var runs []results.Run
	var observations []results.Observation
	err := s.read(ctx, func(tx Tx) error {
		m, err := results.FindMetric(metric)
		if err != nil {
			return err
		}
		if scenario == "" {
			latest, err := findRun(ctx, tx, results.Latest, results.Scope{})
			if err != nil {
				return err
			}
			scenario = latest.Scenario
		}
		runs, err = query(ctx, tx, tx.Dialect.wholeRun, runsCounted+" WHERE scenario = ?"+lastFirst+" LIMIT ?", scenario, last)
		if err != nil {
			return err
		}
		if len(runs) == 0 {
			return fmt.Errorf("%w: the store holds none of scenario %s", results.ErrNoRun, scenario)
		}
		slices.Reverse(runs)
		var ids []any
		for _, run := range runs {
			ids = append(ids, run.ID)
		}
		observations, err = query(ctx, tx, observation(m), "cells WHERE of IS NULL AND reused IS NULL AND run IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids...)
		observations = slices.DeleteFunc(observations, func(o results.Observation) bool { return !results.MatchCell(pattern, o.Cell) })
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read history: %w", err)
	}
	return runs, observations, nil
}
