package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/strategy"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

type runOptions struct {
	scenario string
	plan     scenarioOptions
	db       string
	runtime  string
	resume   string
	jsonFile string
	progress string
	wait     time.Duration // for a run that holds what this one needs
	timeout  time.Duration // of the whole run; 0: none
	failFast bool          // the first failed cell ends the run
	gpu      gpuOptions
	gate     gateOptions
}

func (a *app) runCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run SCENARIO",
		Short: "Run a scenario: start each topology, measure its cells, print the tables",
		Long: `run starts each topology of the scenario in containers, sends its loads, and
removes it again. It stores every cell as soon as it is finished. Ctrl-C removes
what was started and prints what is finished; --resume continues the run.`,
		Example: `  stackmeter run scenarios/quickstart.yaml
  stackmeter run scenarios/reference/gunicorn-w1.yaml --set matrix.requests=[20] --set repeats=1
  stackmeter run scenarios/quickstart.yaml --only 'nginx*' --json result.json
  stackmeter run scenarios/quickstart.yaml --resume`,
		Args: scenarioArgument(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.scenario = args[0]
			if len(args) == 2 {
				if err := spacedWait(cmd, args); err != nil {
					return err
				}
				// --resume RUN, with a space: the run is among the arguments.
				if o.resume != results.Latest {
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
	scenarioFlags(cmd, &o.plan)
	runtimeFlag(cmd, &o.runtime)
	cmd.Flags().StringVar(&o.resume, "resume", "", "continue an interrupted `RUN`, by default the scenario's latest")
	cmd.Flags().Lookup("resume").NoOptDefVal = results.Latest
	cmd.Flags().StringVar(&o.jsonFile, "json", "", "also write the result as JSON to `FILE`; - for standard output, instead of the tables")
	waitFlag(cmd, &o.wait)
	timeFlag(cmd, &o.timeout, "timeout", 0, "end the run after this `TIME`, as Ctrl-C would but with exit status 1; --wait does not count; 0 for no limit")
	gpuFlags(cmd, &o.gpu)
	timeFlag(cmd, &o.gpu.wait, "gpu-wait", orchestrator.DefaultGPUWait, fmt.Sprintf("wait up to `TIME` for a GPU that others use before refusing a cell; 0 to refuse at once (default %v)", orchestrator.DefaultGPUWait))
	cmd.Flags().BoolVar(&o.failFast, "fail-fast", false, "measure nothing more once a cell has failed")
	cmd.Flags().StringVar(&o.gpu.sampler, "gpu-sampler", samplerOn, "on or off; to see what sampling the GPU costs, run once with each")
	failOnFlag(cmd, &o.gate.failOn)
	acrossFlag(cmd, &o.gate.across)
	cmd.Flags().StringVar(&o.gate.compare, "compare", "", "compare with this `RUN` at the end, as stackmeter compare does; by default with last-passed, cell by cell, if a threshold names base")
	nameFlag(cmd, &o.gate.tag, "tag", "name the run `NAME`")
	cmd.Flags().StringVar(&o.progress, "progress", progressAuto, "how to show progress on standard error: auto, plain, json or none")
	return cmd
}

// run executes a scenario. What can be refused is refused before anything is
// started, and before the run has a row in the store.
func (a *app) run(ctx context.Context, o runOptions) (err error) {
	scenario, plan, err := loadPlan(o.scenario, o.plan)
	if err != nil {
		return err
	}
	if err := refuse(plan, o); err != nil {
		return err
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
	if err := checkSpace(o.db, plan); err != nil {
		return err
	}
	opened, err := openStoreToWrite(ctx, o.db)
	if err != nil {
		return err
	}
	store := &keeper{Store: opened, db: o.db}
	defer store.Close()
	id, err := runID(ctx, store, plan.Scenario, o.resume)
	if err != nil {
		return err
	}
	if err := checkBaseline(ctx, store, plan.Scenario, id, o); err != nil {
		return err
	}

	var owned atomic.Pointer[string] // the run whose stacks the second signal removes
	ctx, release := a.signals(ctx, onSignal{
		cause: errRunInterrupted,
		first: "removing what was started (press again to force it)",
		late:  "the run did not end in time; the next run or stackmeter clean removes what is left",
		force: func() { a.sweepByForce(runtime, owned.Load()) },
		close: func() { _ = store.Close() }, // waits for a record that is being written
	})
	defer release()
	measured := false // once it is true, a signal is too late to interrupt anything
	defer func() {
		if !measured {
			err = bySignal(ctx, err)
		}
	}()
	began := time.Now()
	before, stop := o.within(ctx, 0)
	defer stop()
	gpus, err := openGPU(before, o.gpu)
	if err != nil {
		return err
	}
	defer gpus.close()
	if err := runtime.Check(before); err != nil {
		return err
	}
	runtime.Has(gpus.given(), gpus.reason)
	uuids, _, err := runtime.Devices(before, plan.Resources.GPU)
	if err != nil {
		return err
	}
	spent := time.Since(began)
	locks, err := a.lock(ctx, id, plan.Scenario, uuids, o.wait)
	if err != nil {
		return err
	}
	defer locks.Release()
	ctx, end := o.within(ctx, spent)
	defer end()
	store.WaitForLocks(ctx, func(text string) { fmt.Fprintln(a.stderr, "stackmeter:", show.Clean(text)) })
	// The files are read only now that the machine is this run's: they may have
	// hundreds of megabytes.
	if plan, err = plan.WithPayloadFiles(); err != nil {
		return err
	}
	run, err := a.begin(ctx, store, id, scenario, plan, gpus.devices, runtime, o)
	if err != nil {
		return err
	}
	owned.Store(&id)
	store.run = run
	cores, err := sharedCores(ctx, runtime)
	if err != nil {
		return err
	}
	loop := orchestrator.Orchestrator{
		Runtime: runtime, Client: openEngine(plan.Client.Engine, runtime), Images: run.Images,
		GPU: gpus.sampler, NoGPU: gpus.reason, GPUWait: o.gpu.wait, Cores: cores, Room: room,
		LockMachine: func(ctx context.Context) error {
			machine, err := a.lock(ctx, id, plan.Scenario, nil, o.wait)
			if err == nil {
				locks.Add(machine)
			}
			return err
		},
		Recorder: store, Notify: func(e orchestrator.Event) { progress.event(withStacks(e, o.db, run.ID)) },
	}
	if o.failFast {
		loop.Strategy = strategy.FailFast
	}
	failed := bySignal(ctx, loop.Run(ctx, run.ID, plan))
	measured = true
	progress.close()
	return a.finish(ctx, store, run.ID, o, failed)
}

// within returns a context that ends when --timeout is over, less the time that
// the run has spent already. Waiting for other runs does not count.
func (o runOptions) within(ctx context.Context, spent time.Duration) (context.Context, context.CancelFunc) {
	if o.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, o.timeout-spent, fmt.Errorf("the run took longer than --timeout %v; finished cells are kept, and stackmeter run --resume continues", o.timeout))
}

// refuse checks what can be checked of a plan and of the flags before anything is
// touched.
func refuse(plan scenarios.Plan, o runOptions) error {
	if err := o.gate.check(plan); err != nil {
		return err
	}
	if err := o.gpu.check(); err != nil {
		return err
	}
	for _, u := range planFiles(plan, "") {
		if sameFile(o.db, u.path) {
			return usageError{fmt.Errorf("--db %s: that is %s; name another file", o.db, u.what)}
		}
	}
	return errors.Join(checkCores(plan, o.runtime), checkStdout(planFiles(plan, "")), checkOutput("--json", o.jsonFile, planFiles(plan, o.jsonFile)))
}

// runID returns the id of the run to resume, or a new one.
func runID(ctx context.Context, store results.Store, scenario, resume string) (string, error) {
	if resume == "" {
		return newRunID(time.Now()), nil
	}
	id, err := store.Find(ctx, resume, results.Scope{Scenario: scenario})
	if err != nil {
		return "", fmt.Errorf("--resume: %w", err)
	}
	return id, nil
}

// begin enters the run into the store, or takes over the one to resume.
func (a *app) begin(ctx context.Context, store results.Store, id string, scenario *scenarios.Scenario, plan scenarios.Plan, devices []gpu.Device, runtime stackRuntime, o runOptions) (results.Run, error) {
	for _, text := range o.gate.failOn { // stored before the verdict, of which an interruption may leave none
		if !slices.Contains(plan.Thresholds, text) {
			plan.Thresholds = append(slices.Clone(plan.Thresholds), text)
		}
	}
	run := newRun(plan, o.runtime, runtime.Describe(ctx))
	run.ID, run.File, run.GPUDevices = id, scenario.File, devices
	owner, err := stacks.Self()
	if err != nil {
		return run, err
	}
	run.Owner = owner.String()
	if o.resume != "" {
		return a.resume(ctx, store, run, owner, runtime, o.resume == id, o.gate)
	}
	if o.gate.tag != "" {
		run.Tags = []string{o.gate.tag}
	}
	return run, store.Begin(ctx, run)
}

// newRun returns a run of the plan that begins now.
func newRun(plan scenarios.Plan, runtime, engine string) results.Run {
	now := time.Now()
	return results.Run{
		ID: newRunID(now), Scenario: plan.Scenario, Started: now, Runtime: runtime, Host: host(engine),
		Plan: plan, Planned: plan.Cells(), Fingerprint: plan.Fingerprint(),
	}
}

// newRunID returns an id that sorts by time and is never the same twice.
func newRunID(at time.Time) string {
	var b [2]byte
	rand.Read(b[:])
	return at.UTC().Format("20060102-150405") + "-" + hex.EncodeToString(b[:])
}

// finish stores how the run ended, prints what there is, and holds it against its
// thresholds.
func (a *app) finish(ctx context.Context, store results.Store, id string, o runOptions, failed error) error {
	ctx = context.WithoutCancel(ctx)
	run, records, err := store.Run(ctx, id)
	if err != nil {
		return errors.Join(failed, err)
	}
	counts := run.Count(records)
	outcome := results.OutcomeOK
	switch {
	case errors.Is(failed, errInterrupted):
		outcome = results.OutcomeInterrupted
	case failed != nil:
		outcome = results.OutcomeInfrastructure
	case counts.Bad() > 0:
		outcome = results.OutcomeFailed
	}
	at := time.Now()
	if err := store.Finish(ctx, id, outcome, at); err != nil {
		failed = errors.Join(failed, err) // and print what is finished
	}
	run.Outcome, run.Finished = outcome, &at
	if failed != nil {
		return errors.Join(failed, a.printRun(run, records, o))
	}
	comparison, judgement := a.judge(ctx, store, &run, records, o.gate)
	if err := a.printRun(run, records, o); err != nil {
		return err
	}
	if comparison != nil && o.jsonFile != "-" {
		fmt.Fprintln(a.stdout)
		if err := pages.ComparisonFormats(*comparison, run.Checks).Write(a.stdout, "table", a.reportOptions(a.stdout)); err != nil {
			return err
		}
	}
	if counts.Bad() > 0 {
		return o.cellsFailed(id, counts)
	}
	return judgement
}

// cellsFailed says how many cells have no figures, and where the reasons are.
func (o runOptions) cellsFailed(id string, c results.Counts) error {
	pruned, where := "", "the result says why"
	if c.Pruned > 0 {
		pruned = fmt.Sprintf(", and %d were pruned", c.Pruned)
	}
	if o.db != "" {
		where = "stackmeter report " + id + " gives the reasons"
	}
	return fmt.Errorf("%d of %s %w%s; %s", c.Failed, show.Plural(c.OK+c.Bad(), "cell"), errCellsFailed, pruned, where)
}

// withStacks adds to the event of a stuck run the name of a file with the stacks
// of all goroutines, which a bug report needs.
func withStacks(e orchestrator.Event, db, run string) orchestrator.Event {
	if e.Kind != orchestrator.EventStuck {
		return e
	}
	file := fmt.Sprintf("%s.%s.stuck.txt", db, run)
	f, err := os.Create(file)
	if err == nil {
		_, _ = fmt.Fprintf(f, "%s %s\n\n", e.Time.Format(time.RFC3339), e.Message)
		err = errors.Join(pprof.Lookup("goroutine").WriteTo(f, 2), f.Close())
	}
	if err != nil {
		e.Message += fmt.Sprintf("; where in the program cannot be said: %v", err)
	} else {
		e.Message += "; attach " + file + ", which says where in the program, to a bug report"
	}
	return e
}

func (a *app) printRun(run results.Run, records []results.Record, o runOptions) error {
	var failed error
	if o.jsonFile != "" {
		failed = a.output(o.jsonFile, func(w io.Writer) error {
			return pages.Formats(run, records).Write(w, "json", report.Options{})
		})
	}
	if o.jsonFile == "-" || len(records) == 0 {
		return failed
	}
	if run.Runtime == existingServer && len(records) == 1 {
		return errors.Join(failed, report.WriteLoad(a.stdout, run, records[0], a.reportOptions(a.stdout)))
	}
	return errors.Join(failed, pages.Formats(run, records).Write(a.stdout, "table", a.reportOptions(a.stdout)))
}
