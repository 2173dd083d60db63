package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/python"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

func (a *app) loadCommand() *cobra.Command {
	var o loadOptions
	cmd := &cobra.Command{
		Use:   "load URL",
		Short: "Send a load to a server that is there already: the client of run, alone",
		Long: `load sends requests to one URL with the client that run uses, and prints what a
cell of a run would hold: duration, throughput, latency, errors by kind, and
what the client itself took. Nothing is started, and nothing is stored.

Without a --client it is single, with a --pool mt, and with a --rate or a
--search-p99 open. Each request opens a connection of its own unless --keepalive
is given. A file is sent as the body, or with --field as a file of a form.

With Ctrl-C the load ends, and what was measured until then is printed.

Exit status: 0 the load was sent, also when some answers were errors (see
--max-errors); 1 it could not be sent; 2 wrong usage; 3 nothing was answered as
expected, or --max-errors was exceeded; 130 interrupted.`,
		Example: `  stackmeter load http://127.0.0.1:8000/healthz
  stackmeter load http://127.0.0.1:8000/predict --requests 100 --client mt --pool 10 --file 'images/*.jpg' --field file
  stackmeter load http://127.0.0.1:8000/predict --rate 20/s --arrivals poisson --generate 640x480 --field file
  stackmeter load http://127.0.0.1:8000/ --requests 200 --search-p99 50ms
  stackmeter load http://localhost/ --unix-socket /run/app.sock --keepalive --max-errors 1%`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.load(cmd.Context(), args[0], o)
		},
	}
	loadFlags(cmd, &o)
	return cmd
}

// load sends a load and prints its record.
func (a *app) load(ctx context.Context, rawURL string, o loadOptions) error {
	job, plan, err := o.job(rawURL)
	if err != nil {
		return usageError{err}
	}
	if err := checkOutput("--json", o.jsonFile); err != nil {
		return err
	}
	client, err := o.client(job)
	if err != nil {
		return usageError{err}
	}
	progress, err := a.newLoadProgress(o.progress)
	if err != nil {
		return err
	}
	if plan, err = plan.WithPayloadFiles(); err != nil {
		return err
	}
	ctx, release := a.interruptible(ctx)
	defer release()

	cell := plan.Trials[0].Cells[0]
	run := results.Run{
		ID: newRunID(time.Now()), Scenario: plan.Scenario, Started: time.Now(),
		Host: host(""), Plan: plan, Fingerprint: plan.Fingerprint(),
	}
	rec := results.Record{Run: run.ID, Topology: plan.Trials[0].Topology, Cell: cell, Started: run.Started, Status: results.StatusOK}
	rec.GPU.Reason = "the load client alone does not measure the server"
	rec.Memory.Reason = rec.GPU.Reason
	failed := o.send(ctx, client, job, &rec, progress)
	progress.close()
	if failed != nil && !errors.Is(failed, errLoadFailed) && !errors.Is(failed, errLoadInterrupted) {
		return failed
	}
	at := time.Now()
	run.Finished, run.Outcome = &at, results.OutcomeOK
	switch {
	case errors.Is(failed, errLoadInterrupted):
		run.Outcome = results.OutcomeInterrupted
	case failed != nil:
		run.Outcome = results.OutcomeFailed
	}
	return errors.Join(a.printLoad(run, rec, o), failed)
}

// Ends of a load that leave a record to print.
var (
	errLoadFailed      = errors.New("the load failed; the result says why")
	errLoadInterrupted = errors.New("interrupted; the result has what was measured until then")
)

// send warms the server up, sends the load and fills the record.
func (o loadOptions) send(ctx context.Context, client orchestrator.Client, job load.Job, rec *results.Record, progress progress) error {
	if o.warmup > 0 {
		warm := job
		warm.Load = scenarios.LoadSpec{Client: scenarios.ClientMT, Pool: max(1, min(job.Load.Pool, o.warmup)), Requests: o.warmup}
		warm.Request.MaxErrors = nil
		if job.Load.Client == scenarios.ClientOpen {
			warm.Load.Pool = 1
		}
		sent, err := fire(ctx, client, warm, func(int) {})
		if err == nil {
			err = orchestrator.Judge(sent, nil)
		}
		if err != nil {
			return interruptedOr(ctx, fmt.Errorf("warm-up: %w", err))
		}
	}
	event := orchestrator.Event{Topology: rec.Topology.Name, Cell: rec.Cell.Name, Requests: rec.Cell.Load.Requests}
	tell := func(kind string, done int) {
		event.Time, event.Kind, event.Done = time.Now(), kind, done
		progress.event(event)
	}
	tell(orchestrator.EventCell, 0)
	rec.Started = time.Now()
	sent, err := fire(ctx, client, job, func(done int) { tell(orchestrator.EventProgress, done) })
	rec.Sent(sent)
	switch {
	case ctx.Err() != nil:
		rec.Status, rec.Duration = results.StatusFailed, nil
		rec.Reason = fmt.Sprintf("interrupted: %d of %s finished, the last one after %v",
			sent.Replies+sent.Errors, show.Plural(rec.Cell.Load.Requests, "request"), sent.Duration.Round(time.Millisecond))
		return errLoadInterrupted
	case err != nil:
		return err
	}
	if err := orchestrator.Judge(sent, job.Request.MaxErrors); err != nil {
		rec.Status, rec.Duration, rec.Reason = results.StatusFailed, nil, err.Error()
		return errLoadFailed
	}
	return nil
}

// fire prepares and sends one load, and tells how far it is.
func fire(ctx context.Context, client orchestrator.Client, job load.Job, done func(int)) (sent load.Result, err error) {
	batch, err := client.Prepare(ctx, job)
	if err != nil {
		return sent, err
	}
	defer func() { err = errors.Join(err, batch.Close()) }()
	finished := make(chan struct{})
	telling := make(chan struct{})
	go func() {
		defer close(telling)
		tick := time.NewTicker(orchestrator.ProgressInterval)
		defer tick.Stop()
		for {
			select {
			case <-finished:
				return
			case <-tick.C:
				done(batch.Done())
			}
		}
	}()
	sent, err = batch.Fire(ctx)
	close(finished)
	<-telling
	return sent, err
}

// interruptedOr is the error, or that the user ended it.
func interruptedOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// client is the engine that sends the load, from this machine.
func (o loadOptions) client(job load.Job) (orchestrator.Client, error) {
	switch o.engine {
	case scenarios.EngineNative:
		return orchestrator.Native{Client: &load.Client{}}, nil
	case scenarios.EnginePythonRequests:
		if err := python.Check(job.Request, job.Load); err != nil {
			return nil, err
		}
		return orchestrator.PythonRequests{Client: &python.Client{Launcher: python.Local{}}}, nil
	}
	return nil, fmt.Errorf("--engine %s: there is %s and %s", o.engine, scenarios.EngineNative, scenarios.EnginePythonRequests)
}

// printLoad writes the record as JSON and as text.
func (a *app) printLoad(run results.Run, rec results.Record, o loadOptions) error {
	records := []results.Record{rec}
	if o.jsonFile == "-" {
		return report.Write(a.stdout, "json", run, records, report.Options{})
	}
	var failed error
	if o.jsonFile != "" {
		failed = a.output(o.jsonFile, func(w io.Writer) error {
			return report.Write(w, "json", run, records, report.Options{})
		})
	}
	return errors.Join(failed, report.WriteLoad(a.stdout, run, rec, a.reportOptions(a.stdout)))
}

// interruptible returns a context that the first SIGINT, SIGTERM or SIGHUP
// cancels; with the second one the process ends at once. Its client processes
// end with it.
func (a *app) interruptible(ctx context.Context) (context.Context, func()) {
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(ctx)
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		if _, more := <-caught; more {
			signal.Stop(caught) // the next one has its usual effect
			cancel(errLoadInterrupted)
		}
	}()
	return ctx, func() {
		signal.Stop(caught)
		close(caught)
		cancel(nil)
	}
}
