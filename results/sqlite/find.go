package sqlite

import (
	"context"
	"database/sql"
	"fmt"

	"stackmeter/results"
)

// Find returns the id of what a user calls a run, see results.FindRun.
func (s *Store) Find(ctx context.Context, which string, scope results.Scope) (string, error) {
	var id string
	err := s.read(ctx, func(conn *sql.Conn) (err error) {
		id, err = findRun(ctx, conn, which, scope)
		return err
	})
	return id, named("find run", which, err)
}

// findRun is Find within a transaction.
func findRun(ctx context.Context, conn *sql.Conn, which string, scope results.Scope) (string, error) {
	tags, err := selectTags(ctx, conn)
	if err != nil {
		return "", err
	}
	rows, err := conn.QueryContext(ctx, "SELECT id, scenario, verdict FROM runs ORDER BY started DESC, rowid DESC")
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var runs []results.Run
	for rows.Next() {
		var run results.Run
		if err := rows.Scan(&run.ID, &run.Scenario, &run.Verdict); err != nil {
			return "", err
		}
		run.Tags = tags[run.ID]
		runs = append(runs, run)
	}
	if err := rows.Err(); err != nil {
		return "", err
	}
	return results.FindRun(runs, which, scope)
}

// Tag gives the run a name, which is taken from the run that had it before.
func (s *Store) Tag(ctx context.Context, run, tag string) error {
	return named("tag run", run, s.write(ctx, func(conn *sql.Conn) error {
		if err := updateOne(ctx, conn, "UPDATE runs SET id = id WHERE id = ?", run); err != nil {
			return err
		}
		return setTag(ctx, conn, run, tag)
	}))
}

func setTag(ctx context.Context, conn *sql.Conn, run, tag string) error {
	if err := results.CheckName(tag); err != nil {
		return fmt.Errorf("tag: %w", err)
	}
	_, err := conn.ExecContext(ctx, "INSERT INTO tags (tag, run) VALUES (?, ?) ON CONFLICT (tag) DO UPDATE SET run = excluded.run", tag, run)
	return err
}

// Untag takes a name away. A name that no run has is ErrNoRun.
func (s *Store) Untag(ctx context.Context, tag string) error {
	return named("take away tag", tag, s.write(ctx, func(conn *sql.Conn) error {
		return updateOne(ctx, conn, "DELETE FROM tags WHERE tag = ?", tag)
	}))
}

// selectTags reads the tags of every run, sorted.
func selectTags(ctx context.Context, conn *sql.Conn) (map[string][]string, error) {
	rows, err := conn.QueryContext(ctx, "SELECT run, tag FROM tags ORDER BY run, tag")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	tags := map[string][]string{}
	for rows.Next() {
		var run, tag string
		if err := rows.Scan(&run, &tag); err != nil {
			return nil, err
		}
		tags[run] = append(tags[run], tag)
	}
	return tags, rows.Err()
}

// Judged records what a run's thresholds said.
func (s *Store) Judged(ctx context.Context, run, verdict, against string, checks []results.Check) error {
	text, err := jsonOrNull(checks, checks == nil)
	if err != nil {
		return named("judge run", run, err)
	}
	return named("judge run", run, s.write(ctx, func(conn *sql.Conn) error {
		return updateOne(ctx, conn, "UPDATE runs SET verdict = ?, against = ?, checks = ? WHERE id = ?", verdict, against, text, run)
	}))
}
