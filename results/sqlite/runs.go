package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// timeLayout is RFC 3339 with all nine digits, so that times sort as text.
const timeLayout = "2006-01-02T15:04:05.000000000Z07:00"

// Begin enters a run. Its id has to be new.
func (s *Store) Begin(ctx context.Context, run results.Run) error {
	return named("begin run", run.ID, s.write(ctx, func(conn *sql.Conn) error { return begin(ctx, conn, run) }))
}

func begin(ctx context.Context, conn *sql.Conn, run results.Run) error {
	if results.CheckName(run.ID) != nil {
		return fmt.Errorf("%q cannot be the id of a run", run.ID)
	}
	host, err := json.Marshal(run.Host)
	if err != nil {
		return err
	}
	devices, err := jsonOrNull(run.GPUDevices, run.GPUDevices == nil)
	if err != nil {
		return err
	}
	checks, err := jsonOrNull(run.Checks, run.Checks == nil)
	if err != nil {
		return err
	}
	images, err := jsonOrNull(run.Images, run.Images == nil)
	if err != nil {
		return err
	}
	plan, err := json.Marshal(run.Plan.Redacted())
	if err != nil {
		return err
	}
	var finished any
	if run.Finished != nil {
		finished = formatTime(*run.Finished)
	}
	var held int
	if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM runs WHERE id = ?", run.ID).Scan(&held); err != nil {
		return err
	}
	if held > 0 {
		return errors.New("the store holds a run with this id already")
	}
	if _, err := conn.ExecContext(ctx,
		`INSERT INTO runs (id, scenario, file, started, finished, outcome, runtime, host, gpu_devices, images, plan, fingerprint, owner, verdict, against, checks, imported, planned)
		 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		run.ID, run.Scenario, run.File, formatTime(run.Started), finished, run.Outcome, run.Runtime,
		string(host), devices, images, string(plan), run.Fingerprint, run.Owner, run.Verdict, run.Against, checks, run.Imported, run.Planned); err != nil {
		return err
	}
	for _, tag := range run.Tags {
		if err := setTag(ctx, conn, run.ID, tag); err != nil {
			return err
		}
	}
	return addSpent(ctx, conn, run.ID, run.Spent)
}

// Import enters a run with all its records, or nothing of it.
func (s *Store) Import(ctx context.Context, run results.Run, records []results.Record) error {
	var rows []*row
	facts := map[string]string{}
	for _, record := range records {
		topology, err := newFact(record.Topology.Redacted())
		if err != nil {
			return named("import cell", record.Cell.Name, err)
		}
		facts[topology.sha256] = topology.json
		var stack *fact
		if record.Stack != nil {
			if stack, err = newFact(withoutTimes(*record.Stack)); err != nil {
				return named("import cell", record.Cell.Name, err)
			}
			facts[stack.sha256] = stack.json
		}
		made, err := newRow(record, topology, stack)
		if err != nil {
			return named("import cell", record.Cell.Name, err)
		}
		rows = append(rows, made)
	}
	return named("import run", run.ID, s.write(ctx, func(conn *sql.Conn) error {
		if err := begin(ctx, conn, run); err != nil {
			return err
		}
		for sha256, json := range facts {
			if _, err := conn.ExecContext(ctx, "INSERT INTO facts (sha256, json) VALUES (?, ?) ON CONFLICT DO NOTHING", sha256, json); err != nil {
				return err
			}
		}
		for _, row := range rows {
			if _, err := conn.ExecContext(ctx, row.insert(), row.values...); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Resume marks a run as under way again under another process, with a plan that
// asks for the same cells: its finishing time, outcome and verdict are cleared,
// its start, fingerprint and cells stay.
func (s *Store) Resume(ctx context.Context, run string, plan scenarios.Plan, owner string) error {
	text, err := json.Marshal(plan.Redacted())
	if err != nil {
		return named("resume run", run, err)
	}
	return named("resume run", run, s.write(ctx, func(conn *sql.Conn) error {
		return updateOne(ctx, conn, "UPDATE runs SET finished = NULL, outcome = '', verdict = '', against = '', checks = NULL, plan = ?, owner = ? WHERE id = ?", string(text), owner, run)
	}))
}

// Images records what the run's stacks and its load client are made from.
func (s *Store) Images(ctx context.Context, run string, images map[string]string) error {
	text, err := jsonOrNull(images, len(images) == 0)
	if err != nil {
		return named("record the images of run", run, err)
	}
	return named("record the images of run", run, s.write(ctx, func(conn *sql.Conn) error {
		return updateOne(ctx, conn, "UPDATE runs SET images = ? WHERE id = ?", text, run)
	}))
}

// Planned replaces the number of the run's planned cells.
func (s *Store) Planned(ctx context.Context, run string, cells int) error {
	return named("record the planned cells of run", run, s.write(ctx, func(conn *sql.Conn) error {
		return updateOne(ctx, conn, "UPDATE runs SET planned = ? WHERE id = ?", cells, run)
	}))
}

// Spent adds d to the wall time that the run spent on a phase. It is written
// with the next write of anything else, or by Close, so that it costs no sync
// of its own: a kill loses some seconds of an account, and no measurement.
func (s *Store) Spent(ctx context.Context, run, phase string, d time.Duration) error {
	if s.readOnly {
		return fmt.Errorf("store %s: opened for reading only", s.path)
	}
	var held int
	err := transaction(ctx, s.db, "BEGIN", func(conn *sql.Conn) error {
		return conn.QueryRowContext(ctx, "SELECT count(*) FROM runs WHERE id = ?", run).Scan(&held)
	})
	if err == nil && held == 0 {
		err = results.ErrNoRun
	}
	if err != nil {
		return named("add to the time spent by run", run, s.explain(err))
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

// Finish records how and when the run ended.
func (s *Store) Finish(ctx context.Context, run, outcome string, at time.Time) error {
	return named("finish run", run, s.write(ctx, func(conn *sql.Conn) error {
		return updateOne(ctx, conn, "UPDATE runs SET outcome = ?, finished = ? WHERE id = ?", outcome, formatTime(at), run)
	}))
}

// Runs lists the runs with the counts of their cells, the one that was started
// last first.
func (s *Store) Runs(ctx context.Context) ([]results.Run, error) {
	var runs []results.Run
	err := s.read(ctx, func(conn *sql.Conn) (err error) {
		runs, err = selectRuns(ctx, conn, "")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	return runs, nil
}

// Run returns a run and its records in the order in which they were measured.
// Which run is said as in Find. Without a match the error is ErrNoRun. Where the store turns out to be damaged (ErrDamaged), the run and
// the records that could be read come with the error.
func (s *Store) Run(ctx context.Context, which string) (results.Run, []results.Record, error) {
	var run results.Run
	var records []results.Record
	err := s.read(ctx, func(conn *sql.Conn) error {
		id, err := findRun(ctx, conn, which, results.Scope{})
		if err != nil {
			return err
		}
		runs, err := selectRuns(ctx, conn, "WHERE id = ?", id)
		if err != nil {
			return err
		}
		run = runs[0]
		records, err = selectRecords(ctx, conn, id)
		slices.SortStableFunc(records, func(a, b results.Record) int { return a.Started.Compare(b.Started) })
		return err
	})
	if err != nil {
		return run, records, fmt.Errorf("read run: %w", err)
	}
	return run, records, nil
}

// ByID returns the run with the whole id, without its records. Without one the
// error is ErrNoRun.
func (s *Store) ByID(ctx context.Context, id string) (results.Run, error) {
	var run results.Run
	err := s.read(ctx, func(conn *sql.Conn) error {
		runs, err := selectRuns(ctx, conn, "WHERE id = ?", id)
		if err != nil {
			return err
		}
		if len(runs) == 0 {
			return results.ErrNoRun
		}
		run = runs[0]
		return nil
	})
	return run, named("read run", id, err)
}

// selectRuns reads the runs that the condition leaves, the last one first.
func selectRuns(ctx context.Context, conn *sql.Conn, where string, args ...any) ([]results.Run, error) {
	spent, err := selectSpent(ctx, conn)
	if err != nil {
		return nil, err
	}
	tags, err := selectTags(ctx, conn)
	if err != nil {
		return nil, err
	}
	counts, err := selectCounts(ctx, conn)
	if err != nil {
		return nil, err
	}
	rows, err := conn.QueryContext(ctx,
		`SELECT id, scenario, file, started, finished, outcome, runtime, host, gpu_devices, images, plan, fingerprint, owner,
			verdict, against, checks, imported, planned
		 FROM runs `+where+` ORDER BY started DESC, rowid DESC`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var runs []results.Run
	for rows.Next() {
		var run results.Run
		var started, host, plan string
		var finished, devices, images, checks sql.NullString
		if err := rows.Scan(&run.ID, &run.Scenario, &run.File, &started, &finished, &run.Outcome, &run.Runtime,
			&host, &devices, &images, &plan, &run.Fingerprint, &run.Owner,
			&run.Verdict, &run.Against, &checks, &run.Imported, &run.Planned); err != nil {
			return nil, err
		}
		if run.Started, err = parseTime(started); err != nil {
			return nil, fmt.Errorf("run %s: started: %w", run.ID, err)
		}
		if finished.Valid {
			at, err := parseTime(finished.String)
			if err != nil {
				return nil, fmt.Errorf("run %s: finished: %w", run.ID, err)
			}
			run.Finished = &at
		}
		for _, part := range []struct {
			column, text string
			into         any
		}{
			{"host", host, &run.Host}, {"gpu_devices", devices.String, &run.GPUDevices}, {"plan", plan, &run.Plan},
			{"images", images.String, &run.Images}, {"checks", checks.String, &run.Checks},
		} {
			if err := fromJSON(part.text, part.into); err != nil {
				return nil, fmt.Errorf("run %s: %s: %w", run.ID, part.column, err)
			}
		}
		run.Spent, run.Tags = spent[run.ID], tags[run.ID]
		count := counts[run.ID]
		count.Planned = run.Planned
		run.Counts = &count
		runs = append(runs, run)
	}
	return runs, rows.Err()
}

// Repeats are the run's records, in the order in which they were made, with
// what says whether a cell has to be measured, and nothing else: the cell, the
// repeat, the status, the errors, the duration, which memory it failed for, and
// of its stack whether it got warm.
func (s *Store) Repeats(ctx context.Context, run string) ([]results.Record, error) {
	var records []results.Record
	err := s.read(ctx, func(conn *sql.Conn) (err error) {
		records, err = selectRepeats(ctx, conn, run)
		return err
	})
	return records, named("read the repeats of run", run, err)
}

func selectRepeats(ctx context.Context, conn *sql.Conn, run string) ([]results.Record, error) {
	rows, err := conn.QueryContext(ctx,
		`SELECT topology, cell, repeat, status, coalesce(errors, 0), duration_s, coalesce(out_of_memory, ''), warmup_s
		 FROM cells WHERE run = ? ORDER BY started`, run)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var records []results.Record
	for rows.Next() {
		r := results.Record{Run: run}
		stack := results.Stack{}
		if err := rows.Scan(&r.Topology.Name, &r.Cell.Name, &r.Cell.Repeat, &r.Status, &r.Errors, &r.Duration, &r.OutOfMemory, &stack.WarmupS); err != nil {
			return nil, err
		}
		if stack.WarmupS != nil {
			r.Stack = &stack
		}
		records = append(records, r)
	}
	return records, rows.Err()
}

// selectSpent reads the phases of every run: a handful of rows each.
func selectSpent(ctx context.Context, conn *sql.Conn) (map[string]map[string]float64, error) {
	rows, err := conn.QueryContext(ctx, "SELECT run, phase, seconds FROM spent")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	spent := map[string]map[string]float64{}
	for rows.Next() {
		var run, phase string
		var seconds float64
		if err := rows.Scan(&run, &phase, &seconds); err != nil {
			return nil, err
		}
		if spent[run] == nil {
			spent[run] = map[string]float64{}
		}
		spent[run][phase] = seconds
	}
	return spent, rows.Err()
}

// selectCounts counts the records of every run.
func selectCounts(ctx context.Context, conn *sql.Conn) (map[string]results.Counts, error) {
	rows, err := conn.QueryContext(ctx, "SELECT run, sum(status = 'ok'), sum(status = 'failed'), sum(status = 'pruned') FROM cells GROUP BY run")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[string]results.Counts{}
	for rows.Next() {
		var run string
		var count results.Counts
		if err := rows.Scan(&run, &count.OK, &count.Failed, &count.Pruned); err != nil {
			return nil, err
		}
		counts[run] = count
	}
	return counts, rows.Err()
}

// addSpent adds seconds to the phases of a run.
func addSpent(ctx context.Context, conn *sql.Conn, run string, phases map[string]float64) error {
	for phase, seconds := range phases {
		if _, err := conn.ExecContext(ctx,
			`INSERT INTO spent (run, phase, seconds) VALUES (?, ?, ?)
			 ON CONFLICT (run, phase) DO UPDATE SET seconds = seconds + excluded.seconds`, run, phase, seconds); err != nil {
			return err
		}
	}
	return nil
}

// updateOne executes a statement that has to meet exactly the run it names.
func updateOne(ctx context.Context, conn *sql.Conn, statement string, args ...any) error {
	result, err := conn.ExecContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	changed, err := result.RowsAffected()
	if err == nil && changed == 0 {
		err = results.ErrNoRun
	}
	return err
}

// named puts what was tried in front of an error.
func named(what, noun string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, noun, err)
}

func formatTime(t time.Time) string { return t.UTC().Format(timeLayout) }

func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(timeLayout, text)
	return t.UTC(), err
}
