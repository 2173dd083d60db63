package sqlite

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

	"stackmeter/results"
)

// Put writes a record.
func (s *Store) Put(ctx context.Context, record results.Record) error {
	return named("store cell", record.Cell.Name, s.write(ctx, func(conn *sql.Conn) error {
		if err := known(ctx, conn, record.Run); err != nil {
			return fmt.Errorf("run %s: %w", record.Run, err)
		}
		var status, started string
		err := conn.QueryRowContext(ctx,
			"SELECT status, started FROM cells WHERE run = ? AND cell = ? AND repeat = ?",
			record.Run, record.Cell.Name, record.Cell.Repeat).Scan(&status, &started)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		itself := record.Status == results.StatusOK && started == formatTime(record.Started)
		if status == results.StatusOK && !itself {
			return fmt.Errorf("repeat %d of run %s: %w", record.Cell.Repeat, record.Run, results.ErrHeld)
		}
		return put(ctx, conn, record)
	}))
}

// put writes a record over any that is there.
func put(ctx context.Context, conn *sql.Conn, record results.Record) error {
	topology, err := addFact(ctx, conn, record.Topology.Redacted())
	if err != nil {
		return err
	}
	facts := []column{{"topology_facts", topology}}
	if record.Stack != nil {
		alike := *record.Stack
		alike.StartS, alike.ReadyS, alike.WarmupS = nil, nil, nil // they have columns
		stack, err := addFact(ctx, conn, alike)
		if err != nil {
			return err
		}
		facts = append(facts, column{"stack_facts", stack})
	}
	return insert(ctx, conn, "INSERT OR REPLACE INTO cells", slices.Concat(cellColumns(&record), timeColumns(&record), derivedColumns(&record), facts))
}

// addFact stores a piece of JSON once, however many cells it is true of, and
// returns its address, the SHA-256 of the text.
func addFact(ctx context.Context, conn *sql.Conn, value any) (address string, err error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	address = hex.EncodeToString(sum[:])
	_, err = conn.ExecContext(ctx, "INSERT INTO facts (sha256, json) VALUES (?, ?) ON CONFLICT DO NOTHING", address, string(text))
	return address, err
}

// Repeats returns the run's records in the order of their start, with what says
// whether a cell has to be measured.
func (s *Store) Repeats(ctx context.Context, run string) ([]results.Record, error) {
	var records []results.Record
	err := s.read(ctx, func(conn *sql.Conn) (err error) {
		records, err = query(ctx, conn, briefRecord, "cells WHERE run = ? ORDER BY started", run)
		return err
	})
	return records, named("read the repeats of run", run, err)
}

// History returns the last runs of a scenario and what they say about one metric.
func (s *Store) History(ctx context.Context, scenario, pattern, metric string, last int) ([]results.Run, []results.Observation, error) {
	var runs []results.Run
	var observations []results.Observation
	err := s.read(ctx, func(conn *sql.Conn) error {
		m, err := results.FindMetric(metric)
		if err != nil {
			return err
		}
		if scenario == "" {
			latest, err := findRun(ctx, conn, results.Latest, results.Scope{})
			if err != nil {
				return err
			}
			scenario = latest.Scenario
		}
		runs, err = query(ctx, conn, wholeRun, "runs WHERE scenario = ?"+lastFirst+" LIMIT ?", scenario, last)
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
		observations, err = query(ctx, conn, observation(m), "cells WHERE run IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids...)
		observations = slices.DeleteFunc(observations, func(o results.Observation) bool { return !results.MatchCell(pattern, o.Cell) })
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read history: %w", err)
	}
	return runs, observations, nil
}
