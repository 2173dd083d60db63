package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"stackmeter/stacks"
)

const (
	// defaultEngineWait is how long an engine that went away may take to come
	// back: one that is restarted first waits for its containers.
	defaultEngineWait = 2 * time.Minute

	enginePoll = 250 * time.Millisecond // between two looks whether it is back

	// lostStarts is how often a stack is started anew because it was disturbed
	// meanwhile. Such a start says nothing about the cells.
	lostStarts = 3
)

// errEngine is the run's error at its end when cells failed because of the
// engine: they are no verdict on the topology.
var errEngine = errors.New("the engine failed, not what was measured")

// disturbed reports whether it was not the stack's own doing: the engine went
// away, or somebody stopped a service of it.
func disturbed(err error) bool {
	return errors.Is(err, stacks.ErrLost) || errors.Is(err, stacks.ErrStopped)
}

// reconnect waits until the runtime answers again.
func (l *loop) reconnect(ctx context.Context, why error) error {
	l.notify(Event{Kind: EventNote, Message: fmt.Sprintf("waiting for the engine: %v", why)})
	wait := l.EngineWait
	if wait <= 0 {
		wait = defaultEngineWait
	}
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

// startOver waits until the runtime answers again, and removes what of this run
// it could not be told to remove before.
func (l *loop) startOver(ctx context.Context, why error) error {
	if !errors.Is(why, stacks.ErrLost) {
		l.notify(Event{Kind: EventNote, Message: fmt.Sprintf("starting it again: %v", why)})
	} else if err := l.reconnect(ctx, why); err != nil {
		return err
	}
	_, err := l.Runtime.Sweep(ctx, l.id)
	return err
}

// stopAgain removes a stack once the engine that could not be asked is back.
func (l *loop) stopAgain(ctx context.Context, spec stacks.Spec, stack stacks.Stack) error {
	err := l.stop(ctx, spec, stack)
	if !errors.Is(err, stacks.ErrLost) || ctx.Err() != nil {
		return err
	}
	if err := l.reconnect(ctx, err); err != nil {
		return err
	}
	return l.stop(ctx, spec, stack)
}

// standing says how a stack's services are after the engine went away.
func standing(ctx context.Context, stack stacks.Stack) string {
	err := stack.Check(ctx)
	if errors.Is(err, stacks.ErrEnded) {
		return "its services ended with it"
	}
	return "its services still run"
}

// A lostStart is a stack that could not be made ready because it was disturbed.
type lostStart struct{ err error }

func (e *lostStart) Error() string { return e.err.Error() }
func (e *lostStart) Unwrap() error { return e.err }

// blame keeps the first failure that is the engine's own.
func (l *loop) blame(reason error) {
	if l.engine == nil && errors.Is(reason, stacks.ErrLost) {
		l.engine = fmt.Errorf("%w: %w; stackmeter run --resume measures those cells again", errEngine, reason)
	}
}
