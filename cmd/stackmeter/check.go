package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/check"
	"stackmeter/cmd/stackmeter/machine"
	"stackmeter/cmd/stackmeter/runtimes"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

type checkOptions struct {
	plan    scenarioOptions
	runtime runtimes.Options
	wait    time.Duration
	gpu     gpuOptions
}

func (a *app) checkCommand() *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check SCENARIO",
		Short: "Start one stack of a scenario, send it one request, and show the answer",
		Long: `check starts the first stack of a scenario, or of those that --only names, and waits
until it is ready. It says what was read back of it, sends one request as a run
would, shows the answer, and removes the stack. Nothing is measured, and nothing is
stored.

Exit status: 0 the answer is as the scenario expects; 1 infrastructure failed; 2 wrong
usage or scenario; 3 the stack did not start, was not what was asked for, or did not
answer as expected.`,
		Example: `  stackmeter check scenarios/quickstart.yaml
  stackmeter check scenarios/quickstart.yaml --only 'nginx*' --runtime process`,
		Args: usage.Scenario(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.check(cmd.Context(), args[0], o)
		},
	}
	scenarioFlags(cmd, &o.plan)
	o.runtime.Flags(cmd)
	waitFlag(cmd, &o.wait)
	gpuFlags(cmd, &o.gpu)
	return cmd
}

// check has the machine to itself while the stack is up, as a run has: it would
// disturb one.
func (a *app) check(ctx context.Context, file string, o checkOptions) (err error) {
	scenario, plan, err := a.loadPlan(file, o.plan)
	if err != nil {
		return err
	}
	if err := machine.CheckCores(plan, o.runtime.Engine()); err != nil {
		return err
	}
	runtime, err := o.runtime.Open()
	if err != nil {
		return err
	}
	defer runtime.Close()
	id := newRunID(time.Now())
	ctx, release := a.removing(ctx, runtime, id)
	defer release()
	defer func() { err = bySignal(ctx, err) }()
	gpus, err := o.runtime.OpenGPUs(ctx, o.gpu.nvmlFile, true)
	if err != nil {
		return err
	}
	defer gpus.Close()
	if err := runtime.Check(ctx); err != nil {
		return err
	}
	runtime.Has(gpus.Given(), gpus.Reason)
	uuids, _, err := runtime.Devices(ctx, plan.Resources.GPU)
	if err != nil {
		return err
	}
	locks, err := machine.Lock(ctx, a.stderr, id, plan.Scenario, uuids, o.wait)
	if err != nil {
		return err
	}
	defer locks.Release()
	one := check.Check{
		Runtime: runtime, Run: id, Plan: plan, Topology: first(scenario, plan), Out: a.stdout,
		Progress: func(line string) { fmt.Fprintln(a.stderr, "stackmeter:", show.Clean(line)) },
	}
	if err := one.Do(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "To measure it: stackmeter run %s\n", show.Line(file))
	return err
}

// first is the first topology of a scenario that its plan has.
func first(scenario *scenarios.Scenario, plan scenarios.Plan) scenarios.Topology {
	i := slices.IndexFunc(scenario.Topologies, func(t scenarios.Topology) bool {
		return slices.ContainsFunc(plan.Trials, func(trial scenarios.Trial) bool { return trial.Topology.Name == t.Name })
	})
	return scenario.Topologies[i]
}
