package gpu

import (
	"slices"
	"sync"
	"time"
)

// A Cell is one measurement within a trial.
type Cell struct {
	trial *Trial
	from  time.Duration
	first edge
	err   error // of the first edge
	once  sync.Once
	usage Usage
}

// Cell begins a measurement: it reads the process lists and the telemetry,
// and returns when that is done, so that the starting gun can be fired. One
// cell of a trial is measured at a time.
func (t *Trial) Cell() *Cell {
	if t == nil {
		return nil
	}
	c := &Cell{trial: t}
	c.first, c.err = t.edge(false)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mark(PhaseMeasure)
	c.from = t.marks[len(t.marks)-1].at
	return c
}

// Stop ends the measurement, which is called right after the last reply, and
// returns what was measured. It never fails: what could not be measured is nil
// in the usage, with the reason. It may be called again and then returns the
// first result. Of a nil cell it is the empty usage.
func (c *Cell) Stop() Usage {
	if c == nil {
		return Usage{}
	}
	c.once.Do(func() { c.usage = c.stop() })
	return c.usage
}

// stop gathers the evidence and has it judged.
func (c *Cell) stop() Usage {
	t := c.trial
	t.mu.Lock()
	t.mark(PhaseBetween)
	to := t.marks[len(t.marks)-1].at
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
	end := t.now()
	for _, f := range t.faults {
		if f.at >= ev.from && f.at <= end {
			ev.faults = append(ev.faults, f.code)
		}
	}
	if len(t.rounds) > 0 { // the first one was read before the stack started
		ev.idleRound = &t.rounds[0]
	}
	ev.samples = slices.Clone(window(t.samples, c.from, to))
	if c.err == nil {
		// What the first edge saw last is the memory at the start.
		ev.samples = slices.Insert(ev.samples, 0, sample{c.from, t.rounds[c.first.round].used(true)})
	}
	if err == nil {
		// What the last edge saw first is the memory right after the last
		// reply: it closes the window.
		ev.samples = append(ev.samples, sample{to, t.rounds[last.round].used(false)})
		ev.after = t.rounds[last.round].used(true)
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
	return judge(ev)
}
