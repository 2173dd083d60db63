package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"stackmeter/scenarios"
)

// Everything that a run waits for has a deadline of its own. The watchdog is
// for what escapes them: a step that takes longer than all its deadlines
// together is told of and ends the run, and a run that was cancelled ends by
// itself or is left behind.

// ErrStuck is the run's error when a step took longer than it can.
var ErrStuck = errors.New("stuck")

// abandonAfter is how long after its cancellation a run may still remove what
// it started. Then Run returns without it.
const abandonAfter = interruptedTimeout + time.Second/2

// tellTimeout is what ending a stuck run waits for whoever is told of it.
const tellTimeout = time.Second

// Bounds of steps that do not follow from the scenario. Each is well above the
// sum of the deadlines within.
const (
	boundEngine = 10 * time.Minute // a question to the engine, starting or removing a stack
	boundImages = 24 * time.Hour   // of one topology: a pull or build goes on while the engine tells of it
	boundRecord = 2 * recordTimeout
	boundSpare  = 10 * time.Minute // beside the requests of a load, and the readiness of a stack
	searchSteps = 64               // loads that a search for the highest rate may send
)

// A step is what a run is doing.
type step struct {
	what  string // "start flask"
	since time.Time
}

func (s step) String() string {
	return fmt.Sprintf("%s, for %v", s.what, time.Since(s.since).Round(time.Second/10))
}

// steps are those that a run is in, the innermost last.
type steps struct {
	mu   sync.Mutex
	open []step
}

// enter begins a step, which has ended when the returned function is called.
// Steps are nested, not side by side.
func (r *run) enter(bound time.Duration, what ...string) (leave func()) {
	if r.StepLimit > 0 {
		bound = r.StepLimit
	}
	s := step{what: strings.Join(what, " "), since: time.Now()}
	r.steps.mu.Lock()
	depth := len(r.steps.open)
	r.steps.open = append(r.steps.open, s)
	r.steps.mu.Unlock()
	overdue := time.AfterFunc(bound, func() {
		text := r.doing()
		// What is told shows where the program is, which cancelling changes.
		told := make(chan struct{})
		go func() {
			r.notify(Event{Kind: EventStuck, Message: fmt.Sprintf("stuck: %s; it should have taken less than %v", text, bound)})
			close(told)
		}()
		select {
		case <-told:
		case <-time.After(tellTimeout):
		}
		r.cancel(fmt.Errorf("%w: %s", ErrStuck, text))
	})
	return func() {
		overdue.Stop()
		r.steps.mu.Lock()
		r.steps.open = r.steps.open[:depth]
		r.steps.mu.Unlock()
	}
}

// doing says what the run is waiting for, in words.
func (r *run) doing() string {
	r.steps.mu.Lock()
	defer r.steps.mu.Unlock()
	if len(r.steps.open) == 0 {
		return "between two steps"
	}
	text := r.steps.open[len(r.steps.open)-1].String()
	if engine, ok := r.Runtime.(interface{ Waiting() []string }); ok {
		if calls := engine.Waiting(); len(calls) > 0 {
			text += "; the engine has not answered " + strings.Join(calls, ", ")
		}
	}
	return text
}

// loadBound is longer than any load can take: each request has its time-out.
func loadBound(request scenarios.Request, spec scenarios.LoadSpec) time.Duration {
	bound := time.Duration(spec.Requests) * request.Timeout
	if spec.Rate > 0 {
		bound = time.Duration(float64(spec.Requests)/spec.Rate*float64(time.Second)) + request.Timeout
	}
	if spec.P99 > 0 {
		bound *= searchSteps
	}
	return bound + boundSpare
}

// guarded runs do, which the run's context or the watchdog may cancel. It then
// ends by itself, or is left behind: what it writes after that is refused.
func (r *run) guarded(ctx context.Context, do func(context.Context) error) error {
	ctx, r.cancel = context.WithCancelCause(ctx)
	defer r.cancel(nil)
	at := make(chan string, 1)
	defer context.AfterFunc(ctx, func() {
		r.hurried()
		at <- r.doing()
	})()
	done := make(chan error, 1)
	go func() { done <- do(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	was := <-at
	late := time.NewTimer(abandonAfter)
	defer late.Stop()
	select {
	case err := <-done:
		if err == nil {
			return nil
		}
		if cause := context.Cause(ctx); !errors.Is(err, cause) {
			err = errors.Join(cause, err) // all that it says is what could not be removed
		}
		return fmt.Errorf("%w (it was at: %s)", err, was)
	case <-late.C:
		r.abandoned.Store(true)
		return fmt.Errorf("%w; it did not end, and is left behind at: %s", context.Cause(ctx), r.doing())
	}
}
