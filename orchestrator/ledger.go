package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
)

// Kinds of events, in the order in which a run sends them.
const (
	EventNote     = "note"     // something that the user should know
	EventImage    = "image"    // an image is being pulled or built
	EventRun      = "run"      // the images are there: Trials and Requests are what there is to do
	EventStart    = "start"    // a stack starts
	EventReady    = "ready"    // it answers
	EventLeft     = "left"     // a search knows that the topology is not the answer, and why
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
	Time       time.Time `json:"time"`
	Kind       string    `json:"event"`
	Lane       int       `json:"lane,omitempty"` // from 1; 0: the only one, or the event is not a lane's
	Topology   string    `json:"topology,omitempty"`
	Cell       string    `json:"cell,omitempty"`
	Repeat     int       `json:"repeat,omitempty"`
	Rounds     int       `json:"rounds,omitempty"` // 0: not known
	Trial      int       `json:"trial,omitempty"`  // from 1
	Trials     int       `json:"trials,omitempty"`
	Requests   int       `json:"requests,omitempty"`
	Candidates int       `json:"candidates,omitempty"` // of a search: topologies × loads
	Done       int       `json:"done,omitempty"`
	Status     string    `json:"status,omitempty"`
	Duration   *float64  `json:"duration_s,omitempty"`
	Flags      []string  `json:"flags,omitempty"`
	Message    string    `json:"message,omitempty"`
}

// A ledger records what a run found and what its time went into, and reports what
// it does. It removes values that may be secrets from everything that leaves the
// run.
type ledger struct {
	run      string
	recorder Recorder
	scrub    func(string) string
	told     func(Event)                 // may be nil
	alike    func(results.Record) string // the fingerprint of a record; nil: none has one
	added    func(results.Record)        // gets each new record
	dog      *watchdog

	closed  atomic.Bool // nothing more is written or told
	telling sync.Mutex  // held while told is called

	began   time.Time
	phases                // of what no lane does
	writing sync.Mutex    // held while the recorder writes, or what follows is used
	flushed time.Duration // of all phases
	planned int           // cells, as recorded last; 0 before that
	devices []gpu.Device  // as recorded last
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
	l.notify(Event{Kind: EventResult, Lane: rec.Lane, Topology: rec.Topology.Name, Cell: rec.Cell.Name, Repeat: rec.Cell.Repeat,
		Requests: rec.Cell.Load.Requests, Status: rec.Status, Duration: rec.Duration, Message: rec.Reason, Flags: rec.Flags})
	return nil
}

// write stores a record, even after the run was cancelled. The recorder ends it.
func (l *ledger) write(ctx context.Context, rec results.Record) error {
	if l.closed.Load() {
		return errors.New("the run has ended without this record")
	}
	defer l.dog.enter(boundRecord, "write the record of", rec.Cell.Name)()
	if l.alike != nil && rec.Reused == "" {
		rec.Fingerprint = l.alike(rec)
	}
	l.writing.Lock()
	defer l.writing.Unlock()
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

// saw records the devices that a stack got, unless they are recorded already.
func (l *ledger) saw(ctx context.Context, devices []gpu.Device) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	all := slices.Clone(l.devices)
	for _, d := range devices {
		if !slices.ContainsFunc(all, func(known gpu.Device) bool { return known.UUID == d.UUID }) {
			all = append(all, d)
		}
	}
	if len(all) == len(l.devices) || l.closed.Load() {
		return nil
	}
	// In one order, whichever lane was first.
	slices.SortFunc(all, func(a, b gpu.Device) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Index, b.Index), cmp.Compare(a.UUID, b.UUID))
	})
	defer l.dog.enter(boundRecord, "record which devices stacks got")()
	if err := l.recorder.Devices(context.WithoutCancel(ctx), l.run, all); err != nil {
		return fmt.Errorf("record which devices stacks got: %w", err)
	}
	l.devices = all
	return nil
}

// flush records what the wall time since the last flush went into, and how many
// cells the run will measure if that has changed. A second of one of several lanes is
// a second of the run's divided by their number.
func (l *ledger) flush(ctx context.Context, planned int, lanes ...*phases) error {
	ctx = context.WithoutCancel(ctx)
	spent := map[string]time.Duration{}
	maps.Copy(spent, l.take())
	for _, lane := range lanes {
		for phase, d := range lane.take() {
			spent[phase] += d / time.Duration(len(lanes))
		}
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	for phase, d := range spent {
		l.flushed += d
		if err := l.recorder.Spent(ctx, l.run, phase, d); err != nil {
			return fmt.Errorf("record what the time was spent on: %w", err)
		}
	}
	if planned == l.planned {
		return nil
	}
	l.planned = planned
	return l.recorder.Planned(ctx, l.run, planned)
}

// account is a flush after which all the time so far is recorded. What belongs to no
// phase goes to PhaseOther.
func (l *ledger) account(ctx context.Context, planned int, lanes ...*phases) error {
	if err := l.flush(ctx, planned, lanes...); err != nil {
		return err
	}
	l.took(results.PhaseOther, max(0, time.Since(l.began)-l.flushed))
	return l.flush(ctx, planned)
}
