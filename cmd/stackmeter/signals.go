package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

const (
	// interruptedExit is how long after the first Ctrl-C the command ends at the
	// latest: CI systems kill a cancelled job after ten seconds. The orchestrator
	// takes less to remove what was started, or to give up.
	interruptedExit = 9500 * time.Millisecond

	forcedCleanup = 10 * time.Second // to remove everything after the second Ctrl-C
	forcedClose   = 2 * time.Second  // to close the store after that
)

// echo is how long after the first signal another one of its kind is the same:
// GNU timeout sends each twice, to its child and to the group that the child is in.
// Ctrl-C may be pressed again sooner than that.
func echo(s os.Signal) time.Duration {
	if s == os.Interrupt {
		return 100 * time.Millisecond
	}
	return 2 * time.Second
}

// onSignal says what a signal does to a command.
type onSignal struct {
	cause error  // why the context ends
	first string // printed at the first signal
	late  string // printed when the command does not end in time
	force func() // called at the second signal to remove what is left; may be nil
	close func() // called last, to save what can be saved; may be nil
}

// signals returns a context that the first SIGINT, SIGTERM or SIGHUP cancels: the
// command cleans up and prints what there is. The second signal, unless it is an
// echo of the first, removes what is left and ends the command. If anything hangs,
// standard output included, the command ends interruptedExit after the first signal.
//
// A closed pipe behind standard output or error does not end the command: nobody
// reads the progress, but what is measured is kept.
func (a *app) signals(ctx context.Context, i onSignal) (context.Context, func()) {
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancelCause(ctx)
	caught := make(chan os.Signal, 2)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	var finished atomic.Bool
	go func() {
		first, more := <-caught
		if !more || finished.Load() {
			return
		}
		began, late := time.Now(), time.After(interruptedExit)
		cancel(i.cause)
		fmt.Fprintln(a.stderr, "\nstackmeter: interrupted;", i.first)
		for forced := false; !forced; {
			select {
			case <-late:
				if finished.Load() {
					return
				}
				fmt.Fprintln(a.stderr, "stackmeter:", i.late)
				forced = true
			case again, more := <-caught:
				if !more || finished.Load() {
					return
				}
				forced = again != first || time.Since(began) > echo(first)
				if forced && i.force != nil {
					i.force()
				}
			}
		}
		if i.close != nil {
			within(forcedClose, i.close)
		}
		a.stderr.Flush(console.FlushHurry)
		os.Exit(exitInterrupted)
	}()
	return ctx, func() {
		finished.Store(true)
		signal.Stop(caught)
		close(caught)
		cancel(nil)
	}
}

// removing is signals for a command that keeps nothing of the stacks that it starts, and
// of which id is on their labels.
func (a *app) removing(ctx context.Context, runtime stacks.Runtime, id string) (context.Context, func()) {
	return a.signals(ctx, onSignal{
		cause: errInterrupted,
		first: "removing what was started (press again to force it)",
		late:  "it did not end in time; stackmeter clean removes what is left",
		force: func() { a.sweepByForce(runtime, &id) },
	})
}

// within calls do, and waits for it no longer than the limit.
func within(limit time.Duration, do func()) {
	done := make(chan struct{})
	go func() {
		do()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// sweepByForce removes everything of a run. run is nil before the run began.
func (a *app) sweepByForce(runtime stacks.Runtime, run *string) {
	if run == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forcedCleanup)
	defer cancel()
	if _, err := runtime.Sweep(ctx, *run); err != nil {
		fmt.Fprintln(a.stderr, "stackmeter:", show.Clean(err.Error()))
	}
}

// bySignal adds to an error that a signal ended the run, if one did. An error that
// only says that something was cut short is replaced.
func bySignal(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err == nil || !errors.Is(cause, errInterrupted) || errors.Is(err, errInterrupted) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return cause
	}
	return errors.Join(cause, err)
}
