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
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/cmd/stackmeter/files"
	"stackmeter/cmd/stackmeter/machine"
	"stackmeter/cmd/stackmeter/notify"
	"stackmeter/cmd/stackmeter/outline"
	"stackmeter/cmd/stackmeter/reuse"
	"stackmeter/cmd/stackmeter/runtimes"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator"
	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/lanes"
	"stackmeter/orchestrator/strategy"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/history"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

type runOptions struct {
	scenario string
	plan     scenarioOptions
	db       string
	runtime  runtimes.Options
	resume   string
	jsonFile string
	progress string
	wait     time.Duration // for a run that holds what this one needs
	timeout  time.Duration // of the whole run; 0: none
	reuse    time.Duration // how old a cell of another run may be to stand for one of this; 0: none does
	failFast bool          // the first failed cell ends the run
	gpu      gpuOptions
	gate     gateOptions
	notify   string // a command; empty: none

	since *verdict.Comparison // with the last time, where the run was held against nothing
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
		Args: usage.Scenario(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.arguments(cmd, args); err != nil {
				return err
			}
			return a.run(cmd.Context(), o)
		},
	}
	o.flags(cmd)
	lanesFlag(cmd, &o.plan)
	return cmd
}

// arguments are the scenario and, with a space behind --resume, the run.
func (o *runOptions) arguments(cmd *cobra.Command, args []string) error {
	o.scenario = args[0]
	if len(args) == 1 {
		return nil
	}
	if err := spacedWait(cmd, args); err != nil {
		return err
	}
	if o.resume != results.Latest {
		return usage.Errorf("%s: one scenario at a time, not %q and %q", cmd.Name(), args[0], args[1])
	}
	o.resume = args[1]
	if _, err := os.Stat(args[0]); err != nil {
		o.resume, o.scenario = args[0], args[1]
	}
	return nil
}

// flags adds those of every command that measures a scenario.
func (o *runOptions) flags(cmd *cobra.Command) {
	storeFlag(cmd, &o.db)
	scenarioFlags(cmd, &o.plan)
	o.runtime.Flags(cmd)
	cmd.Flags().StringVar(&o.resume, "resume", "", "continue an interrupted `RUN`, by default the scenario's latest; with the name that --tag gives, begin it if there is none")
	cmd.Flags().Lookup("resume").NoOptDefVal = results.Latest
	cmd.Flags().StringVar(&o.jsonFile, "json", "", "also write the result as JSON to `FILE`; - for standard output, instead of the tables")
	waitFlag(cmd, &o.wait)
	usage.TimeFlag(cmd, &o.timeout, "timeout", 0, "end the run after this `TIME`, as Ctrl-C would but with exit status 1; --wait does not count; 0 for no limit")
	reuseFlag(cmd, &o.reuse)
	gpuFlags(cmd, &o.gpu)
	usage.TimeFlag(cmd, &o.gpu.wait, "gpu-wait", orchestrator.DefaultGPUWait, fmt.Sprintf("wait up to `TIME` for a GPU that others use before refusing a cell; 0 to refuse at once (default %v)", orchestrator.DefaultGPUWait))
	cmd.Flags().BoolVar(&o.failFast, "fail-fast", false, "measure nothing more once a cell has failed")
	cmd.Flags().StringVar(&o.gpu.sampler, "gpu-sampler", samplerOn, "on or off; to see what sampling the GPU costs, run once with each")
	failOnFlag(cmd, &o.gate.failOn)
	acrossFlag(cmd, &o.gate.across)
	cmd.Flags().StringVar(&o.gate.compare, "compare", "", "compare with this `RUN` at the end, as stackmeter compare does, or with the last nights that passed (nights:7); by default with what the scenario says, if a threshold names base")
	usage.NameFlag(cmd, &o.gate.tag, "tag", "name the run `NAME`")
	cmd.Flags().StringVar(&o.notify, "notify", "", "call this `COMMAND` when the run has ended, with the verdict as JSON on standard input and in STACKMETER_VERDICT and others; without a shell, unless it is one: sh -c '…'")
	cmd.Flags().StringVar(&o.progress, "progress", console.ProgressAuto, "how to show progress on standard error: auto, plain, json or none")
}

// run executes a scenario. What can be refused is refused before anything is
// started, and before the run has a row in the store.
func (a *app) run(ctx context.Context, o runOptions) (err error) {
	scenario, plan, err := a.loadPlan(o.scenario, o.plan)
	if err != nil {
		return err
	}
	if err := refuse(plan, o); err != nil {
		return err
	}
	a.warnOfTight(o.gate.failOn)
	progress, err := a.stderr.NewProgress(o.progress)
	if err != nil {
		return err
	}
	runtime, err := o.runtime.Open()
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
	store := &keeper{store: opened, db: o.db}
	defer store.Close()
	id, err := o.runID(ctx, store, plan.Scenario)
	if err != nil {
		return err
	}
	locked, err := lockRun(ctx, opened, id, o.patience())
	if err != nil {
		return err
	}
	if err := checkBaseline(ctx, store, plan, id, o); err != nil {
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
	gpus, err := o.runtime.OpenGPUs(before, o.gpu.nvmlFile, o.gpu.sampler == samplerOn)
	if err != nil {
		return err
	}
	defer gpus.Close()
	if err := runtime.Check(before); err != nil {
		return err
	}
	runtime.Has(gpus.Given(), gpus.Reason)
	share, err := lanes.Devices(before, runtime, plan)
	if err != nil {
		return err
	}
	spent := time.Since(began)
	locks, err := machine.Lock(ctx, a.stderr, id, plan.Scenario, slices.Concat(share.Devices...), o.wait)
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
	past := outline.Past(ctx, opened, plan)
	if o.resume == "" {
		progress.Event(orchestrator.Event{Kind: orchestrator.EventNote, Time: time.Now(), Message: "this takes " + outline.Time(past, plan)})
	}
	run, err := a.begin(ctx, store, id, scenario, plan, gpus.Devices, runtime, locked, o)
	if err != nil {
		return err
	}
	owned.Store(&id)
	store.run = run
	cores, err := runtimes.SharedCores(ctx, runtime)
	if err != nil {
		return err
	}
	loop := orchestrator.Orchestrator{
		Runtime: runtime, Client: runtimes.Client(plan.Client.Engine, runtime), Images: run.Images, Devices: run.GPUDevices,
		GPU: gpus.Sampler, NoGPU: gpus.Reason, Agents: o.runtime.Agents(o.gpu.sampler == samplerOn), GPUWait: o.gpu.wait, Cores: cores, Room: o.runtime.Room(), Past: outline.Took(past),
		LockMachine: func(ctx context.Context) error {
			lock, err := machine.Lock(ctx, a.stderr, id, plan.Scenario, nil, o.wait)
			if err == nil {
				locks.Add(lock)
			}
			return err
		},
		Recorder: store, Notify: func(e orchestrator.Event) { progress.Event(withStacks(e, o.db, run.ID)) },
	}
	if o.reuse > 0 {
		now := run
		now.Plan = plan.Redacted() // as stores have it
		loop.Reuse = reuse.Of(store, now, o.reuse)
	}
	if o.failFast {
		loop.Strategy = strategy.FailFast(plan)
	}
	failed := bySignal(ctx, loop.Run(ctx, run.ID, plan))
	measured = true
	progress.Close()
	return a.finish(ctx, store, run.ID, o, failed)
}

// within returns a context that ends when --timeout is over, less the time that
// the run has spent already. Waiting for other runs does not count.
func (o runOptions) within(ctx context.Context, spent time.Duration) (context.Context, context.CancelFunc) {
	if o.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, o.timeout-spent, fmt.Errorf("the run took longer than --timeout %v; finished cells are kept, and --resume continues", o.timeout))
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
	if err := checkReuse(plan, o); err != nil {
		return err
	}
	if _, err := notify.Parse(o.notify); err != nil {
		return usage.Errorf("--notify: %w", err)
	}
	return errors.Join(machine.CheckCores(plan, o.runtime.Engine()), o.runtime.CheckClient(plan.Client), files.CheckPlan(plan, o.db, o.jsonFile))
}

// again reports whether the run is resumed if it is there, and begun otherwise: --resume
// names what --tag calls it. So an orchestrator is started that may be killed.
func (o runOptions) again() bool { return o.resume != "" && o.resume == o.gate.tag }

// patience is how long the run's lock is waited for. What was killed with its machine
// keeps it until the database misses it.
func (o runOptions) patience() time.Duration {
	if o.again() {
		return lockPatience
	}
	return 0
}

// runID returns the id of the run to resume, or a new one where there is none to resume.
func (o *runOptions) runID(ctx context.Context, store results.Store, scenario string) (string, error) {
	if o.resume != "" {
		id, err := store.Find(ctx, o.resume, results.Scope{Scenario: scenario})
		if err == nil {
			return id, nil
		}
		if !o.again() || !errors.Is(err, results.ErrNoRun) {
			return "", fmt.Errorf("--resume: %w", err)
		}
		o.resume = ""
	}
	return newRunID(time.Now()), nil
}

// begin enters the run into the store, or takes over the one to resume. locked says that
// the store has it for this process.
func (a *app) begin(ctx context.Context, store results.Store, id string, scenario *scenarios.Scenario, plan scenarios.Plan, devices []gpu.Device, runtime runtimes.Runtime, locked bool, o runOptions) (results.Run, error) {
	for _, text := range o.gate.failOn { // stored before the verdict, of which an interruption may leave none
		if !slices.Contains(plan.Thresholds, text) {
			plan.Thresholds = append(slices.Clone(plan.Thresholds), text)
		}
	}
	run := newRun(plan, o.runtime.Name, runtime.Describe(ctx))
	run.ID, run.File, run.GPUDevices = id, scenario.File, devices
	owner, err := stacks.Self()
	if err != nil {
		return run, err
	}
	run.Owner = owner.String()
	if o.resume != "" {
		return a.resume(ctx, store, run, owner, runtime, o.resume == id || locked, o)
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
		ID: newRunID(now), Scenario: plan.Scenario, Started: now, Runtime: runtime, Host: machine.Host(engine),
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
	run.Outcome = outcome
	if search := words.SearchOf(run, records); search != nil {
		run.Answers = search.Answers
		failed = errors.Join(failed, store.Answered(ctx, id, run.Answers))
		if outcome == results.OutcomeOK && len(run.Unanswered()) > 0 {
			outcome = results.OutcomeFailed
		}
	}
	at := time.Now()
	if err := store.Finish(ctx, id, outcome, at); err != nil {
		failed = errors.Join(failed, err) // and print what is finished
	}
	run.Outcome, run.Finished = outcome, &at
	defer func() { a.notify(ctx, run, records, o) }()
	if failed != nil {
		return errors.Join(failed, a.printRun(run, records, nil, o))
	}
	comparison, judgement := a.judge(ctx, store, &run, records, o.gate)
	if comparison == nil {
		var unread error // an earlier run that cannot be read leaves this one as it is
		if o.since, unread = history.LastTime(ctx, store, run, records); unread != nil {
			fmt.Fprintln(a.stderr, "stackmeter: what changed since the last time:", show.Clean(unread.Error()))
		}
	}
	if err := a.printRun(run, records, comparison, o); err != nil {
		return err
	}
	switch loads := run.Unanswered(); {
	case counts.Bad() > 0:
		return o.cellsFailed(id, counts)
	case len(loads) > 0:
		return fmt.Errorf("%w at %s", errNoAnswer, show.Line(strings.Join(loads, ", ")))
	}
	return judgement
}

// notify calls the user's command. That it failed is said, and changes nothing else.
func (a *app) notify(ctx context.Context, run results.Run, records []results.Record, o runOptions) {
	command, err := notify.Parse(o.notify) // again: the program can be gone by now
	if err == nil {
		err = command.Call(ctx, storeName(o.db), run, records, notify.Timeout)
	}
	if err != nil {
		fmt.Fprintln(a.stderr, "stackmeter: --notify:", show.Clean(err.Error()))
	}
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
	file := besides(db, run, "stuck.txt")
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

// printRun prints what there is, and what changed since the run that it was held
// against, if it was. The answer is last.
func (a *app) printRun(run results.Run, records []results.Record, changed *verdict.Comparison, o runOptions) error {
	var failed error
	if o.jsonFile != "" {
		failed = files.Write(a.stdout, o.jsonFile, func(w io.Writer) error {
			return pages.Formats(run, records).Write(w, "json", report.Options{})
		})
	}
	if o.jsonFile == "-" || len(records) == 0 {
		return failed
	}
	if run.Runtime == existingServer && len(records) == 1 {
		return errors.Join(failed, report.WriteLoad(a.stdout, run, records[0], console.ReportOptions(a.stdout)))
	}
	ending := report.Printed("table", func() report.Document {
		if changed == nil {
			return report.NewDocument(run, records, o.since)
		}
		return report.NewEnding(run, records, changed)
	})
	return errors.Join(failed, ending.Write(a.stdout, "table", inStore(console.ReportOptions(a.stdout), o.db)))
}
