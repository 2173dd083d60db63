package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/scenarios"
)

// Begin enters a run.
func (s *Store) Begin(ctx context.Context, run results.Run) error {
	return named("begin run", run.ID, s.write(ctx, func(tx Tx) error { return begin(ctx, tx, run) }))
}

// Import enters a run with all its records.
func (s *Store) Import(ctx context.Context, run results.Run, records []results.Record) error {
	return named("import run", run.ID, s.write(ctx, func(tx Tx) error {
		if err := begin(ctx, tx, run); err != nil {
			return err
		}
		for _, record := range records {
			if err := put(ctx, tx, record); err != nil {
				return named("cell", record.Cell.Name, err)
			}
		}
		_, err := tx.exec(ctx, Recount+" WHERE run = ?", run.ID)
		return err
	}))
}

func begin(ctx context.Context, tx Tx, run results.Run) error {
	if results.CheckName(run.ID) != nil {
		return fmt.Errorf("%q cannot be the id of a run", run.ID)
	}
	switch err := known(ctx, tx, run.ID); {
	case err == nil:
		return errors.New("the store holds a run with this id already")
	case !errors.Is(err, results.ErrNoRun):
		return err
	}
	run.Plan = run.Plan.Redacted()
	if err := insert(ctx, tx, "runs", runColumns(&run)); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, "INSERT INTO counts (run, searches, ok, failed, out_of_memory, pruned) VALUES (?, ?, 0, 0, 0, 0)", run.ID, run.Plan.Search != nil); err != nil {
		return err
	}
	for _, tag := range run.Tags {
		if err := setTag(ctx, tx, run.ID, tag); err != nil {
			return err
		}
	}
	return addSpent(ctx, tx, run.ID, run.Spent)
}

// known returns ErrNoRun where there is no run with the id.
func known(ctx context.Context, tx Tx, id string) error {
	var one int
	err := tx.queryRow(ctx, "SELECT 1 FROM runs WHERE id = ?", id).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return results.ErrNoRun
	}
	return err
}

// update changes columns of one run.
func (s *Store) update(ctx context.Context, what, run, set string, args ...any) error {
	return named(what, run, s.write(ctx, func(tx Tx) error {
		return changeOne(ctx, tx, "UPDATE runs SET "+set+" WHERE id = ?", append(args, run)...)
	}))
}

// changeOne executes a statement that has to meet a row.
func changeOne(ctx context.Context, tx Tx, statement string, args ...any) error {
	result, err := tx.exec(ctx, statement, args...)
	if err != nil {
		return err
	}
	changed, err := result.RowsAffected()
	if err == nil && changed == 0 {
		err = results.ErrNoRun
	}
	return err
}

// Resume marks a run as under way again.
func (s *Store) Resume(ctx context.Context, run string, plan scenarios.Plan, owner string) error {
	return named("resume run", run, s.write(ctx, func(tx Tx) error {
		if err := changeOne(ctx, tx, "UPDATE runs SET finished = NULL, outcome = '', verdict = '', checks = NULL, answers = NULL, plan = ?, owner = ? WHERE id = ?",
			inJSON(plan.Redacted(), false), owner, run); err != nil {
			return err
		}
		return changeOne(ctx, tx, "UPDATE counts SET searches = ? WHERE run = ?", plan.Search != nil, run)
	}))
}

// Images replaces the run's images.
func (s *Store) Images(ctx context.Context, run string, images map[string]string) error {
	return s.update(ctx, "record the images of run", run, "images = ?", zeroIsNullInJSON(&images))
}

// Lanes replaces the run's lanes.
func (s *Store) Lanes(ctx context.Context, run string, lanes results.Lanes) error {
	return s.update(ctx, "record the lanes of run", run, "lanes = ?", inJSON(&lanes, false))
}

// Devices replaces the run's devices.
func (s *Store) Devices(ctx context.Context, run string, devices []gpu.Device) error {
	return s.update(ctx, "record the devices of run", run, "gpu_devices = ?", zeroIsNullInJSON(&devices))
}

// Planned replaces the number of the run's planned cells.
func (s *Store) Planned(ctx context.Context, run string, cells int) error {
	return s.update(ctx, "record the planned cells of run", run, "planned = ?", cells)
}

// Finish records how and when the run ended.
func (s *Store) Finish(ctx context.Context, run, outcome string, at time.Time) error {
	return s.update(ctx, "finish run", run, "outcome = ?, finished = ?", outcome, formatTime(at))
}

// Judged records what the run's thresholds said.
func (s *Store) Judged(ctx context.Context, run, verdict, against string, checks []results.Check) error {
	return s.update(ctx, "judge run", run, "verdict = ?, against = ?, checks = ?", verdict, against, zeroIsNullInJSON(&checks))
}

// Answered records what a search found.
func (s *Store) Answered(ctx context.Context, run string, answers []results.Answer) error {
	return s.update(ctx, "record the answers of run", run, "answers = ?", zeroIsNullInJSON(&answers))
}

// Tag gives the run a name.
func (s *Store) Tag(ctx context.Context, run, tag string) error {
	return named("tag run", run, s.write(ctx, func(tx Tx) error {
		if err := known(ctx, tx, run); err != nil {
			return err
		}
		return setTag(ctx, tx, run, tag)
	}))
}

func setTag(ctx context.Context, tx Tx, run, tag string) error {
	if err := results.CheckName(tag); err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	_, err := tx.exec(ctx, "INSERT INTO tags (tag, run) VALUES (?, ?) ON CONFLICT (tag) DO UPDATE SET run = excluded.run", tag, run)
	return err
}

// Untag takes a name away.
func (s *Store) Untag(ctx context.Context, tag string) error {
	return named("take away tag", tag, s.write(ctx, func(tx Tx) error {
		return changeOne(ctx, tx, "DELETE FROM tags WHERE tag = ?", tag)
	}))
}

// Spent adds d to the wall time that the run spent on a phase. It is written
// with the next write of anything else, or by Close: a kill loses some seconds
// of an account, and no measurement.
func (s *Store) Spent(ctx context.Context, run, phase string, d time.Duration) error {
	if err := s.db.Writable(); err != nil {
		return err
	}
	if err := s.db.Read(ctx, func(tx Tx) error { return known(ctx, tx, run) }); err != nil {
		return named("add to the time spent by run", run, err)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.spent == nil {
		s.spent = map[string]map[string]float64{}
	}
	if s.spent[run] == nil {
		s.spent[run] = map[string]float64{}
	}
	s.spent[run][phase] += d.Seconds()
	return nil
}

// addSpent adds seconds to the phases of a run.
func addSpent(ctx context.Context, tx Tx, run string, phases map[string]float64) error {
	for phase, seconds := range phases {
		if _, err := tx.exec(ctx,
			`INSERT INTO spent (run, phase, seconds) VALUES (?, ?, ?)
			 ON CONFLICT (run, phase) DO UPDATE SET seconds = spent.seconds + excluded.seconds`, run, phase, seconds); err != nil {
			return err
		}
	}
	return nil
}

// Runs lists the last runs within a scope, the one that was started last first.
func (s *Store) Runs(ctx context.Context, scope results.Scope, last int) ([]results.Run, error) {
	var runs []results.Run
	err := s.read(ctx, func(tx Tx) (err error) {
		where, args := within(scope, "")
		runs, err = query(ctx, tx, tx.Dialect.wholeRun, runsCounted+where+lastFirst+limit(last), args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return runs, nil
}

// ByID returns the run with this whole id.
func (s *Store) ByID(ctx context.Context, id string) (results.Run, error) {
	var run results.Run
	err := s.read(ctx, func(tx Tx) (err error) {
		run, err = readRun(ctx, tx, id)
		return err
	})
	return run, named("read run", id, err)
}

// Run returns a run and its records in the order of their start. Where the
// store turns out to be damaged (ErrDamaged), the run and the records that
// could be read come with the error.
func (s *Store) Run(ctx context.Context, which string) (results.Run, []results.Record, error) {
	var run results.Run
	var records []results.Record
	err := s.read(ctx, func(tx Tx) error {
		found, err := findRun(ctx, tx, which, results.Scope{})
		if err != nil {
			return err
		}
		if run, err = readRun(ctx, tx, found.ID); err != nil {
			return err
		}
		// SQLite does not sort them: it would have to read all of them before
		// it returned the first, and of a damaged store it could not.
		records, err = query(ctx, tx, wholeRecords(), "cells WHERE run = ?", found.ID)
		slices.SortStableFunc(records, func(a, b results.Record) int { return a.Started.Compare(b.Started) })
		return err
	})
	if err != nil {
		return run, records, fmt.Errorf("read run: %w", err)
	}
	return run, records, nil
}

func readRun(ctx context.Context, tx Tx, id string) (results.Run, error) {
	runs, err := query(ctx, tx, tx.Dialect.wholeRun, runsCounted+" WHERE id = ?", id)
	if err == nil && len(runs) == 0 {
		err = results.ErrNoRun
	}
	if err != nil {
		return results.Run{}, err
	}
	return runs[0], nil
}

// named puts what was tried in front of an error.
func named(what, noun string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, noun, err)
}
