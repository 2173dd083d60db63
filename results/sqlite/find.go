package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"stackmeter/results"
)

// Names that stand for runs.
const (
	Latest     = "latest"      // the one that was started last
	LastPassed = "last-passed" // the last one whose verdict is results.VerdictPassed
)

// backwards separates a name from how many runs before it is meant: latest~1.
const backwards = "~"

// A Scope bounds which runs Latest and LastPassed can stand for.
type Scope struct {
	Scenario string // only runs of it; empty: of all
	Before   string // only runs that were started before the run with this id; empty: all
}

// Find is the id of what a user calls a run: its id, a tag, the beginning of
// an id that no other shares, "" or Latest, LastPassed; and any of them
// followed by ~N for the Nth run of the same scenario before it. Without a
// match the error is ErrNoRun.
func (s *Store) Find(ctx context.Context, which string, scope Scope) (string, error) {
	var id string
	err := s.read(ctx, func(conn *sql.Conn) (err error) {
		id, err = findRun(ctx, conn, which, scope)
		return err
	})
	return id, named("find run", which, err)
}

// findRun is Find within a transaction.
func findRun(ctx context.Context, conn *sql.Conn, which string, scope Scope) (string, error) {
	name, back, relative := strings.Cut(which, backwards)
	if !relative {
		return findNamed(ctx, conn, which, scope)
	}
	steps, err := strconv.Atoi(back)
	if err != nil || steps < 0 || steps > 1_000_000 {
		return "", fmt.Errorf("%w: %q; behind %s stands how many runs before it is meant", ErrNoRun, which, backwards)
	}
	id, err := findNamed(ctx, conn, name, scope)
	if err != nil || steps == 0 {
		return id, err
	}
	var before string
	err = conn.QueryRowContext(ctx, `
		SELECT r.id FROM runs r JOIN runs h ON h.id = ? AND r.scenario = h.scenario AND (r.started, r.rowid) < (h.started, h.rowid)
		ORDER BY r.started DESC, r.rowid DESC LIMIT 1 OFFSET ?`, id, steps-1).Scan(&before)
	if errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("%w: %q; there are fewer runs of its scenario before %s", ErrNoRun, which, id)
	}
	return before, err
}

func findNamed(ctx context.Context, conn *sql.Conn, which string, scope Scope) (string, error) {
	switch which {
	case "", Latest:
		return findLast(ctx, conn, scope, "")
	case LastPassed:
		return findLast(ctx, conn, scope, results.VerdictPassed)
	}
	// Not LIKE: an id may hold its wildcards.
	rows, err := conn.QueryContext(ctx, `
		SELECT id, id = ?1 OR tagged FROM (
			SELECT id, started, 0 AS tagged FROM runs WHERE substr(id, 1, length(?1)) = ?1
			UNION ALL SELECT run, '', 1 FROM tags WHERE tag = ?1)
		ORDER BY id = ?1 DESC, tagged DESC, started DESC LIMIT 6`, which)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		var exact bool
		if err := rows.Scan(&id, &exact); err != nil {
			return "", err
		}
		if exact {
			return id, nil
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return "", err
	}
	switch len(ids) {
	case 0:
		return "", fmt.Errorf("%w: %q; `stackmeter runs` lists those that there are", ErrNoRun, which)
	case 1:
		return ids[0], nil
	}
	return "", fmt.Errorf("%w: %q is the beginning of several (%s); write more of it", ErrNoRun, which, strings.Join(ids, ", "))
}

// findLast is the last run within a scope that has the verdict; any with "".
func findLast(ctx context.Context, conn *sql.Conn, scope Scope, verdict string) (string, error) {
	var id string
	err := conn.QueryRowContext(ctx, `
		SELECT id FROM runs
		WHERE (?1 = '' OR scenario = ?1) AND (?2 = '' OR verdict = ?2)
			AND (?3 = '' OR (started, rowid) < (SELECT started, rowid FROM runs WHERE id = ?3))
		ORDER BY started DESC, rowid DESC LIMIT 1`, scope.Scenario, verdict, scope.Before).Scan(&id)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	of := ""
	if scope.Scenario != "" {
		of = " of scenario " + scope.Scenario
	}
	if scope.Before != "" {
		of += " before " + scope.Before
	}
	if verdict != "" {
		return "", fmt.Errorf("%w: no run%s passed yet", ErrNoRun, of)
	}
	if of != "" {
		return "", fmt.Errorf("%w: the store holds none%s", ErrNoRun, of)
	}
	return "", fmt.Errorf("%w: the store holds none yet; `stackmeter run` makes the first", ErrNoRun)
}

// validName refuses ids and tags that Find would read as something else.
func validName(name string) error {
	if name == Latest || name == LastPassed || strings.Contains(name, backwards) {
		return fmt.Errorf("%q stands for another run", name)
	}
	return nil
}

// CheckTag says why a run cannot have a tag; nil where it can.
func CheckTag(tag string) error {
	if strings.TrimSpace(tag) == "" {
		return errors.New("it is empty")
	}
	return validName(tag)
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
	if err := CheckTag(tag); err != nil {
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
