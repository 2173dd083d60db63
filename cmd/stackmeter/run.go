package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/sqlite"
	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// resumeLatest is --resume without a run.
const resumeLatest = "latest"

// forcedCleanup bounds what a second Ctrl-C still waits for.
const forcedCleanup = 10 * time.Second

type runOptions struct {
	scenario string
	set      []string
	only     string
	db       string
	runtime  string
	resume   string
	jsonFile string
	progress string
	gpu      gpuOptions
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Run a scenario: start each topology, measure its cells, print the tables",
		Long: `run starts each topology of the scenario as containers, sends its loads, and
removes it again. Every finished cell is in the store before anything else can
happen to it; Ctrl-C removes what was started and prints what is finished, and
--resume goes on where a run was interrupted.`,
		Example: `  stackmeter run scenarios/quickstart.yaml
  stackmeter run scenarios/reference/gunicorn-w1.yaml --set matrix.requests=[20] --set repeats=1
  stackmeter run scenarios/quickstart.yaml --only 'nginx*' --json result.json
  stackmeter run scenarios/quickstart.yaml --resume`,
		Args: arguments(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.scenario = args[0]
			if len(args) == 2 {
				// --resume RUN with a space: the run stands among the arguments.
				if o.resume != resumeLatest {
					return usageError{fmt.Errorf("run: one scenario at a time, not %q and %q", args[0], args[1])}
				}
				o.resume = args[1]
				if _, err := os.Stat(args[0]); err != nil {
					o.resume, o.scenario = args[0], args[1]
				}
			}
			return a.run(cmd.Context(), o)
		},
	}
	storeFlag(cmd, &o.db)
	scenarioFlags(cmd, &o.set, &o.only)
	runtimeFlag(cmd, &o.runtime)
	cmd.Flags().StringVar(&o.resume, "resume", "", "go on with an interrupted `RUN`, by default the scenario's latest")
	cmd.Flags().Lookup("resume").NoOptDefVal = resumeLatest
	cmd.Flags().StringVar(&o.jsonFile, "json", "", "also write the result as JSON to `FILE`; - for standard output, instead of the tables")
	gpuFlags(cmd, &o.gpu)
	cmd.Flags().StringVar(&o.gpu.sampler, "gpu-sampler", samplerOn, "on, or off to see what sampling the GPU costs: give the run once with each")
	cmd.Flags().StringVar(&o.progress, "progress", progressAuto, "auto, plain, json or none; on standard error")
	return cmd
}

// run executes a scenario. Its steps are those of DESIGN's "How one cell
// flows"; what can be refused is refused before the first one touches the
// engine.
func (a *app) run(ctx context.Context, o runOptions) error {
	scenario, plan, err := loadPlan(o.scenario, o.set, o.only)
	if err != nil {
		return err
	}
	if plan.Client.Engine != scenarios.EngineNative {
		return usageError{fmt.Errorf("client.engine: this version of stackmeter has the engine %q only, not %q", scenarios.EngineNative, plan.Client.Engine)}
	}
	progress, err := a.newProgress(o.progress)
	if err != nil {
		return err
	}
	runtime, err := openRuntime(o.runtime)
	if err != nil {
		return err
	}
	defer runtime.Close()
	store, err := sqlite.Open(ctx, o.db)
	if err != nil {
		return err
	}
	defer store.Close()

	gpus, err := openGPU(o.gpu)
	if err != nil {
		return err
	}
	defer gpus.close()
	run := results.Run{
		Scenario: scenario.Name, File: scenario.File, Started: time.Now(),
		Runtime: o.runtime, Host: host(runtime.Describe(ctx)), GPUDevices: gpus.devices, Plan: plan,
	}
	if err := a.begin(ctx, store, &run, o); err != nil {
		return err
	}
	ctx, release := a.signals(ctx, runtime, run.ID)
	defer release()
	loop := orchestrator.Orchestrator{
		Runtime: runtime, Client: orchestrator.Native{Client: &load.Client{}},
		GPU: gpus.sampler, NoGPU: gpus.reason, Devices: gpus.devices,
		Recorder: store, Notify: progress.event,
	}
	failed := loop.Run(ctx, run.ID, plan)
	progress.close()
	return a.finish(ctx, store, run.ID, o, failed)
}

// begin makes the run's row in the store, or finds the one to resume.
func (a *app) begin(ctx context.Context, store *sqlite.Store, run *results.Run, o runOptions) error {
	if o.resume == "" {
		run.ID = newRunID(run.Started)
		return store.Begin(ctx, *run)
	}
	before, err := findRun(ctx, store, o.resume, run.Scenario)
	if err != nil {
		return err
	}
	id := before.ID
	if before.Plan.Fingerprint() != run.Plan.Fingerprint() {
		return usageError{fmt.Errorf("run %s cannot be resumed: the scenario, or an override of it, has changed since, so that its cells could not be compared with new ones; start a new run, or give the same scenario, --set and --only", id)}
	}
	run.ID = id
	fmt.Fprintf(a.stderr, "stackmeter: going on with run %s of %s\n", id, before.Started.Local().Format(time.DateTime))
	return store.Resume(ctx, id)
}

// newRunID sorts by time and is never the same twice.
func newRunID(at time.Time) string {
	var b [2]byte
	rand.Read(b[:])
	return at.UTC().Format("20060102-150405") + "-" + hex.EncodeToString(b[:])
}

// finish closes the run's row and prints what there is, however the run ended.
func (a *app) finish(ctx context.Context, store *sqlite.Store, id string, o runOptions, failed error) error {
	interrupted := errors.Is(failed, errInterrupted)
	ctx = context.WithoutCancel(ctx)
	run, records, err := store.Run(ctx, id)
	if err != nil {
		return errors.Join(failed, err)
	}
	bad := 0
	for _, r := range records {
		if r.Status != results.StatusOK {
			bad++
		}
	}
	outcome := results.OutcomeOK
	switch {
	case interrupted:
		outcome = results.OutcomeInterrupted
	case failed != nil:
		outcome = results.OutcomeInfrastructure
	case bad > 0:
		outcome = results.OutcomeFailed
	}
	at := time.Now()
	if err := store.Finish(ctx, id, outcome, at); err != nil {
		return errors.Join(failed, err)
	}
	run.Outcome, run.Finished = outcome, &at
	if err := a.printRun(run, records, o); err != nil {
		return errors.Join(failed, err)
	}
	if failed == nil && bad > 0 {
		return fmt.Errorf("%w: %d of %d; the reasons are in the report (stackmeter report %s)", errCellsFailed, bad, len(records), id)
	}
	return failed
}

func (a *app) printRun(run results.Run, records []results.Record, o runOptions) error {
	if o.jsonFile != "" {
		err := a.output(o.jsonFile, func(w io.Writer) error {
			return report.Write(w, "json", run, records, report.Options{})
		})
		if err != nil || o.jsonFile == "-" {
			return err
		}
	}
	if len(records) == 0 {
		return nil
	}
	return report.Write(a.stdout, "table", run, records, a.reportOptions(a.stdout))
}

// signals returns a context that the first SIGINT or SIGTERM cancels, so that
// the stack under measurement is removed and what is finished is printed. The
// second one removes everything of the run by force and exits.
func (a *app) signals(ctx context.Context, runtime stacks.Runtime, runID string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	caught := make(chan os.Signal, 2)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	var finished atomic.Bool
	go func() {
		for n := 0; ; n++ {
			if _, more := <-caught; !more || finished.Load() {
				return
			}
			if n == 0 {
				fmt.Fprintln(a.stderr, "\nstackmeter: interrupted; removing what was started (once more to force it)")
				cancel(errInterrupted)
				continue
			}
			clean, stop := context.WithTimeout(context.WithoutCancel(ctx), forcedCleanup)
			_, err := runtime.Sweep(clean, runID)
			stop()
			if err != nil {
				fmt.Fprintln(a.stderr, "stackmeter:", err)
			}
			os.Exit(exitInterrupted)
		}
	}()
	return ctx, func() {
		finished.Store(true)
		signal.Stop(caught)
		close(caught)
		cancel(nil)
	}
}

func (a *app) loadWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    load.WorkerArgument,
		Short:  "One process of the client mode mp; started by stackmeter itself",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return load.Worker(a.stdin, a.stdout)
		},
	}
}
