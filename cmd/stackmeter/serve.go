package main

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/results"
	"stackmeter/results/report/server"
	"stackmeter/stacks"
)

// defaultListen is where serve listens: on this machine alone.
const defaultListen = "127.0.0.1:7878"

func (a *app) serveCommand() *cobra.Command {
	var db, listen string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Show the store's runs in a browser on this machine, also while they run",
		Long: `serve shows the store's runs and their reports to a browser on this machine, until
Ctrl-C. It only reads. The page of a run that is under way is renewed every two
seconds.`,
		Example: `  stackmeter serve --db nightly.db
  stackmeter serve --listen 127.0.0.1:0`,
		Args: usage.Arguments(cobra.NoArgs),
		RunE: withStore(&db, func(ctx context.Context, store results.Store, _ []string) error {
			ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			listener, err := server.Listen(ctx, listen)
			if err != nil {
				return usage.Errorf("--listen: %w", err)
			}
			fmt.Fprintf(a.stdout, "%s is shown at http://%s/ until Ctrl-C.\n", storeName(db), listener.Addr())
			shown := server.Server{Store: store, Name: shortName(db), Alive: func(run results.Run) bool { return underWay(ctx, store, run) }}
			return shown.Serve(ctx, listener)
		}),
	}
	storeFlag(cmd, &db)
	cmd.Flags().StringVar(&listen, "listen", defaultListen, "`ADDRESS` of this machine, 127.0.0.1:PORT; port 0 takes a free one")
	return cmd
}

// alive reports whether the process that executes a run exists, as far as that
// can be seen from here.
func alive(run results.Run) bool {
	owner, err := stacks.ParseOwner(run.Owner)
	if err != nil {
		return false
	}
	self, err := stacks.Self()
	return err != nil || !owner.Gone(self)
}
