package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/runtimes"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator/load/native"
	"stackmeter/scenarios/show"
	"stackmeter/stacks/process"
)

// gpuOptions say how the GPUs are read.
type gpuOptions struct {
	nvmlFile string // the driver's library
	sampler  string // samplerOn or samplerOff
	wait     time.Duration
}

const (
	samplerOn  = "on"
	samplerOff = "off"
)

func gpuFlags(cmd *cobra.Command, o *gpuOptions) {
	cmd.Flags().StringVar(&o.nvmlFile, "nvml", "", "the NVIDIA driver's library as a `FILE`, where the dynamic linker does not find it")
}

// check refuses options that cannot be.
func (o gpuOptions) check() error {
	if o.sampler != samplerOn && o.sampler != samplerOff {
		return usage.Unknown("gpu-sampler", o.sampler, []string{samplerOn, samplerOff})
	}
	return nil
}

func (a *app) cleanCommand() *cobra.Command {
	var from runtimes.Options
	var run string
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what killed runs left behind, and nothing else",
		Long: `clean removes the containers, networks and Pods of runs whose stackmeter process is
gone. It finds them by the labels that stackmeter puts on what it makes, and
touches nothing else. A run that is alive is removed only if --run names it.`,
		Example: `  stackmeter clean
  stackmeter clean --run 20261123-081530-7f3a`,
		Args: usage.Arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			runtime, err := from.Open()
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
	from.Flags(cmd)
	usage.NameFlag(cmd, &run, "run", "remove everything of this `RUN`, even if it is alive")
	return cmd
}

func (a *app) loadWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    native.WorkerArgument,
		Short:  "One process of the client mode mp; started by stackmeter itself",
		Hidden: true,
		Args:   usage.Arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return native.Worker(a.stdin, a.stdout)
		},
	}
}

func (a *app) processLauncherCommand() *cobra.Command {
	return &cobra.Command{
		Use:    process.LauncherArgument,
		Short:  "Looks after one service of a local stack; started by stackmeter itself",
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			return process.Launcher(args, a.stdin, a.stdout)
		},
	}
}
