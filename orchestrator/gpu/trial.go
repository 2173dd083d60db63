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
	PhaseMeasure  = "measure"  // set by Cell
	PhaseBetween  = "between"  // set when a cell ends
	PhaseTeardown = "teardown" // from the stack's Stop on
)

// A Trial samples the devices of one stack from its idle baseline to after
// teardown. Its methods may be called on nil, which is a trial without a GPU.
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
	told      bool // that owners were given
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
}

// A reading is the telemetry of all of a trial's devices, nil where one did
// not answer.
type reading struct {
	at      time.Duration
	devices []*Telemetry
}

// A fault is a reading that failed.
type fault struct {
	at   time.Duration
	code string
}

// A moment is when a phase began.
type moment struct {
	at    time.Duration
	phase string
}

// An edgeRequest asks for a round of lists and telemetry right now.
type edgeRequest struct {
	accounting bool
	done       chan edge // buffered: nobody may wait any more
}

// An edge is where the answer to an edgeRequest stands among the readings.
type edge struct {
	round     int
	telemetry int
	died      []attributed // processes of the stack that have ended since they were seen
}

// newTrial makes a trial that has not started.
func newTrial(s Sampler, readers []Reader) *Trial {
	sight, why := s.Driver.Sight()
	return &Trial{
		s: s, readers: readers, sight: sight, why: why, began: time.Now(),
		quit: make(chan struct{}), asked: make(chan edgeRequest, 1),
		reserved: make([]*int64, len(readers)), totals: make([]*int64, len(readers)),
		marks: []moment{{0, PhaseIdle}}, fresh: make(chan struct{}),
	}
}

// start starts the two threads: one for the memory, one for what is slow.
func (t *Trial) start() {
	t.ended.Add(2)
	go t.watchMemory()
	go t.watchProcesses()
}

// baseline waits for the idle samples, failed ones included, and for the first
// process lists.
func (t *Trial) baseline(ctx context.Context) error {
	limit := time.NewTimer(t.s.Timeout + time.Duration(t.s.BaselineSamples)*t.s.Interval)
	defer limit.Stop()
	for {
		t.mu.Lock()
		ready, fresh := len(t.samples) >= t.s.BaselineSamples && len(t.rounds) > 0, t.fresh
		t.mu.Unlock()
		if ready {
			return nil
		}
		select {
		case <-fresh:
		case <-limit.C:
			return nil // a driver that does not answer; its cells will say so
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// now is the time since the trial began, on the monotonic clock.
func (t *Trial) now() time.Duration { return time.Since(t.began) }

// Owners says which processes belong to the stack, as soon as it has been
// started, and again when a service was started anew.
func (t *Trial) Owners(owners []Owner) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.owners, t.told, t.newOwners = slices.Clone(owners), true, true
}

// Phase marks the beginning of a phase. The one before it gets a last sample
// first, so that what it ended with is in its peak: a model that is loaded
// right before the first answer would be missed otherwise.
func (t *Trial) Phase(name string) {
	if t == nil {
		return
	}
	t.awaitSample()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mark(name)
}

// awaitSample returns after the next sample, or when the driver does not
// answer in time.
func (t *Trial) awaitSample() {
	t.mu.Lock()
	fresh := t.fresh
	t.mu.Unlock()
	limit := time.NewTimer(t.s.Timeout)
	defer limit.Stop()
	select {
	case <-fresh:
	case <-limit.C:
	case <-t.quit:
	}
}

// mark sets a mark with the lock held.
func (t *Trial) mark(name string) {
	t.marks = append(t.marks, moment{t.now(), name})
}

// Idle is the idle baseline of each device, by UUID: what a later trial's
// WaitClean holds the device against.
func (t *Trial) Idle() map[string]int64 {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	idle := map[string]int64{}
	for d, r := range t.readers {
		if m, _ := medianSpread(t.during(PhaseIdle).device(d)); m != nil {
			idle[r.Device().UUID] = *m
		}
	}
	return idle
}

// WaitClean returns when nobody but the stack is on its devices, or fails
// after limit with who holds what. It is the gate before a cell; the one
// before a trial is Sampler.WaitClean.
func (t *Trial) WaitClean(ctx context.Context, limit time.Duration) error {
	if t == nil {
		return nil
	}
	a := newAttribution(procRoot(t.s.Proc), t.s.MPS)
	t.mu.Lock()
	a.own(t.owners)
	t.mu.Unlock()
	return t.s.waitClean(ctx, t.uuids(), nil, limit, a)
}

// uuids are the trial's devices.
func (t *Trial) uuids() []string {
	var ids []string
	for _, r := range t.readers {
		ids = append(ids, r.Device().UUID)
	}
	return ids
}

// during returns the samples of all the stretches of a phase; mu is held.
func (t *Trial) during(phase string) readings {
	var in readings
	for i, m := range t.marks {
		if m.phase != phase {
			continue
		}
		to := t.now()
		if i+1 < len(t.marks) {
			to = t.marks[i+1].at
		}
		in = append(in, read(window(t.samples, m.at, to))...)
	}
	return in
}

// readings are samples that succeeded.
type readings []sample

// totals are the sums over the devices.
func (rs readings) totals() []int64 {
	var v []int64
	for _, s := range rs {
		v = append(v, s.total())
	}
	return v
}

// device are one device's.
func (rs readings) device(d int) []int64 {
	var v []int64
	for _, s := range rs {
		v = append(v, s.used[d])
	}
	return v
}

// edge has the lists and the telemetry read now. It fails when the driver
// does not answer in time.
func (t *Trial) edge(accounting bool) (edge, error) {
	req := edgeRequest{accounting, make(chan edge, 1)}
	limit := time.NewTimer(t.s.Timeout)
	defer limit.Stop()
	select {
	case t.asked <- req:
	case <-limit.C:
		return edge{}, t.hung()
	}
	select {
	case e := <-req.done:
		return e, nil
	case <-limit.C:
		return edge{}, t.hung()
	}
}

// hung notes that the driver did not answer.
func (t *Trial) hung() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, fault{t.now(), CodeTimeout})
	return fmt.Errorf("the GPU driver did not answer within %v", t.s.Timeout)
}

// Close waits until the devices are back at their idle baseline, at most for
// the sampler's Settle and until ctx ends, stops sampling and says what is left. It is called when the
// stack is gone, and may be called again: it then returns the first result.
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
	a.Series = thin(t.samples, 0, t.s.Points)
	for _, m := range t.marks {
		a.Marks = append(a.Marks, Mark{At: m.at.Seconds(), Phase: m.phase})
	}
	t.aftermath = &a
	return a
}

// settle waits for the idle baseline and says what it found.
func (t *Trial) settle(ctx context.Context) Aftermath {
	limit := time.NewTimer(t.s.Settle)
	defer limit.Stop()
	for {
		e, err := t.edge(false)
		if err != nil {
			return Aftermath{Reason: err.Error()}
		}
		t.mu.Lock()
		a := leftover(t.during(PhaseIdle).totals(), t.rounds[0], t.rounds[e.round], t.uuids(), t.s.Tolerance)
		t.mu.Unlock()
		if a.Back || a.Used == nil || a.Baseline == nil {
			return a
		}
		pause := time.NewTimer(t.s.ProcessInterval / 2)
		select {
		case <-pause.C:
		case <-limit.C:
			pause.Stop()
			return a
		case <-ctx.Done():
			pause.Stop()
			a.Reason += "; the wait for it was cut short"
			return a
		}
	}
}

// leftover judges the devices after teardown. Memory that a foreign process
// holds by now, or the server of MPS, is not the stack's to give back.
func leftover(idle []int64, first, last round, devices []string, tolerance int64) Aftermath {
	var a Aftermath
	a.Baseline, _ = medianSpread(idle)
	for d, l := range last.lists {
		a.Holders = append(a.Holders, l.holders(devices[d])...)
	}
	used := last.used(true)
	switch {
	case used == nil:
		a.Reason = "the GPU's memory could not be read after teardown"
		return a
	case a.Baseline == nil:
		n := sample{used: used}.total()
		a.Used, a.Reason = &n, "there is no idle baseline to hold it against"
		return a
	}
	n := sample{used: used}.total()
	a.Used = &n
	others := int64(0)
	if s := last.sum(ofNotStack); s != nil {
		others = *s
		if before := first.sum(ofNotStack); before != nil {
			others = max(0, others-*before) // the baseline has that part
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

// abandon stops the threads. A thread that hangs in the driver is left
// behind: it cannot be interrupted.
func (t *Trial) abandon() error {
	close(t.quit)
	done := make(chan struct{})
	go func() { t.ended.Wait(); close(done) }()
	limit := time.NewTimer(t.s.Timeout)
	defer limit.Stop()
	select {
	case <-done:
		return nil
	case <-limit.C:
		return fmt.Errorf("a call of the GPU driver still hangs after %v", t.s.Timeout)
	}
}
