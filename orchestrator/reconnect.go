package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/stacks"
)

const (
	// defaultEngineWait is how long an engine that went away may take to come back.
	// A restarted engine first waits for its containers.
	defaultEngineWait = 2 * time.Minute

	enginePoll = 250 * time.Millisecond // between two looks whether it is back

	// lostStarts is how often a stack is started if it is disturbed each time.
	lostStarts = 3
)

// errEngine is the run's error at its end if cells failed because of the engine.
// They say nothing about the topology.
var errEngine = errors.New("the engine failed, not what was measured")

// disturbed reports whether the stack did not cause an error: the engine went away,
// or somebody ended, halted or cut off a part of it, of the client or of stackmeter
// itself.
func disturbed(err error) bool {
	return errors.Is(err, stacks.ErrLost) || errors.Is(err, stacks.ErrDisturbed) || errors.Is(err, load.ErrDisturbed)
}

// reconnect waits until the runtime answers again.
func (l *loop) reconnect(ctx context.Context, why error) error {
	l.notify(Event{Kind: EventNote, Message: fmt.Sprintf("waiting for the engine: %v", why)})
	wait := cmp.Or(l.EngineWait, defaultEngineWait)
	ctx, cancel := context.WithTimeoutCause(ctx, wait, fmt.Errorf("%w, and did not come back within %v", stacks.ErrLost, wait))
	defer cancel()
	for {
		err := l.Runtime.Check(ctx)
		if err == nil {
			l.notify(Event{Kind: EventNote, Message: "the engine answers again"})
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w; before that: %w", context.Cause(ctx), err, why)
		case <-time.After(enginePoll):
		}
	}
}

// startOver waits until the runtime answers again, and removes what it could not
// remove of this run before.
func (l *lane) startOver(ctx context.Context, why error) error {
	if !errors.Is(why, stacks.ErrLost) {
		l.notify(Event{Kind: EventNote, Message: fmt.Sprintf("starting it again: %v", why)})
	} else if err := l.reconnect(ctx, why); err != nil {
		return err
	}
	if err := l.removeAll(ctx, l.others(nil)); err != nil { // the sweep would, without their knowing
		return err
	}
	// The stacks of other lanes would be swept as well. What is left beside them is
	// looked for at the end of the run.
	l.starting.Lock()
	defer l.starting.Unlock()
	if l.elsewhere() > 0 {
		return nil
	}
	_, err := l.Runtime.Sweep(ctx, l.id)
	return err
}

// stopAgain removes a stack. If the engine goes away meanwhile, it waits until the
// engine is back.
func (l *lane) stopAgain(ctx context.Context, spec stacks.Spec, stack stacks.Stack) error {
	err := l.stop(ctx, spec, stack)
	if !errors.Is(err, stacks.ErrLost) || ctx.Err() != nil {
		return err
	}
	if err := l.reconnect(ctx, err); err != nil {
		return err
	}
	return l.stop(ctx, spec, stack)
}

// standing says whether a stack's services survived the absence of the engine.
func standing(ctx context.Context, stack stacks.Stack) string {
	if errors.Is(stack.Check(ctx), stacks.ErrEnded) {
		return "its services ended with it"
	}
	return "its services still run"
}

// A lostStart is the error of a stack that was disturbed before it was ready.
type lostStart struct{ err error }

func (e *lostStart) Error() string { return e.err.Error() }
func (e *lostStart) Unwrap() error { return e.err }

// blame keeps the first failure that the engine caused.
func (l *loop) blame(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.engine == nil && errors.Is(reason, stacks.ErrLost) {
		l.engine = fmt.Errorf("%w: %w; --resume measures those cells again", errEngine, reason)
	}
}
