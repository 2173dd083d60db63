package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/sqlite"
	"stackmeter/scenarios"
)

const defaultStore = "stackmeter.db"

func storeFlag(cmd *cobra.Command, db *string) {
	cmd.Flags().StringVar(db, "db", defaultStore, "the store, an SQLite `FILE`")
}

// openStore opens a store to read it. One that does not exist is a wrong
// argument.
func openStore(ctx context.Context, db string) (*sqlite.Store, error) {
	return wrongName(sqlite.OpenReadOnly(ctx, db))
}

// wrongName makes a usage error of that of a name that cannot be a store's.
func wrongName(store *sqlite.Store, err error) (*sqlite.Store, error) {
	if errors.Is(err, fs.ErrNotExist) {
		err = usageError{err}
	}
	return store, err
}

// openStoreToWrite opens a store to write to it, and makes it if there is none.
func openStoreToWrite(ctx context.Context, db string) (*sqlite.Store, error) {
	return wrongName(sqlite.Open(ctx, db))
}

// openPrivateStore opens a store of this process alone, for what nobody keeps.
func openPrivateStore(ctx context.Context) (*sqlite.Store, error) { return sqlite.OpenInMemory(ctx) }

// withStore makes a command of what reads a store.
func withStore(db *string, do func(ctx context.Context, store results.Store, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		store, err := openStore(cmd.Context(), *db)
		if err != nil {
			return err
		}
		defer store.Close()
		return do(cmd.Context(), store, args)
	}
}

func (a *app) reportCommand() *cobra.Command {
	var db string
	var o outputOptions
	cmd := &cobra.Command{
		Use:   "report [RUN]",
		Short: "Print a stored run again, in any format",
		Example: `  stackmeter report
  stackmeter report --format html -o report.html
  stackmeter report 20261123-081530-7f3a --format markdown -o report.md --charts charts/`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: withStore(&db, func(ctx context.Context, store results.Store, args []string) error {
			run, records, err := store.Run(ctx, strings.Join(args, ""))
			if err != nil && (!errors.Is(err, results.ErrDamaged) || len(records) == 0) {
				return err
			}
			// What could be read of a damaged store is shown.
			return errors.Join(err, a.write(o, func(dir string) ([]string, error) {
				return pages.WriteCharts(dir, run, records)
			}, func(w io.Writer) error {
				return pages.Formats(run, records).Write(w, o.format, a.reportOptions(w))
			}))
		}),
	}
	storeFlag(cmd, &db)
	o.flags(cmd, pages.Formats(results.Run{}, nil).Names())
	o.chartsFlag(cmd)
	return cmd
}

func (a *app) runsCommand() *cobra.Command {
	var db string
	cmd := &cobra.Command{
		Use:     "runs",
		Short:   "List the runs of a store",
		Example: "  stackmeter runs --db nightly.db",
		Args:    arguments(cobra.NoArgs),
		RunE: withStore(&db, func(ctx context.Context, store results.Store, _ []string) error {
			runs, err := store.Runs(ctx)
			if err != nil {
				return err
			}
			return report.WriteRuns(a.stdout, runs)
		}),
	}
	storeFlag(cmd, &db)
	cmd.AddCommand(a.tagCommand())
	return cmd
}

func (a *app) tagCommand() *cobra.Command {
	var db, remove string
	cmd := &cobra.Command{
		Use:   "tag RUN NAME",
		Short: "Name a run; a name that another run had moves to it",
		Example: `  stackmeter runs tag latest release-1.2
  stackmeter runs tag --delete release-1.1`,
		Args: arguments(cobra.MaximumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (remove == "") != (len(args) == 2) {
				return usageError{errors.New("tag: give a RUN and a NAME, or --delete NAME")}
			}
			if len(args) == 2 {
				if err := results.CheckName(args[1]); err != nil {
					return usageError{fmt.Errorf("tag %q: %w", args[1], err)}
				}
			}
			if _, err := os.Stat(db); err != nil {
				return usageError{fmt.Errorf("tag: %w", err)}
			}
			store, err := openStoreToWrite(cmd.Context(), db)
			if err != nil {
				return err
			}
			defer store.Close()
			if remove != "" {
				return store.Untag(cmd.Context(), remove)
			}
			id, err := store.Find(cmd.Context(), args[0], results.Scope{})
			if err != nil {
				return err
			}
			return store.Tag(cmd.Context(), id, args[1])
		},
	}
	storeFlag(cmd, &db)
	cmd.Flags().StringVar(&remove, "delete", "", "remove the name `NAME` instead")
	return cmd
}

func (a *app) backupCommand() *cobra.Command {
	var db string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the store, even while runs write to it",
		Long: `backup copies the store to FILE, as it is at one moment. Runs may write to the
store meanwhile. A copy that fails leaves no file, and no file is overwritten.`,
		Example: `  stackmeter backup /backup/nightly-$(date +%F).db --db nightly.db`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if path, _, err := destination(args[0]); err == nil {
				if err := checkUnused(path, storeFiles(db)[1:]); err != nil { // over the store itself, Backup refuses
					return usageError{fmt.Errorf("backup %s: %w", args[0], err)}
				}
			}
			store, err := openStore(cmd.Context(), db)
			if err != nil {
				return err
			}
			defer store.Close()
			if err := store.Backup(cmd.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintln(a.stderr, "stackmeter: copied the store to", args[0])
			return nil
		},
	}
	storeFlag(cmd, &db)
	return cmd
}

// What a run needs on the store's disk. A record with its log tail, series and
// histogram takes less than 64 KiB. SQLite keeps a journal of what it changes.
const (
	cellSpace  = 64 << 10
	spareSpace = 8 << 20
)

// checkSpace refuses a run whose records may not fit on the store's disk: a full
// disk would end it in the middle of the night.
func checkSpace(db string, plan scenarios.Plan) error {
	folder := filepath.Dir(db)
	free, err := freeSpace(folder)
	if err != nil {
		return nil // opening the store says what is wrong with it
	}
	if need := int64(plan.Cells())*cellSpace + spareSpace; free < need {
		return fmt.Errorf("the disk of the store (%s) has %d MiB free, and the records of this run may take %d MiB; free some space, or name another file with --db", folder, free>>20, need>>20)
	}
	return nil
}

// freeSpace is how many bytes a folder's file system has for this user.
func freeSpace(folder string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err != nil {
		return 0, fmt.Errorf("%s: %w", folder, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil
}

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
