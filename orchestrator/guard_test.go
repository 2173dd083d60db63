package orchestrator

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

// TestLoadBound: no load, however large, has a bound that overflows, and neither
// has a step that waits for a GPU as well.
func TestLoadBound(t *testing.T) {
	request := wire.Request{Timeout: time.Minute}
	for _, test := range []struct {
		name string
		spec scenarios.LoadSpec
		want time.Duration
	}{
		{"a hundred requests", scenarios.LoadSpec{Requests: 100}, 100 * time.Minute},
		{"at a rate", scenarios.LoadSpec{Requests: 100, Rate: 10}, 10*time.Second + time.Minute},
		{"a search", scenarios.LoadSpec{Requests: 10, P99: time.Second}, searchSteps * 10 * time.Minute},
		{"a search with three million requests", scenarios.LoadSpec{Requests: 3_000_000, P99: time.Second}, math.MaxInt64},
		{"the most requests at the longest time-out", scenarios.LoadSpec{Requests: wire.MaxRequests, P99: time.Second}, math.MaxInt64},
	} {
		if got := loadBound(request, test.spec); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
	for _, test := range []struct {
		parts []time.Duration
		want  time.Duration
	}{
		{nil, boundSpare},
		{[]time.Duration{time.Second, time.Minute}, boundSpare + time.Second + time.Minute},
		{[]time.Duration{math.MaxInt64}, math.MaxInt64},
		{[]time.Duration{math.MaxInt64 / 2, math.MaxInt64 / 2, math.MaxInt64}, math.MaxInt64},
	} {
		if got := bound(test.parts...); got != test.want {
			t.Errorf("the bound of %v is %v, want %v", test.parts, got, test.want)
		}
	}
}

// TestStuck: a step that takes longer than its bound is told of and ends the run,
// also where nobody listens to what is told.
func TestStuck(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			said := make(chan string, 9)
			dog := &watchdog{waiting: func() []string { return []string{"GET /info"} }}
			listening := make(chan struct{})
			dog.told = func(e Event) {
				said <- e.Message
				if deaf {
					<-listening
				}
			}
			began := time.Now()
			err := dog.guard(t.Context(), func(ctx context.Context) error {
				defer dog.enter(time.Hour, "outer")()
				dog.enter(time.Minute, "quick")()
				defer dog.enter(time.Minute, "start", "flask")()
				<-ctx.Done()
				return context.Cause(ctx)
			}, func() { t.Error("it was left behind") })
			const want = "start flask, for 1m0s; the engine has not answered GET /info"
			if told := <-said; !errors.Is(err, errStuck) || !strings.Contains(err.Error(), want) || len(said) != 0 || !strings.Contains(told, want) {
				t.Errorf("%v; told %q and %d more", err, told, len(said))
			}
			if took, most := time.Since(began), time.Minute+tellTimeout; took > most {
				t.Errorf("it took %v", took)
			}
			close(listening)
		})
	}
}

// TestLeftBehind: a run that was cancelled and does not end is not waited for.
func TestLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dog := &watchdog{}
		ctx, cancel := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		hung := make(chan struct{})
		left := false
		time.AfterFunc(time.Second, func() { cancel(enough) })
		began := time.Now()
		err := dog.guard(ctx, func(context.Context) error {
			defer dog.enter(time.Hour, "remove flask")()
			<-hung
			return nil
		}, func() { left = true })
		if !left || !errors.Is(err, enough) || !strings.Contains(err.Error(), "is left behind at: remove flask") {
			t.Errorf("left behind: %v; %v", left, err)
		}
		if took := time.Since(began); took != time.Second+abandonAfter {
			t.Errorf("it took %v", took)
		}
		close(hung)
	})
}

// TestCleanup: removing has minutes while the run goes on, and seconds from the
// moment on in which it is cancelled, however many things are removed.
func TestCleanup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dog := &watchdog{}
		lasts := func(ctx context.Context) time.Duration {
			began := time.Now()
			clean, cancel := dog.cleanup(ctx)
			defer cancel()
			<-clean.Done()
			return time.Since(began)
		}
		if took := lasts(t.Context()); took != stopTimeout {
			t.Errorf("while the run goes on: %v", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if took := lasts(ctx); took != time.Second+interruptedTimeout {
			t.Errorf("cancelled after a second: %v", took)
		}
		if took := lasts(ctx); took != lastLookTimeout {
			t.Errorf("when all that time is used up: %v", took)
		}
	})
}

// TestAttackLockedStoreIsNotStuck: a step that waits for a store that somebody
// locked is not stuck, however long that takes; one that goes on too long
// afterwards is.
func TestAttackLockedStoreIsNotStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var locked atomic.Bool
		told := 0
		locked.Store(true)
		dog := &watchdog{excused: locked.Load, told: func(Event) { told++ }}
		err := dog.guard(t.Context(), func(ctx context.Context) error {
			leave := dog.enter(time.Minute, "write the record")
			time.Sleep(5 * time.Hour)
			locked.Store(false)
			time.Sleep(50 * time.Second)
			leave()
			if ctx.Err() != nil || told > 0 {
				t.Error("it ended the run")
			}
			locked.Store(true)
			defer dog.enter(time.Minute, "write another")()
			time.Sleep(time.Hour)
			locked.Store(false)
			<-ctx.Done()
			return ctx.Err()
		}, func() {})
		if !errors.Is(err, errStuck) || told != 1 {
			t.Errorf("%v, told %d times", err, told)
		}
	})
}
