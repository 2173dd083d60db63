package gpu

import (
	"runtime"
	"slices"
	"time"
)

// watchMemory reads the memory of all devices at the target interval. It has its
// own thread, with a higher priority if that is allowed, and never unlocks it, so
// that the thread ends with it. Ticks count from the beginning: one late reading
// does not delay the next ones.
func (t *Trial) watchMemory() {
	runtime.LockOSThread()
	preferThread()
	for began := time.Now(); ; {
		t.readMemory()
		sleep(untilTick(time.Since(began), t.s.Interval))
		select {
		case <-t.quit:
			return
		default:
		}
	}
}

// readMemory takes one sample.
func (t *Trial) readMemory() {
	got := make([]Memory, len(t.readers))
	var err error
	for d, r := range t.readers {
		if got[d], err = r.Memory(); err != nil {
			break
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := sample{at: t.now()}
	if err != nil {
		t.faults, got = append(t.faults, fault{s.at, codeOf(err)}), nil
	}
	for d, m := range got {
		s.used = append(s.used, m.Used)
		t.note(d, m)
	}
	t.samples = append(t.samples, s)
	close(t.fresh)
	t.fresh = make(chan struct{})
}

// note keeps what else a reading of the memory says; mu is held.
func (t *Trial) note(device int, m Memory) {
	if !slices.Contains(t.methods, m.Method) {
		t.methods = append(t.methods, m.Method)
	}
	t.totals[device], t.reserved[device] = &m.Total, m.Reserved
}

// watchProcesses reads the process lists and the telemetry, which are slow, at
// their intervals and when asked.
func (t *Trial) watchProcesses() {
	a := newAttribution("/proc", t.s.MPS)
	lists, telemetry := time.NewTicker(t.s.ProcessInterval), time.NewTicker(telemetryInterval)
	defer lists.Stop()
	defer telemetry.Stop()
	t.readLists(a, false)
	t.readTelemetry()
	for {
		select {
		case <-t.quit:
			return
		case <-lists.C:
			t.readLists(a, false)
		case <-telemetry.C:
			t.readTelemetry()
		case req := <-t.asked:
			e := edge{round: t.readLists(a, req.accounting), telemetry: t.readTelemetry()}
			e.died = a.dead()
			req.done <- e
		}
	}
}

// readLists takes one round and returns its index.
func (t *Trial) readLists(a *attribution, accounting bool) int {
	t.mu.Lock()
	if t.newOwners {
		t.newOwners = false
		a.own(t.owners)
	}
	t.mu.Unlock()

	unusable := ""
	if t.sight == SightNone {
		unusable = t.why
	}
	var r round
	for _, reader := range t.readers {
		l := readList(reader, a, unusable)
		for i, e := range l.entries {
			if accounting && e.service != "" {
				// An error is the same as nil: there is no account to check against.
				l.entries[i].accounting, _ = reader.Accounting(e.id.pid)
			}
		}
		r = append(r, l)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for d, l := range r {
		for _, code := range l.codes {
			t.faults = append(t.faults, fault{t.now(), code})
		}
		if l.device != nil {
			t.note(d, *l.device)
		}
	}
	t.rounds = append(t.rounds, r)
	return len(t.rounds) - 1
}

// readTelemetry takes one reading and returns its index. A device may have no
// telemetry: its figures are nil.
func (t *Trial) readTelemetry() int {
	r := make(reading, len(t.readers))
	for d, reader := range t.readers {
		if got, err := reader.Telemetry(); err == nil {
			r[d] = &got
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.telemetry = append(t.telemetry, r)
	return len(t.telemetry) - 1
}

// untilTick is the time from elapsed to the next multiple of interval.
func untilTick(elapsed, interval time.Duration) time.Duration {
	return interval - elapsed%interval
}
