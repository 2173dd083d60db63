package gpu

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// otherTolerance is how much the memory of the other stacks may differ from what it was
// when a cell began. No allocator gives or takes less than 2 MiB of a device; what is
// within this is below 1% of the smallest model's.
const otherTolerance = 16 << 20

// busyShare is the share of a device's time, in percent, above which another stack was
// not idle.
const busyShare = 2

// A Floor is what the devices hold without any stack.
type Floor struct {
	idle  []sample
	round round
}

// Floor is the trial's idle baseline. Call it before the stack starts.
func (t *Trial) Floor() *Floor {
	t.mu.Lock()
	defer t.mu.Unlock()
	return &Floor{idle: t.during(PhaseIdle), round: t.rounds[0]}
}

// Attach begins to sample the devices for cells of a stack that is up already, beside
// others that are idle. The trial's figures are as if the others were not there: what
// they hold by the driver's process lists is not counted, and neither are their
// processes. It is read again whenever the lists are, and has to stay what it was. The
// idle baseline is that of the floor. End the trial with Detach.
func (s *Sampler) Attach(ctx context.Context, devices []string, floor *Floor, stack, others []Owner) (*Trial, error) {
	f := s.filled()
	return Aside(ctx, f.Timeout, func() (*Trial, error) {
		readers, err := f.readers(devices)
		if err != nil {
			return nil, err
		}
		var beside []*besides
		if len(others) > 0 {
			for i, r := range readers {
				b := f.besides(r, others)
				beside, readers[i] = append(beside, b), b
			}
		}
		t := newTrial(f, readers)
		t.beside = beside
		const before = time.Minute // longer than the idle samples are apart
		for _, sample := range floor.idle {
			sample.at -= before
			t.samples = append(t.samples, sample)
		}
		t.marks = []moment{{-before, PhaseIdle}, {0, PhaseBetween}}
		t.rounds = []round{floor.round}
		t.Owners(stack)
		t.start()
		return t, nil
	})
}

// Detach ends a trial that was attached. The stack goes on.
func (t *Trial) Detach() error {
	if t == nil {
		return nil
	}
	return t.abandon()
}

// besides reads a device as it would be without the other stacks.
type besides struct {
	Reader
	others  *attribution
	unknown string // why their memory is not known

	mu    sync.Mutex
	held  int64 // by the others when the trial began
	moved bool
	old   uint64             // the latest stamp of a sample when the trial began
	first map[int]uint64     // by process: the stamp of its first sample since
	busy  map[string]float64 // of the others: the largest share of the device's time, in percent
}

// besides looks what the other stacks hold.
func (s Sampler) besides(r Reader, others []Owner) *besides {
	b := &besides{Reader: r, others: newAttribution("/proc", s.MPS), first: map[int]uint64{}, busy: map[string]float64{}}
	b.others.own(others)
	sight, why := s.Driver.Sight()
	if sight != SightHost {
		b.unknown = "what the run's other stacks hold on the GPU is not known: " + why
		return b
	}
	procs, err := r.Processes()
	if err != nil {
		b.unknown = fmt.Sprintf("what the run's other stacks hold on the GPU could not be read: %v", err)
		return b
	}
	_, b.held = b.split(procs)
	samples, _ := r.Busy() // an error is the same as none
	for _, s := range samples {
		b.old = max(b.old, s.Stamp)
	}
	return b
}

// split takes the others' processes out of a list and adds up what they hold.
func (b *besides) split(procs []Process) (rest []Process, held int64) {
	for _, p := range procs {
		who, is := attributed{}, false
		if p.PID > 0 && p.PID <= maxPID {
			who, is = b.others.of(p.PID)
		}
		switch {
		case !is || who.service == "":
			rest = append(rest, p)
		case p.Memory == nil:
			b.unknown = "what the run's other stacks hold on the GPU is not known: the driver does not report the memory of processes"
		default:
			held += *p.Memory
		}
	}
	return rest, held
}

// compute looks which of the others computed. A process's first sample that is new does
// not count: what it is of began before the trial.
func (b *besides) compute() {
	samples, _ := b.Busy() // an error is the same as none
	for _, s := range samples {
		who, is := b.others.of(s.PID)
		switch first, known := b.first[s.PID]; {
		case !is || who.service == "":
		case !known:
			if s.Stamp > b.old {
				b.first[s.PID] = s.Stamp
			}
		case s.Stamp > first && s.Percent > busyShare:
			b.busy[who.service] = max(b.busy[who.service], s.Percent)
		}
	}
}

// Memory implements Reader.
func (b *besides) Memory() (Memory, error) {
	m, err := b.Reader.Memory()
	m.Used = max(0, m.Used-b.held)
	return m, err
}

// Processes implements Reader.
func (b *besides) Processes() ([]Process, error) {
	procs, err := b.Reader.Processes()
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	rest, held := b.split(procs)
	b.compute()
	b.moved = b.moved || max(held-b.held, b.held-held) > otherTolerance
	return rest, nil
}

// report adds what is known of the other stacks to a cell's evidence.
func (b *besides) report(ev *evidence) {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := b.held
	if ev.others != nil {
		held += *ev.others
	}
	ev.others, ev.moved = &held, ev.moved || b.moved
	for _, name := range slices.Sorted(maps.Keys(b.busy)) {
		ev.busy = append(ev.busy, fmt.Sprintf("%s, which should have been idle, used %.0f%% of the GPU's time", name, b.busy[name]))
	}
	if ev.unknown == "" {
		ev.unknown = b.unknown
	}
}
