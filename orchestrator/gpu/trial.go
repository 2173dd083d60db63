package gpu

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Phases of a trial.
const (
	PhaseIdle     = "idle"     // before the stack
	PhaseStartup  = "start-up" // until it answers
	PhaseWarmup   = "warm-up"
	PhaseMeasure  = "measure"  // of a cell; Cell sets it
	PhaseBetween  = "between"  // after a cell; Cell.Stop sets it
	PhaseTeardown = "teardown" // from the stack's Stop on
)

// A Trial samples the devices of one stack from its idle baseline to after
// teardown. A nil *Trial is a trial without a GPU.
type Trial struct {
	s       Sampler
	readers []Reader
	sight   Sight
	why     string // why the sight is less than SightHost
	began   time.Time
	quit    chan struct{}
	ended   sync.WaitGroup
	asked   chan edgeRequest

	mu        sync.Mutex
	owners    []Owner
	told      bool // owners were given
	newOwners bool
	samples   []sample
	methods   []string // in the order of appearance
	reserved  []*int64 // by device
	totals    []*int64
	rounds    []round
	telemetry []reading
	faults    []fault
	marks     []moment
	fresh     chan struct{} // closed and replaced when a sample comes in
	aftermath *Aftermath

	beside []*besides // the readers, of a trial that is attached
}

// A reading is the telemetry of all of a trial's devices, nil for one that did not
// answer.
type reading []*Telemetry

// A fault is a reading that failed.
type fault struct {
	at   time.Duration
	code string
}

// A moment is the beginning of a phase.
type moment struct {
	at    time.Duration
	phase string
}

// An edgeRequest asks for a round of lists and for telemetry now.
type edgeRequest struct {
	accounting bool
	done       chan edge // buffered: nobody may be waiting any more
}

// An edge is the answer to an edgeRequest: indices of readings.
type edge struct {
	round     int
	telemetry int
	died      []attributed // processes of the stack that have ended since they were seen
}

// newTrial makes a trial that does not sample yet.
func newTrial(s Sampler, readers []Reader) *Trial {
	sight, why := s.Driver.Sight()
	t := &Trial{
		s: s, readers: readers, sight: sight, why: why, began: time.Now(),
		quit: make(chan struct{}), asked: make(chan edgeRequest, 1),
		reserved: make([]*int64, len(readers)), totals: make([]*int64, len(readers)),
		marks: []moment{{0, PhaseIdle}}, fresh: make(chan struct{}),
	}
	return t
}

// start starts the trial's two threads: one for the memory, one for slow readings.
func (t *Trial) start() {
	t.ended.Go(t.watchMemory)
	t.ended.Go(t.watchProcesses)
}

// baseline waits for the idle samples, including failed ones, and for the first
// process lists.
func (t *Trial) baseline(ctx context.Context) error {
	limit := time.After(t.s.Timeout + time.Duration(baselineSamples)*t.s.Interval)
	for {
		t.mu.Lock()
		ready, fresh := len(t.samples) >= baselineSamples && len(t.rounds) > 0, t.fresh
		t.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-fresh:
		case <-limit:
			return nil // the driver does not answer; the cells will say so
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// now is the time since the trial began, on the monotonic clock.
func (t *Trial) now() time.Duration { return time.Since(t.began) }

// Owners says which processes belong to the stack. Call it as soon as the stack
// has been started, and again when a service was restarted.
func (t *Trial) Owners(owners []Owner) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.owners, t.told, t.newOwners = slices.Clone(owners), true, true
}

// Phase marks the beginning of a phase. The previous phase first gets a last
// sample, so that its peak includes what it ended with: for example a model that
// is loaded right before the first answer.
func (t *Trial) Phase(name string) {
	if t == nil {
		return
	}
	t.awaitSample()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mark(name)
}

// awaitSample returns after the next sample, or when the driver does not answer
// in time.
func (t *Trial) awaitSample() {
	t.mu.Lock()
	fresh := t.fresh
	t.mu.Unlock()
	select {
	case <-fresh:
	case <-time.After(t.s.Timeout):
	case <-t.quit:
	}
}

// mark marks the beginning of a phase and returns its time; mu is held.
func (t *Trial) mark(name string) time.Duration {
	at := t.now()
	t.marks = append(t.marks, moment{at, name})
	return at
}

// Idle is the idle baseline of each device, by UUID. Sampler.WaitClean compares
// with it before a later trial.
func (t *Trial) Idle() map[string]int64 {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	idle := map[string]int64{}
	for d, r := range t.readers {
		if m, _ := medianSpread(t.during(PhaseIdle), device(d)); m != nil {
			idle[r.Device().UUID] = *m
		}
	}
	return idle
}

// WaitClean returns when only the stack holds memory on its devices. After limit
// it fails with who holds what. It is the gate before a cell; Sampler.WaitClean
// is the gate before a trial.
func (t *Trial) WaitClean(ctx context.Context, limit time.Duration) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	owners := t.owners // replaced, never changed
	t.mu.Unlock()
	return t.s.WaitClean(ctx, t.uuids(), nil, limit, owners...)
}

// uuids are the trial's devices.
func (t *Trial) uuids() []string {
	var ids []string
	for _, r := range t.readers {
		ids = append(ids, r.Device().UUID)
	}
	return ids
}

// during returns the samples of all parts of a trial that are in a phase; mu is
// held.
func (t *Trial) during(phase string) []sample {
	var in []sample
	for i, m := range t.marks {
		if m.phase != phase {
			continue
		}
		to := t.now()
		if i+1 < len(t.marks) {
			to = t.marks[i+1].at
		}
		in = append(in, window(t.samples, m.at, to)...)
	}
	return in
}

// edge reads the lists and the telemetry now. It fails if the driver does not
// answer in time.
func (t *Trial) edge(accounting bool) (edge, error) {
	req := edgeRequest{accounting, make(chan edge, 1)}
	limit := time.After(t.s.Timeout)
	for asked := t.asked; ; {
		select {
		case asked <- req:
			asked = nil // once
		case e := <-req.done:
			return e, nil
		case <-limit:
			t.mu.Lock()
			defer t.mu.Unlock()
			t.faults = append(t.faults, fault{t.now(), codeTimeout})
			return edge{}, fmt.Errorf("the GPU driver did not answer within %v", t.s.Timeout)
		}
	}
}

// Close waits until the devices are back at their idle baseline, for the sampler's
// Settle at most or until ctx ends. Then it stops sampling and says what is left.
// Call it when the stack is gone. A later call returns the first result.
func (t *Trial) Close(ctx context.Context) Aftermath {
	if t == nil {
		return Aftermath{}
	}
	t.mu.Lock()
	if t.aftermath != nil {
		defer t.mu.Unlock()
		return *t.aftermath
	}
	if t.marks[len(t.marks)-1].phase != PhaseTeardown {
		t.mark(PhaseTeardown)
	}
	t.mu.Unlock()

	a := t.settle(ctx)
	if err := t.abandon(); err != nil && a.Reason == "" {
		a.Reason = err.Error()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a.Series = thin(t.samples, 0, DefaultPoints)
	for _, m := range t.marks {
		a.Marks = append(a.Marks, Mark{At: m.at.Seconds(), Phase: m.phase})
	}
	t.aftermath = &a
	return a
}

// settle waits for the idle baseline and says what it found.
func (t *Trial) settle(ctx context.Context) Aftermath {
	limit := time.After(t.s.Settle)
	for {
		e, err := t.edge(false)
		if err != nil {
			return Aftermath{Reason: err.Error()}
		}
		t.mu.Lock()
		a := leftover(t.during(PhaseIdle), t.rounds[0], t.rounds[e.round], t.uuids())
		t.mu.Unlock()
		if a.Back || a.Used == nil || a.Baseline == nil {
			return a
		}
		select {
		case <-time.After(t.s.ProcessInterval / 2):
		case <-limit:
			return a
		case <-ctx.Done():
			a.Reason += "; the wait for it was cut short"
			return a
		}
	}
}

// leftover says how the devices are after teardown. Memory that a foreign process
// or the MPS server holds by then is not memory that the stack has to give back.
func leftover(idle []sample, first, last round, devices []string) Aftermath {
	var a Aftermath
	a.Baseline, _ = medianSpread(idle, sample.total)
	for d, l := range last {
		a.Holders = append(a.Holders, l.holders(devices[d])...)
	}
	used := last.used(after)
	if used == nil {
		a.Reason = "the GPU's memory could not be read after teardown"
		return a
	}
	n := sample{used: used}.total()
	a.Used = &n
	if a.Baseline == nil {
		a.Reason = "there is no idle baseline to compare it with"
		return a
	}
	others := int64(0)
	if s := last.sum(ofNotStack); s != nil {
		others = *s
		if before := first.sum(ofNotStack); before != nil {
			others = max(0, others-*before) // the baseline includes that
		}
	}
	a.Back = n-*a.Baseline-others <= tolerance
	if !a.Back {
		a.Reason = fmt.Sprintf("%s in use after teardown, %s when idle", mib(n), mib(*a.Baseline))
		for _, h := range a.Holders {
			a.Reason += "; " + h.String()
		}
	}
	return a
}

// abandon stops the threads. A thread that hangs in the driver cannot be
// interrupted and is left behind.
func (t *Trial) abandon() error {
	close(t.quit)
	_, err := Aside(context.Background(), t.s.Timeout, func() (struct{}, error) { t.ended.Wait(); return struct{}{}, nil })
	if err != nil {
		return fmt.Errorf("a call of the GPU driver still hangs after %v", t.s.Timeout)
	}
	return nil
}
