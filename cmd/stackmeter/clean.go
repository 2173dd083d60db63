package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"stackmeter/scenarios/show"
)

func (a *app) cleanCommand() *cobra.Command {
	var runtimeName, run string
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what killed runs left behind, and nothing else",
		Long: `clean removes the containers and networks of runs whose stackmeter process is
gone. It finds them by the labels that stackmeter puts on what it makes, and
touches nothing else. A run that is alive is removed only if --run names it.`,
		Example: `  stackmeter clean
  stackmeter clean --run 20261123-081530-7f3a`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			runtime, err := openRuntime(runtimeName)
			if err != nil {
				return err
			}
			defer runtime.Close()
			if err := runtime.Check(cmd.Context()); err != nil {
				return err
			}
			removed, err := runtime.Sweep(cmd.Context(), run)
			for _, name := range removed {
				fmt.Fprintln(a.stdout, "removed", show.Clean(name))
			}
			if err == nil && len(removed) == 0 {
				fmt.Fprintln(a.stdout, "nothing to remove")
			}
			return err
		},
	}
	runtimeFlag(cmd, &runtimeName)
	cmd.Flags().StringVar(&run, "run", "", "remove everything of this `RUN`, even if it is alive")
	return cmd
}
