package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stackmeter/results"
)

// Kinds of events, in the order in which a run sends them.
const (
	EventNote     = "note"     // something that the user should know
	EventImage    = "image"    // an image is being pulled or built
	EventRun      = "run"      // the images are there: Trials and Requests are what there is to do
	EventStart    = "start"    // a stack starts
	EventReady    = "ready"    // it answers
	EventRound    = "round"    // with fresh: run: the first cell of a repeat is next, of Rounds
	EventCell     = "cell"     // a cell's load begins
	EventProgress = "progress" // Done of the cell's Requests are answered
	EventResult   = "result"   // a cell's record was written
	EventSkip     = "skip"     // a trial is not needed any more: Requests will not be sent
	EventStop     = "stop"     // the stack is being removed
	EventStopped  = "stopped"  // it was
	EventStuck    = "stuck"    // a step takes longer than it can; the run is being ended
)

// An Event tells what a run is doing. Its JSON form is one line of
// `--progress json`.
type Event struct {
	Time     time.Time `json:"time"`
	Kind     string    `json:"event"`
	Topology string    `json:"topology,omitempty"`
	Cell     string    `json:"cell,omitempty"`
	Repeat   int       `json:"repeat,omitempty"`
	Rounds   int       `json:"rounds,omitempty"`
	Trial    int       `json:"trial,omitempty"` // from 1
	Trials   int       `json:"trials,omitempty"`
	Requests int       `json:"requests,omitempty"`
	Done     int       `json:"done,omitempty"`
	Status   string    `json:"status,omitempty"`
	Duration *float64  `json:"duration_s,omitempty"`
	Flags    []string  `json:"flags,omitempty"`
	Message  string    `json:"message,omitempty"`
}

// A ledger records what a run found and what its time went into, and reports what
// it does. It removes values that may be secrets from everything that leaves the
// run.
type ledger struct {
	run      string
	recorder Recorder
	scrub    func(string) string
	told     func(Event)          // may be nil
	added    func(results.Record) // gets each new record
	dog      *watchdog

	closed  atomic.Bool // nothing more is written or told
	telling sync.Mutex  // held while told is called

	began   time.Time
	timing  sync.Mutex               // held while spent is used
	spent   map[string]time.Duration // by phase, since the last flush
	flushed time.Duration            // of all phases
	planned int                      // cells, as recorded last; 0 before that
}

// notify reports an event.
func (l *ledger) notify(e Event) {
	l.telling.Lock()
	defer l.telling.Unlock()
	if l.told != nil && !l.closed.Load() {
		e.Time = time.Now()
		e.Message = l.scrub(e.Message)
		l.told(e)
	}
}

// put writes a new record and reports it.
func (l *ledger) put(ctx context.Context, rec results.Record) error {
	if err := l.write(ctx, rec); err != nil {
		return err
	}
	l.added(rec)
	l.notify(Event{Kind: EventResult, Topology: rec.Topology.Name, Cell: rec.Cell.Name, Repeat: rec.Cell.Repeat,
		Requests: rec.Cell.Load.Requests, Status: rec.Status, Duration: rec.Duration, Message: rec.Reason, Flags: rec.Flags})
	return nil
}

// write stores a record, even after the run was cancelled. The recorder ends it.
func (l *ledger) write(ctx context.Context, rec results.Record) error {
	if l.closed.Load() {
		return errors.New("the run has ended without this record")
	}
	defer l.dog.enter(boundRecord, "write the record of", rec.Cell.Name)()
	if err := l.recorder.Put(context.WithoutCancel(ctx), l.scrubbed(rec)); err != nil {
		return fmt.Errorf("record %s: %w", rec.Cell.Name, err)
	}
	return nil
}

// scrubbed returns a record without the values of environment variables, which the
// app may have printed or may have in its command line.
func (l *ledger) scrubbed(rec results.Record) results.Record {
	rec.Reason, rec.LogTail = l.scrub(rec.Reason), l.scrub(rec.LogTail)
	rec.FirstErrors = maps.Clone(rec.FirstErrors)
	for kind, text := range rec.FirstErrors {
		rec.FirstErrors[kind] = l.scrub(text)
	}
	if rec.Stack == nil {
		return rec
	}
	stack := *rec.Stack
	stack.GPU, stack.Proxy = l.scrub(stack.GPU), l.scrub(stack.Proxy)
	stack.Services = slices.Clone(stack.Services)
	for i := range stack.Services {
		s := &stack.Services[i]
		s.Processes = slices.Clone(s.Processes)
		for j, command := range s.Processes {
			s.Processes[j] = l.scrub(command)
		}
	}
	rec.Stack = &stack
	return rec
}

// spend measures a phase until the returned function is called.
func (l *ledger) spend(phase string) (done func()) {
	began := time.Now()
	return func() { l.took(phase, time.Since(began)) }
}

// took adds to the time of a phase.
func (l *ledger) took(phase string, d time.Duration) {
	l.timing.Lock()
	defer l.timing.Unlock()
	l.spent[phase] += d
}

// together does things at the same time, each of which measures its phases. Together
// they count for no more than the time that passes.
func (l *ledger) together(do ...func()) {
	before, began := maps.Clone(l.spent), time.Now()
	var all sync.WaitGroup
	for _, one := range do {
		all.Go(one)
	}
	all.Wait()
	passed, sum := time.Since(began), time.Duration(0)
	for phase, d := range l.spent {
		sum += d - before[phase]
	}
	for phase, d := range l.spent {
		if sum > passed {
			l.spent[phase] = before[phase] + time.Duration(float64(d-before[phase])*float64(passed)/float64(sum))
		}
	}
}

// flush records what the wall time since the last flush went into, and how many
// cells the run will measure if that has changed.
func (l *ledger) flush(ctx context.Context, planned int) error {
	ctx = context.WithoutCancel(ctx)
	for phase, d := range l.spent {
		l.flushed += d
		if err := l.recorder.Spent(ctx, l.run, phase, d); err != nil {
			return fmt.Errorf("record what the time was spent on: %w", err)
		}
	}
	clear(l.spent)
	if planned == l.planned {
		return nil
	}
	l.planned = planned
	return l.recorder.Planned(ctx, l.run, planned)
}

// close is the last flush. Time that belongs to no phase goes to PhaseOther.
func (l *ledger) close(ctx context.Context, planned int) error {
	known := l.flushed
	for _, d := range l.spent {
		known += d
	}
	l.spent[results.PhaseOther] += max(0, time.Since(l.began)-known)
	return l.flush(ctx, planned)
}
