package main

import (
	"errors"
	"io"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/manual"
	"stackmeter/cmd/stackmeter/usage"
)

func (a *app) helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND | TOPIC]",
		Short: "Help about any command, and the manual by topic",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if len(args) == 1 && cmd == root {
				return manual.Write(a.stdout, args[0])
			}
			if err = errors.Join(err, usage.HelpOnly(cmd, rest)); err == nil && cmd == root {
				_, err = io.WriteString(a.stdout, "\n"+manual.Topics())
			}
			return err
		},
	}
}
