package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"stackmeter/results/report"
	"stackmeter/results/sqlite"
)

const defaultStore = "stackmeter.db"

func storeFlag(cmd *cobra.Command, db *string) {
	cmd.Flags().StringVar(db, "db", defaultStore, "the store, an SQLite `FILE`")
}

// openExisting opens a store to read it; one that is not there is a wrong
// argument, not a new store.
func openExisting(db string) (*sqlite.Store, error) {
	if _, err := os.Stat(db); errors.Is(err, os.ErrNotExist) {
		return nil, usageError{fmt.Errorf("there is no store %s; stackmeter run makes one, --db names another", db)}
	}
	return sqlite.Open(db)
}

func (a *app) reportCommand() *cobra.Command {
	var db, format, output string
	cmd := &cobra.Command{
		Use:   "report [RUN]",
		Short: "Print a stored run's tables again, in any format",
		Example: `  stackmeter report
  stackmeter report 20261123-081530-7f3a --format markdown -o report.md`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			store, err := openExisting(db)
			if err != nil {
				return err
			}
			defer store.Close()
			id := ""
			if len(args) > 0 {
				id = args[0]
			}
			run, records, err := store.Run(cmd.Context(), id)
			if err != nil {
				return usageError{err}
			}
			return a.output(output, func(w io.Writer) error {
				return report.Write(w, format, run, records, a.reportOptions(w))
			})
		},
	}
	storeFlag(cmd, &db)
	cmd.Flags().StringVar(&format, "format", "table", "table, markdown, csv or json")
	cmd.Flags().StringVarP(&output, "output", "o", "-", "`FILE` to write, - for standard output")
	return cmd
}

// output writes to a file, which then is whole or not there, or to standard
// output.
func (a *app) output(file string, write func(io.Writer) error) (err error) {
	if file == "-" {
		return write(a.stdout)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".stackmeter-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer os.Remove(tmp.Name())
	if err := errors.Join(write(tmp), tmp.Chmod(0o644), tmp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.Rename(tmp.Name(), file)
}

func (a *app) runsCommand() *cobra.Command {
	var db string
	cmd := &cobra.Command{
		Use:     "runs",
		Short:   "List the runs of a store",
		Example: "  stackmeter runs --db nightly.db",
		Args:    arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := openExisting(db)
			if err != nil {
				return err
			}
			defer store.Close()
			runs, err := store.Runs(cmd.Context())
			if err != nil {
				return err
			}
			return report.WriteRuns(a.stdout, runs)
		},
	}
	storeFlag(cmd, &db)
	return cmd
}

// findRun is the run to resume: the one that is named, or the latest of the
// scenario that did not end well.
func findRun(ctx context.Context, store *sqlite.Store, id, scenario string) (string, error) {
	if id != resumeLatest {
		run, _, err := store.Run(ctx, id)
		if err != nil {
			return "", usageError{err}
		}
		return run.ID, nil
	}
	runs, err := store.Runs(ctx)
	if err != nil {
		return "", err
	}
	for _, run := range runs { // newest first
		if run.Scenario == scenario {
			return run.ID, nil
		}
	}
	return "", usageError{fmt.Errorf("the store has no run of scenario %s to resume", scenario)}
}
