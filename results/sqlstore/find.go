package sqlstore

import (
	"context"
	"fmt"
	"slices"

	"stackmeter/results"
)

// lastFirst orders runs: the one that was started last comes first, of the same
// moment the one that began last.
const lastFirst = " ORDER BY started DESC, rowid DESC"

// limit bounds how many rows there are; 0: it does not.
func limit(rows int) string {
	if rows == 0 {
		return ""
	}
	return fmt.Sprintf(" LIMIT %d", rows)
}

// within is the condition of the runs that are in a scope, and have the verdict if it
// is not empty.
func within(scope results.Scope, verdict string) (where string, args []any) {
	where = " WHERE 1 = 1"
	for _, c := range []struct{ condition, value string }{
		{"scenario = ?", scope.Scenario},
		{"verdict = ?", verdict},
		{"(started, rowid) < (SELECT started, rowid FROM runs WHERE id = ?)", scope.Before},
	} {
		if c.value != "" {
			where, args = where+" AND "+c.condition, append(args, c.value)
		}
	}
	return where, args
}

// Find returns the id of what a user calls a run.
func (s *Store) Find(ctx context.Context, which string, scope results.Scope) (string, error) {
	var run results.Run
	err := s.read(ctx, func(tx Tx) (err error) {
		run, err = findRun(ctx, tx, which, scope)
		return err
	})
	return run.ID, named("find run", which, err)
}

// ambiguous is more runs than the message about a name that several share lists.
const ambiguous = 10

// findRun returns the run that a user means, with what namesOfRun reads of it. It
// reads only the runs that results.FindRun could choose: a store may hold very many.
func findRun(ctx context.Context, tx Tx, which string, scope results.Scope) (results.Run, error) {
	name, steps, err := results.CutName(which)
	if err != nil {
		return results.Run{}, err
	}
	read := func(from string, args ...any) ([]results.Run, error) {
		return query(ctx, tx, tx.Dialect.namesOfRun, "runs"+from, args...)
	}
	var before, named, earlier []results.Run
	if scope.Before != "" {
		if before, err = read(" WHERE id = ?", scope.Before); err != nil {
			return results.Run{}, err
		}
	}
	switch name {
	case "", results.Latest:
		where, args := within(scope, "")
		named, err = read(where+lastFirst+limit(1), args...)
	case results.LastPassed:
		where, args := within(scope, results.VerdictPassed)
		named, err = read(where+lastFirst+limit(1), args...)
	default:
		// The last code point of Unicode is no character, and sorts behind all.
		named, err = read(" WHERE id = ? OR id = (SELECT run FROM tags WHERE tag = ?)", name, name)
		if err == nil && len(named) == 0 {
			named, err = read(" WHERE id > ? AND id < ?"+lastFirst+limit(ambiguous), name, name+"\U0010ffff")
		}
	}
	if err != nil {
		return results.Run{}, err
	}
	found, err := results.FindRun(slices.Concat(before, named), name, scope)
	if err != nil || steps == 0 {
		return found, err
	}
	where, args := within(results.Scope{Scenario: found.Scenario, Before: found.ID}, "")
	if found.Scenario == "" {
		where += " AND scenario = ''"
	}
	if earlier, err = read(where+lastFirst+limit(steps), args...); err != nil {
		return results.Run{}, err
	}
	return results.FindRun(slices.Concat(before, []results.Run{found}, earlier), which, scope)
}
