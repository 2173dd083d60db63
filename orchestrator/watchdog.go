package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

// errStuck is the run's error if a step took longer than it can.
var errStuck = errors.New("stuck")

// abandonAfter is how long a cancelled run may take to remove what it started.
// Then Run returns without waiting for it.
const abandonAfter = interruptedTimeout + time.Second/2

// excusePoll is how often an overdue step looks whether it is still excused.
const excusePoll = time.Second

// tellTimeout is how long ending a stuck run may take to report it.
const tellTimeout = time.Second

// Bounds of steps that do not follow from the scenario. Each is well above the sum
// of the deadlines within the step.
const (
	boundEngine = 10 * time.Minute // a question to the engine, starting or removing a stack
	boundImages = 24 * time.Hour   // images of one topology: a pull or build goes on while the engine reports progress
	boundRecord = time.Minute
	boundSpare  = 10 * time.Minute // for what no deadline covers, in a step whose bound follows from the scenario
	searchSteps = 64               // loads that a search for the highest rate may send
)

// A watchdog ends what deadlines fail to end. Everything that a run waits for has a
// deadline. If a step takes longer than all its deadlines together, the watchdog
// reports it and ends the run. A cancelled run ends by itself or is left behind.
type watchdog struct {
	limit   time.Duration   // of any step; 0: the step's own bound
	waiting func() []string // calls that the engine has not answered yet; may be nil
	excused func() bool     // reports that somebody outside is waited for; may be nil
	told    func(Event)

	cancel context.CancelCauseFunc // of the run's own context

	mu    sync.Mutex
	open  []*step   // that the run is in, the one that it is in for the shortest time last
	hurry time.Time // by when a cancelled run has to have removed everything
}

// A step is what a run is doing.
type step struct {
	lane  int
	what  string // "start flask"
	since time.Time
}

func (s step) String() string {
	what := s.what
	if s.lane > 0 {
		what = fmt.Sprintf("lane %d: %s", s.lane, what)
	}
	return fmt.Sprintf("%s, for %v", what, time.Since(s.since).Round(time.Second/10))
}

// enter begins a step that no lane takes. It ends when the returned function is called.
// It is safe for concurrent use.
func (w *watchdog) enter(bound time.Duration, what ...string) (leave func()) {
	return w.enterOn(0, bound, what...)
}

// enterOn is enter for a step of a lane.
func (w *watchdog) enterOn(lane int, bound time.Duration, what ...string) (leave func()) {
	if w.limit > 0 {
		bound = w.limit
	}
	entered := &step{lane: lane, what: strings.Join(what, " "), since: time.Now()}
	w.mu.Lock()
	w.open = append(w.open, entered)
	w.mu.Unlock()
	left := make(chan struct{})
	overdue := time.AfterFunc(bound, func() {
		excused := func() bool { return w.excused != nil && w.excused() }
		for spare := time.Duration(0); spare > 0 || excused(); spare -= excusePoll {
			if excused() {
				spare = bound // all of it again, from when that is over
			}
			select {
			case <-left:
				return
			case <-time.After(excusePoll):
			}
		}
		w.end(bound, entered.lane)
	})
	return func() {
		overdue.Stop()
		close(left)
		w.mu.Lock()
		w.open = slices.DeleteFunc(w.open, func(s *step) bool { return s == entered })
		w.mu.Unlock()
	}
}

// end reports a stuck step and ends the run.
func (w *watchdog) end(bound time.Duration, lane int) {
	text := w.doing(lane)
	// Report first: the report says where the program is, and cancelling changes
	// that.
	told := make(chan struct{})
	go func() {
		w.told(Event{Kind: EventStuck, Message: fmt.Sprintf("stuck: %s; it should have taken less than %v", text, bound)})
		close(told)
	}()
	select {
	case <-told:
	case <-time.After(tellTimeout):
	}
	w.cancel(fmt.Errorf("%w: %s", errStuck, text))
}

// doing says what the run is waiting for, in words: each lane by itself, or one alone.
func (w *watchdog) doing(only ...int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	latest := map[int]*step{} // by lane
	for _, s := range w.open {
		if len(only) == 0 || slices.Contains(only, s.lane) {
			latest[s.lane] = s
		}
	}
	if len(latest) == 0 {
		return "between two steps"
	}
	var steps []string
	for _, lane := range slices.Sorted(maps.Keys(latest)) {
		steps = append(steps, latest[lane].String())
	}
	text := strings.Join(steps, "; ")
	if w.waiting != nil {
		if calls := w.waiting(); len(calls) > 0 {
			text += "; the engine has not answered " + strings.Join(calls, ", ")
		}
	}
	return text
}

// guard runs do until it ends. If the caller or the watchdog cancels it and it does
// not end in time, guard calls abandoned, returns and leaves do behind.
func (w *watchdog) guard(ctx context.Context, do func(context.Context) error, abandoned func()) error {
	ctx, w.cancel = context.WithCancelCause(ctx)
	defer w.cancel(nil)
	at := make(chan string, 1)
	defer context.AfterFunc(ctx, func() {
		w.hurried()
		at <- w.doing()
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
			err = errors.Join(cause, err) // it only says what could not be removed
		}
		return fmt.Errorf("%w (it was at: %s)", err, was)
	case <-late.C:
		abandoned()
		return fmt.Errorf("%w; it did not end, and is left behind at: %s", context.Cause(ctx), w.doing())
	}
}

// cleanup returns a context for removing something, even after the run was
// cancelled. Then there is one deadline for everything, including what is being
// removed at that moment.
func (w *watchdog) cleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() != nil {
		return context.WithTimeout(context.WithoutCancel(ctx), max(lastLookTimeout, time.Until(w.hurried())))
	}
	clean, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	late := time.AfterFunc(stopTimeout, func() { cancel(context.DeadlineExceeded) })
	hurry := context.AfterFunc(ctx, func() { late.Reset(max(lastLookTimeout, time.Until(w.hurried()))) })
	return clean, func() {
		hurry()
		late.Stop()
		cancel(nil)
	}
}

// hurried is by when a cancelled run has to have removed everything. The first
// call, when the run is cancelled, sets it.
func (w *watchdog) hurried() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hurry.IsZero() {
		w.hurry = time.Now().Add(interruptedTimeout)
	}
	return w.hurry
}

// bound adds up the times that the parts of a step may take, with some to spare.
// A sum that is too large for a Duration becomes the longest one.
func bound(parts ...time.Duration) time.Duration {
	sum := boundSpare
	for _, part := range parts {
		if sum += part; sum < 0 {
			return math.MaxInt64
		}
	}
	return sum
}

// loadBound is longer than any load can take: each request has its time-out.
// Three million requests of a minute each, searched for a rate, are too many for
// a Duration; the longest one stands for them.
func loadBound(request wire.Request, spec scenarios.LoadSpec) time.Duration {
	each := float64(request.Timeout)
	longest := float64(spec.Requests) * each
	if spec.Rate > 0 {
		longest = float64(spec.Requests)/spec.Rate*float64(time.Second) + each
	}
	if spec.P99 > 0 {
		longest *= searchSteps
	}
	if longest >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(longest)
}
