package main

import (
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/cmd/stackmeter/files"
	"stackmeter/cmd/stackmeter/loadflags"
	"stackmeter/cmd/stackmeter/machine"
	"stackmeter/cmd/stackmeter/runtimes"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
	"stackmeter/stacks/existing"
)

// existingServer is the runtime of load, which no --runtime names.
const existingServer = "existing"

func (a *app) loadCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "load URL",
		Short: "Send a load to a server that is there already",
		Long: `load sends requests to one URL with the client that run uses. It prints what a
cell of a run would hold: duration, throughput, latency, errors by kind, and what
the client itself used. It starts nothing and stores nothing. With --repeats it
sends the load several times and prints the tables of a run.

Without --client the load is single, with --pool mt, and with --rate or
--search-p99 open. Each request opens a connection of its own unless --keepalive
is given. A file is sent as the body, or with --field as a file of a form.

Ctrl-C ends the load and prints what was measured until then.

Exit status: 0 the load was sent, also when some answers were errors, unless
--max-errors says otherwise; 1 it could not be sent, as to a host
that has no address; 2 wrong usage; 3 nothing was
answered as expected, a search found no rate, or there were more errors than
--max-errors, which with --fail-on is none by default; 4 a condition of --fail-on is broken; 130 interrupted.`,
		Example: `  stackmeter load http://127.0.0.1:8000/healthz
  stackmeter load http://127.0.0.1:8000/predict --requests 100 --client mt --pool 10 --file 'images/*.jpg' --field file
  stackmeter load http://127.0.0.1:8000/predict --rate 20/s --arrivals poisson --generate 640x480 --field file
  stackmeter load http://127.0.0.1:8000/ --requests 200 --search-p99 50ms
  stackmeter load http://127.0.0.1:8000/ --repeats 5 --fail-on 'p99 < 200ms'
  stackmeter load http://localhost/ --unix-socket /run/app.sock --keepalive --max-errors 1%`,
		Args: usage.Arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, scenario, err := loadflags.Scenario(args[0], cmd.Flags())
			if err != nil {
				return usage.Error(err)
			}
			return a.load(cmd.Context(), server, scenario.Plan(), o)
		},
	}
	cmd.Flags().SortFlags = false
	loadflags.Add(cmd.Flags())
	cmd.Flags().StringVar(&o.jsonFile, "json", "", "also write the result as JSON to `FILE`; - for standard output, instead of the text")
	failOnFlag(cmd, &o.gate.failOn)
	cmd.Flags().StringVar(&o.progress, "progress", console.ProgressAuto, "`HOW` it is shown on standard error: auto, plain, json or none")
	return cmd
}

// load runs the plan over the server that is there already. Nothing is stored.
func (a *app) load(ctx context.Context, server string, plan scenarios.Plan, o runOptions) error {
	if err := errors.Join(o.gate.check(plan), machine.CheckCores(plan, false), files.CheckPlan(plan, "", o.jsonFile)); err != nil {
		return err
	}
	if thresholds, _ := o.gate.thresholds(plan); needsBaseline(thresholds) {
		return usage.Errorf("--fail-on: load stores nothing, so there is no base to compare with; write --json, and use stackmeter compare")
	}
	if plan.Request.MaxErrors == nil && len(o.gate.failOn) == 0 {
		plan.Request.MaxErrors = &wire.ErrorLimit{Percent: 100} // it is a look, and no gate
	}
	if len(plan.Trials) == 1 && o.progress == console.ProgressAuto && !a.stderr.Terminal() {
		o.progress = console.ProgressNone // the result says it all
	}
	progress, err := a.stderr.NewProgress(o.progress)
	if err != nil {
		return err
	}
	if plan, err = plan.WithPayloadFiles(); err != nil {
		return err
	}
	store, err := openPrivateStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	ctx, release := a.signals(ctx, onSignal{
		cause: errLoadInterrupted,
		first: "the result follows (press again to end at once)",
		late:  "the load did not end in time",
	})
	defer release()
	run := newRun(plan, existingServer, "")
	if err := store.Begin(ctx, run); err != nil {
		return err
	}
	runtime := &existing.Runtime{URL: existing.At(server)}
	loop := orchestrator.Orchestrator{
		Runtime: runtime, Client: runtimes.Client(plan.Client.Engine, runtime), Recorder: store, Notify: progress.Event, KeepCutShort: true,
	}
	failed := bySignal(ctx, loop.Run(ctx, run.ID, plan))
	progress.Close()
	if failed == nil {
		_, records, err := store.Run(ctx, run.ID)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(records, results.Record.Attempted) {
			failed = errors.New(records[0].Reason) // behind the result, as JSON too
		}
	}
	return a.finish(ctx, store, run.ID, o, failed)
}
