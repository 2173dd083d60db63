package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/scenarios/show"
)

func (a *app) copyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "copy FROM TO [RUN ...]",
		Short: "Copy runs from one store into another",
		Long: `copy copies runs, with all that the store FROM holds of them, into the store TO: their
records, tags, verdicts and answers. Each is a file of SQLite or the URL of a PostgreSQL
database; TO is made if it is not there. Without a RUN all are copied that have ended, the
oldest first.

A run that TO holds already is left as it is if it is the same. If one of the runs is not,
is under way, or has a tag that another run of TO has, nothing is copied (exit status 2).
Each run is copied whole or not at all.`,
		Example: `  stackmeter copy nightly.db postgres://bench@db.example/bench
  stackmeter copy postgres://bench@db.example/bench release.db release-1.2 latest`,
		Args: usage.Arguments(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.copyRuns(cmd.Context(), args[0], args[1], args[2:])
		},
	}
}

// copyRuns looks at all runs before it copies the first one.
func (a *app) copyRuns(ctx context.Context, from, to string, names []string) error {
	if sameStore(from, to) {
		return usage.Errorf("copy: %s and %s are the same store", storeName(from), storeName(to))
	}
	if info, err := os.Stat(to); err == nil && !info.Mode().IsRegular() {
		return usage.Errorf("copy: %s is not a regular file; name another", to)
	}
	source, err := openStore(ctx, from)
	if err != nil {
		return err
	}
	defer source.Close()
	runs, err := a.runsToCopy(ctx, source, names)
	if err != nil {
		return err
	}
	target, err := openStoreToWrite(ctx, to)
	if err != nil {
		return err
	}
	defer target.Close()
	there := map[string]bool{}
	var refused []error
	for _, run := range runs {
		same, err := lookAtCopy(ctx, source, target, run)
		if err != nil && !usage.Is(err) {
			return err
		}
		there[run.ID], refused = same, append(refused, err)
	}
	if err := errors.Join(refused...); err != nil {
		return usage.Errorf("nothing was copied to %s:\n%w", storeName(to), err)
	}
	for _, run := range runs {
		done := "was there already"
		if !there[run.ID] {
			n, err := copyRun(ctx, source, target, run.ID)
			if err != nil {
				return fmt.Errorf("copy: %w", err)
			}
			done = show.Plural(n, "record")
		}
		fmt.Fprintf(a.stdout, "%s  %s, %s\n", show.Clean(run.ID), show.Clean(run.Scenario), done)
	}
	return nil
}

// sameStore reports whether two names are one store's, as far as names say.
func sameStore(a, b string) bool {
	one, err := os.Stat(a)
	other, gone := os.Stat(b)
	return storeName(a) == storeName(b) || err == nil && gone == nil && os.SameFile(one, other)
}

// runsToCopy are the runs that are named, or all that have ended, the oldest first.
func (a *app) runsToCopy(ctx context.Context, source store, names []string) (runs []results.Run, err error) {
	if len(names) == 0 {
		if runs, err = source.Runs(ctx, results.Scope{}, 0); err != nil {
			return nil, err
		}
		slices.Reverse(runs)
		return slices.DeleteFunc(runs, func(run results.Run) bool {
			if !underWay(ctx, source, run) {
				return false
			}
			fmt.Fprintf(a.stderr, "stackmeter: run %s is under way, and is not copied\n", show.Clean(run.ID))
			return true
		}), nil
	}
	for _, name := range names {
		id, err := source.Find(ctx, name, results.Scope{})
		if err != nil {
			return nil, fmt.Errorf("copy: %w", err)
		}
		run, err := source.ByID(ctx, id)
		if err != nil {
			return nil, err
		}
		if underWay(ctx, source, run) {
			return nil, usage.Errorf("copy: run %s is under way; copy it when it has ended", id)
		}
		if !slices.ContainsFunc(runs, func(r results.Run) bool { return r.ID == id }) {
			runs = append(runs, run)
		}
	}
	return runs, nil
}

// lookAtCopy reports whether the target holds the run as it is in the source. The
// error is one of usage if it holds another one, or one of the run's tags is another
// run's there.
func lookAtCopy(ctx context.Context, source, target store, run results.Run) (same bool, err error) {
	for _, tag := range run.Tags {
		id, err := target.Find(ctx, tag, results.Scope{})
		if errors.Is(err, results.ErrNoRun) {
			continue
		}
		var has results.Run
		if err == nil {
			has, err = target.ByID(ctx, id)
		}
		if err != nil {
			return false, err
		}
		if has.ID != run.ID && slices.Contains(has.Tags, tag) {
			return false, usage.Errorf("run %s has the tag %s, and so has run %s there: take it away from one of them (stackmeter runs tag --delete)", run.ID, tag, has.ID)
		}
	}
	if _, err := target.ByID(ctx, run.ID); errors.Is(err, results.ErrNoRun) {
		return false, nil
	}
	ours, err := content(ctx, source, run.ID)
	if err != nil {
		return false, err
	}
	theirs, err := content(ctx, target, run.ID)
	if err == nil && !bytes.Equal(ours, theirs) {
		err = usage.Errorf("run %s is there already, and is not the same: a run is not written over", run.ID)
	}
	return err == nil, err
}

// content is all that a store holds of a run.
func content(ctx context.Context, s store, id string) ([]byte, error) {
	run, records, err := s.Run(ctx, id)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	fmt.Fprintln(&b, run.Fingerprint, run.Owner)
	err = exchange.WriteJSON(&b, run, records)
	return b.Bytes(), err
}

// copyRun copies a run, and returns how many records it has.
func copyRun(ctx context.Context, source, target store, id string) (int, error) {
	run, records, err := source.Run(ctx, id)
	if err != nil {
		return 0, err
	}
	return len(records), target.Import(ctx, run, records)
}
