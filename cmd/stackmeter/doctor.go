package main

import (
	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/doctor"
	"stackmeter/cmd/stackmeter/usage"
)

func (a *app) doctorCommand() *cobra.Command {
	var db string
	var gpus gpuOptions
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Check what this machine has and lacks, and say what to do",
		Example: "  stackmeter doctor",
		Args:    usage.Arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return doctor.Run(cmd.Context(), a.stdout, lookAtStore(cmd.Context(), db), gpus.nvmlFile)
		},
	}
	storeFlag(cmd, &db)
	gpuFlags(cmd, &gpus)
	return cmd
}
