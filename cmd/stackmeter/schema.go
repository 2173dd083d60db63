package main

import (
	"github.com/spf13/cobra"

	"stackmeter/scenarios"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of scenario files, for editors",
		Example: `  stackmeter schema > scenario.schema.json
  # then, as the first line of a scenario:
  # yaml-language-server: $schema=scenario.schema.json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(scenarios.Schema())
			return err
		},
	}
}
