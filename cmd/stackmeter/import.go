package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/scenarios/show"
)

func (a *app) importCommand() *cobra.Command {
	var db, table, tag string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Put results from elsewhere into the store, to report and compare them",
		Long: `import reads a file of results into the store: the JSON or CSV of stackmeter
report, or a CSV file of figures from elsewhere with the columns
table,files,server,workers,threads,nginx,client,pool,duration_s,gpu_memory_mib.
Each table becomes a run of its own, which every report marks as imported. A file
with an error anywhere is refused, with the line, and nothing of it is stored. Of a
run that was measured into this store, the records are added that it lacks.`,
		Example: `  stackmeter import result.json
  stackmeter import figures.csv --table 7 --tag published`,
		Args: usage.Arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.importFile(cmd.Context(), args[0], db, table, tag)
		},
	}
	storeFlag(cmd, &db)
	cmd.Flags().StringVar(&table, "table", "", "only this `TABLE` of a CSV file")
	usage.NameFlag(cmd, &tag, "tag", "name the run `NAME`, if the file holds only one")
	return cmd
}

// readResults reads the runs in a file.
func readResults(file, table string) ([]exchange.Imported, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, usage.Error(err)
	}
	defer f.Close()
	all, err := exchange.Read(file, f, table)
	if err != nil {
		return nil, usage.Error(err)
	}
	return all, nil
}

func (a *app) importFile(ctx context.Context, file, db, table, tag string) error {
	all, err := readResults(file, table)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if tag != "" && len(all) != 1 {
		return usage.Errorf("import: --tag names one run, and %s has %d tables: pick one with --table", file, len(all))
	}
	store, err := openStoreToWrite(ctx, db)
	if err != nil {
		return err
	}
	defer store.Close()
	for _, one := range all {
		one.Run.Imported = filepath.Base(file)
		if one.Run.Started.IsZero() {
			one.Run.Started = time.Now() // so that it is the latest
		}
		if one.Run.Tags = nil; tag != "" {
			one.Run.Tags = []string{tag}
		}
		added, err := addMissing(ctx, store, one)
		if err != nil {
			return fmt.Errorf("import %s: %w", file, err)
		}
		fmt.Fprintf(a.stdout, "%s  %s, %s\n", show.Clean(one.Run.ID), show.Clean(one.Run.Scenario), show.Plural(added, "record"))
	}
	return nil
}

// addMissing imports a run. Of one that was measured into this very store it adds
// the records that the store lacks: those that a keeper wrote to a file.
func addMissing(ctx context.Context, store results.Store, one exchange.Imported) (added int, err error) {
	run, err := store.ByID(ctx, one.Run.ID)
	if errors.Is(err, results.ErrNoRun) || err == nil && (run.Imported != "" || !run.Started.Equal(one.Run.Started)) {
		return len(one.Records), store.Import(ctx, one.Run, one.Records)
	}
	if err != nil {
		return 0, err
	}
	_, stored, err := store.Run(ctx, run.ID)
	if err != nil {
		return 0, err
	}
	held := map[results.Key]*results.Record{}
	for i := range stored {
		held[stored[i].Key()] = &stored[i]
	}
	for _, r := range one.Records {
		if o := held[r.Key()]; o != nil && (o.Status == results.StatusOK || !o.Started.Before(r.Started)) {
			continue
		}
		if err := store.Put(ctx, r); err != nil {
			return added, err
		}
		added++
	}
	for _, tag := range one.Run.Tags {
		if err := store.Tag(ctx, run.ID, tag); err != nil {
			return added, err
		}
	}
	if added == 0 {
		err = fmt.Errorf("the store holds run %s already, with all that is in the file", run.ID)
	}
	return added, err
}
