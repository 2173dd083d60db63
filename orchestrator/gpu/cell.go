package gpu

import (
	"slices"
	"time"
)

// A Cell is one measurement within a trial.
type Cell struct {
	trial *Trial
	from  time.Duration
	first edge
	err   error // of the first edge
}

// Cell begins a measurement. It reads the process lists and the telemetry, and
// returns when the starting gun can be fired. One cell of a trial is measured at
// a time.
func (t *Trial) Cell() *Cell {
	if t == nil {
		return nil
	}
	c := &Cell{trial: t}
	c.first, c.err = t.edge(false)
	t.mu.Lock()
	defer t.mu.Unlock()
	c.from = t.mark(PhaseMeasure)
	return c
}

// Stop ends the measurement and returns what was measured. Call it once, right
// after the last reply. It never fails: a figure that could not be measured is nil
// in the usage, with the reason. A nil cell has the empty usage.
func (c *Cell) Stop() Usage {
	if c == nil {
		return Usage{}
	}
	t := c.trial
	t.mu.Lock()
	to := t.mark(PhaseBetween)
	t.mu.Unlock()

	last, err := t.edge(true)

	t.mu.Lock()
	defer t.mu.Unlock()
	ev := evidence{
		s: t.s, sight: t.sight, why: t.why, told: t.told,
		from: c.from, to: to,
		idle: t.during(PhaseIdle), startup: t.during(PhaseStartup), warmup: t.during(PhaseWarmup),
		methods: slices.Clone(t.methods), reserved: slices.Clone(t.reserved), totals: slices.Clone(t.totals),
	}
	for _, r := range t.readers {
		ev.devices = append(ev.devices, r.Device())
	}
	for _, b := range t.beside {
		b.report(&ev)
	}
	end := t.now()
	for _, f := range t.faults {
		if f.at >= ev.from && f.at <= end {
			if ev.faults == nil {
				ev.faults = map[string]int{}
			}
			ev.faults[f.code]++
		}
	}
	if len(t.rounds) > 0 {
		ev.idleRound = t.rounds[0] // it was read before the stack started
	}
	ev.samples = slices.Clone(window(t.samples, c.from, to))
	if c.err == nil {
		// The last reading of the first edge is the memory at the start.
		ev.samples = slices.Insert(ev.samples, 0, sample{c.from, t.rounds[c.first.round].used(after)})
	}
	if err == nil {
		// The first reading of the last edge is the memory right after the last
		// reply. It closes the window.
		ev.samples = append(ev.samples, sample{to, t.rounds[last.round].used(before)})
		ev.after = t.rounds[last.round].used(after)
	}
	if c.err == nil && err == nil {
		ev.rounds = slices.Clone(t.rounds[c.first.round : last.round+1])
		ev.telemetry = slices.Clone(t.telemetry[c.first.telemetry : last.telemetry+1])
		for _, p := range last.died {
			if !slices.ContainsFunc(c.first.died, func(o attributed) bool { return o.id == p.id }) {
				ev.died = append(ev.died, p)
			}
		}
	}
	return ev.usage()
}
