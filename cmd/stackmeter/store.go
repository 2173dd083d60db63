package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/cmd/stackmeter/doctor"
	"stackmeter/cmd/stackmeter/files"
	"stackmeter/cmd/stackmeter/machine"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/postgres"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/sqlite"
	"stackmeter/results/verdict/history"
	"stackmeter/scenarios"
)

// The store where no flag names one: what the variable says, or else the file.
const (
	storeVariable = "STACKMETER_DB"
	defaultStore  = "stackmeter.db"
)

// lockPatience is how long the lock of a run is waited for that an orchestrator goes on
// with which may have been killed with its machine: PostgreSQL misses that in 25 seconds.
const lockPatience = time.Minute

func storeFlag(cmd *cobra.Command, db *string) {
	cmd.Flags().StringVar(db, "db", cmp.Or(os.Getenv(storeVariable), defaultStore), "the store: an SQLite `FILE`, or a PostgreSQL database as postgres://USER@HOST/DATABASE; by default what $"+storeVariable+" names")
	f := cmd.Flags().Lookup("db")
	f.DefValue = storeName(f.DefValue) // --help prints it
}

// storeName is what a store is called where others may read it: without a password.
func storeName(db string) string {
	if postgres.Is(db) {
		return postgres.Name(db)
	}
	return db
}

// besides is the name of a file that belongs to a run in a store.
func besides(db, run, what string) string {
	if postgres.Is(db) {
		db = "stackmeter" // in the working directory
	}
	return fmt.Sprintf("%s.%s.%s", db, run, what)
}

// A store is what commands need of one.
type store interface {
	results.Store

	// WaitForLocks makes the store wait for what it needs until ctx is over, for what
	// nobody can do again. Waits are told of.
	WaitForLocks(ctx context.Context, told func(string))

	// Locked reports whether somebody waits for that.
	Locked() bool
}

// A shared store is one whose runs may be executed on several machines.
type shared interface {
	// Lock takes a run for this process; the error is results.ErrRunning if another
	// one has it. who is what others are told.
	Lock(ctx context.Context, run, who string) error

	// Holder says who executes a run; "" for nobody.
	Holder(ctx context.Context, run string) (string, error)
}

// inStore makes commands in a report name the store, unless they find it anyway.
func inStore(o report.Options, db string) report.Options {
	if db != cmp.Or(os.Getenv(storeVariable), defaultStore) {
		o.Store = db
	}
	return o
}

// openStore opens a store to read it. One that does not exist is a wrong
// argument.
func openStore(ctx context.Context, db string) (store, error) {
	if postgres.Is(db) {
		return opened(postgres.OpenReadOnly(ctx, db))
	}
	return opened(sqlite.OpenReadOnly(ctx, db))
}

// opened makes a usage error of that of a name that cannot be a store's.
func opened[S store](s S, err error) (store, error) {
	noFile := errors.Is(err, fs.ErrNotExist) && !errors.As(err, new(*net.OpError)) // a server's socket is one, too
	if noFile || errors.Is(err, postgres.ErrName) {
		err = usage.Error(err)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// openStoreToWrite opens a store to write to it, and makes it if there is none.
func openStoreToWrite(ctx context.Context, db string) (store, error) {
	if postgres.Is(db) {
		return opened(postgres.Open(ctx, db))
	}
	return opened(sqlite.Open(ctx, db))
}

// openStoreThatIs opens a store to write to it, which has to be there.
func openStoreThatIs(ctx context.Context, db string) (store, error) {
	if !postgres.Is(db) {
		if _, err := os.Stat(db); err != nil {
			return nil, usage.Error(err)
		}
	} else if s, err := openStore(ctx, db); err != nil {
		return nil, err
	} else if err := s.Close(); err != nil {
		return nil, err
	}
	return openStoreToWrite(ctx, db)
}

// checkPlace refuses a store that cannot be made.
func checkPlace(db string) error {
	if postgres.Is(db) {
		return nil // opening it says what is wrong with it
	}
	if _, err := os.Stat(filepath.Dir(db)); err != nil {
		return usage.Errorf("--db: %w", err)
	}
	return nil
}

// shortName is what the pages of a store call it.
func shortName(db string) string {
	if postgres.Is(db) {
		return storeName(db)
	}
	return filepath.Base(db)
}

// lookAtStore is what there is of a store, which need not be there yet.
func lookAtStore(ctx context.Context, db string) doctor.Store {
	found := doctor.Store{Folder: filepath.Dir(db)}
	if postgres.Is(db) {
		found.Folder = ""
	}
	s, err := openStore(ctx, db)
	var runs []results.Run
	if err == nil {
		defer s.Close()
		runs, err = s.Runs(ctx, results.Scope{}, 1)
	}
	switch {
	case usage.Is(err):
		found.Text = "none yet: " + err.Error()
	case err != nil:
		found.Err = err
	case len(runs) == 0:
		found.Text = storeName(db) + " holds no runs yet"
	default:
		found.Text = fmt.Sprintf("%s answers; its last run is %s of %s", storeName(db), runs[0].ID, runs[0].Scenario)
	}
	return found
}

// openPrivateStore opens a store of this process alone, for what nobody keeps.
func openPrivateStore(ctx context.Context) (store, error) { return opened(sqlite.OpenInMemory(ctx)) }

// lockRun takes a run for this process, if the store is one whose runs may be executed
// elsewhere. Of a file's runs the owners are processes of this machine, which can be
// looked for.
func lockRun(ctx context.Context, s store, run string, patience time.Duration) (locked bool, err error) {
	of, is := s.(shared)
	if !is {
		return false, nil
	}
	for began := time.Now(); ; {
		err = of.Lock(ctx, run, machine.Self())
		if !errors.Is(err, results.ErrRunning) {
			return err == nil, err
		}
		if time.Since(began) >= patience {
			return false, usage.Error(err)
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(time.Second):
		}
	}
}

// underWay reports whether a process executes a run, as far as that can be seen from
// here.
func underWay(ctx context.Context, s results.Store, run results.Run) bool {
	if of, is := s.(shared); is && run.Outcome == "" {
		holder, err := of.Holder(ctx, run.ID)
		return err != nil || holder != ""
	}
	return run.Outcome == "" && alive(run)
}

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
		Args: usage.Arguments(cobra.MaximumNArgs(1)),
		RunE: withStore(&db, func(ctx context.Context, store results.Store, args []string) error {
			run, records, err := store.Run(ctx, strings.Join(args, ""))
			if err != nil && (!errors.Is(err, results.ErrDamaged) || len(records) == 0) {
				return err
			}
			changed, unread := history.LastTime(ctx, store, run, records)
			if err = errors.Join(err, unread); unread != nil {
				changed = nil
			}
			// What could be read of a damaged store is shown.
			return errors.Join(err, a.write(o, func(dir string) ([]string, error) {
				return pages.WriteCharts(dir, run, records)
			}, func(w io.Writer) error {
				return pages.FormatsSince(run, records, changed).Write(w, o.format, inStore(console.ReportOptions(w), db))
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
	var last int
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "List the runs of a store",
		Example: `  stackmeter runs --db nightly.db
  stackmeter runs --last 0`,
		Args: usage.Arguments(cobra.NoArgs),
		RunE: withStore(&db, func(ctx context.Context, store results.Store, _ []string) error {
			if last < 0 {
				return usage.Errorf("--last %d: it has to be a number of runs, or 0 for all", last)
			}
			more := last
			if last > 0 {
				more++
			}
			runs, err := store.Runs(ctx, results.Scope{}, more)
			if err != nil {
				return err
			}
			if last > 0 && len(runs) > last {
				runs = runs[:last]
				fmt.Fprintf(a.stderr, "stackmeter: these are the last %d runs; --last 0 lists all\n", last)
			}
			return report.WriteRuns(a.stdout, runs)
		}),
	}
	storeFlag(cmd, &db)
	cmd.Flags().IntVar(&last, "last", 100, "only the last `N` runs; 0 for all")
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
		Args: usage.Arguments(cobra.MaximumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (remove == "") != (len(args) == 2) {
				return usage.Errorf("tag: give a RUN and a NAME, or --delete NAME")
			}
			if len(args) == 2 {
				if err := results.CheckName(args[1]); err != nil {
					return usage.Errorf("tag %q: %w", args[1], err)
				}
			}
			store, err := openStoreThatIs(cmd.Context(), db)
			if err != nil {
				return fmt.Errorf("tag: %w", err)
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
		Short: "Copy the file of a store, even while runs write to it",
		Long: `backup copies the store to FILE, as it is at one moment. Runs may write to the
store meanwhile. A copy that fails leaves no file, and no file is overwritten. A store
in PostgreSQL is backed up by pg_dump.`,
		Example: `  stackmeter backup /backup/nightly-$(date +%F).db --db nightly.db`,
		Args:    usage.Arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := files.CheckBackup(args[0], db); err != nil {
				return err
			}
			if postgres.Is(db) {
				return usage.Errorf("backup copies the file of an SQLite store; %s is a database: pg_dump copies it as it is at one moment, and stackmeter copy its runs into a file", storeName(db))
			}
			store, err := sqlite.OpenReadOnly(cmd.Context(), db)
			if _, err := opened(store, err); err != nil {
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
	if postgres.Is(db) {
		return nil // its disk is the server's
	}
	folder := filepath.Dir(db)
	free, err := machine.FreeSpace(folder)
	if err != nil {
		return nil // opening the store says what is wrong with it
	}
	if need := int64(plan.Cells())*cellSpace + spareSpace; free < need {
		return fmt.Errorf("the disk of the store (%s) has %d MiB free, and the records of this run may take %d MiB; free some space, or name another file with --db", folder, free>>20, need>>20)
	}
	return nil
}

// A keeper is the store of a run. Nobody can measure a cell again as it was, so
// what cannot be stored is written to a file that stackmeter import reads.
type keeper struct {
	store
	db   string
	run  results.Run      // once it has begun
	lost []results.Record // that are not stored
}

func (k *keeper) Put(ctx context.Context, r results.Record) error {
	err := k.store.Put(ctx, r)
	if err == nil || errors.Is(err, results.ErrHeld) {
		return err
	}
	k.lost = slices.DeleteFunc(k.lost, func(o results.Record) bool { return o.Key() == r.Key() })
	k.lost = append(k.lost, r)
	run, records := k.run, k.lost
	if errors.Is(err, results.ErrMoved) {
		// The file is open, and has what was stored before.
		if all, stored, err := k.store.Run(ctx, run.ID); err == nil {
			run, records = all, append(stored, records...)
		}
	}
	file, failed := keep(k.db, run, records)
	if failed != nil {
		return fmt.Errorf("%w\nthe record could not be kept in a file either: %v", err, failed)
	}
	return fmt.Errorf("%w\nthe record is kept in %s; once the store can be written, `stackmeter import %s --db %s` adds it", err, file, file, storeName(k.db))
}

// keep writes a run to a file beside the store, or else to where there is room.
func keep(db string, run results.Run, records []results.Record) (file string, failed error) {
	path := besides(db, run.ID, "json")
	for _, folder := range []string{filepath.Dir(path), ".", os.TempDir()} {
		file = filepath.Join(folder, filepath.Base(path))
		err := files.Replace(file, func(w io.Writer) error { return exchange.WriteJSON(w, run, records) })
		if err == nil {
			return file, nil
		}
		failed = errors.Join(failed, err)
	}
	return "", failed
}
