package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) backupCommand() *cobra.Command {
	var db string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the store, also while runs write to it",
		Long: `backup writes a copy of the store to FILE, as the store is at one moment. Runs
may go on meanwhile. The copy is whole or not there, and no file is overwritten.`,
		Example: `  stackmeter backup /backup/nightly-$(date +%F).db --db nightly.db`,
		Args:    arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			store, err := openStore(cmd.Context(), db)
			if err != nil {
				return err
			}
			defer store.Close()
			if err := store.Backup(cmd.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintln(a.stderr, "stackmeter: the store is copied to", args[0])
			return nil
		},
	}
	storeFlag(cmd, &db)
	return cmd
}
