package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/cmd/stackmeter/machine"
	"stackmeter/cmd/stackmeter/manifest"
	"stackmeter/cmd/stackmeter/runtimes"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks/kubernetes"
)

// agentCommand has what belongs to stackmeter's own Pods in a cluster.
func (a *app) agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "What runs in a cluster beside the stacks",
		Args:  cobra.ArbitraryArgs,
		RunE:  usage.HelpOnly,
	}
	for name, do := range map[string]func(context.Context) error{
		"hold":    func(context.Context) error { return kubernetes.Hold() },
		"release": func(context.Context) error { return kubernetes.Release() },
		"sample":  func(ctx context.Context) error { return machine.Sample(ctx, a.stdin, a.stdout) },
	} {
		cmd.AddCommand(&cobra.Command{
			Use: name, Short: "What stackmeter itself calls in its Pods", Hidden: true, Args: usage.Arguments(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error { return do(cmd.Context()) },
		})
	}
	cmd.AddCommand(append(runtimes.PodCommands(a.stdin, a.stdout), runtimes.ImageCommand(a.stdout, a.progress), a.agentManifestCommand())...)
	return cmd
}

// progress says what is made for a cluster meanwhile.
func (a *app) progress(line string) { fmt.Fprintln(a.stderr, "stackmeter:", show.Clean(line)) }

// agentManifestCommand has the flags of run: those of the orchestrator's run are given on.
func (a *app) agentManifestCommand() *cobra.Command {
	var o runOptions
	m := manifest.Manifest{Variable: storeVariable, Runtime: &o.runtime}
	warn := a.stderr
	m.Load = func(file string, set []string, allow ...string) (scenarios.Plan, error) {
		at := o.plan
		at.set, at.allow = slices.Concat(at.set, set), slices.Concat(at.allow, allow)
		_, plan, err := (&app{stderr: warn}).loadPlan(file, at)
		warn = console.NewTeller(io.Discard) // once
		if err != nil {
			return plan, err
		}
		return plan, refuse(plan, o)
	}
	cmd := &cobra.Command{
		Use:   "manifest SCENARIO",
		Short: "Print what runs a scenario from within a cluster, for kubectl apply",
		Long: `manifest prints a Job, or with --schedule a CronJob, whose Pod runs the scenario with the
flags of run that are given here, and what it needs: a ServiceAccount with no more rights
than a run uses, and the scenario with the files that it reads. Its store is a PostgreSQL
database; a Pod that is killed is made again, and goes on with the run. With --image-prefix
the images of stackmeter and of proxies are made and pushed here.`,
		Example: `  kubectl create secret generic bench --from-literal=url=postgres://bench:…@db/bench
  stackmeter agent manifest nightly.yaml --namespace bench --db-secret bench \
    --image-prefix registry.example/team --schedule "0 2 * * *" | kubectl apply -f -`,
		Args: usage.Scenario(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return m.Print(cmd.Context(), cmd.Flags(), args[0], a.progress, a.stdout)
		},
	}
	o.flags(cmd)
	lanesFlag(cmd, &o.plan)
	m.Flags(cmd)
	return cmd
}
