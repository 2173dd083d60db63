package gpu

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// evidence is everything that was read for one cell. Its usage follows from it
// alone.
type evidence struct {
	s        Sampler // its intervals and limits
	devices  []Device
	sight    Sight
	why      string // why the sight is less than SightHost
	told     bool   // the stack's owners are known
	unbased  bool   // nobody looked before the stack started
	from, to time.Duration

	idle, startup, warmup []sample
	samples               []sample // of the cell, including its edges
	after                 []int64  // when the cell had ended, by device
	methods               []string
	reserved, totals      []*int64
	faults                map[string]int // failed readings by code

	others  *int64   // bytes that the other stacks hold, which are in no figure; nil: there are none
	moved   bool     // the other stacks did not hold the same throughout
	busy    []string // which of the other stacks computed, in words
	unknown string   // why it is not known what the other stacks hold

	idleRound round
	rounds    []round // the first and the last are the edges; none if an edge failed
	telemetry []reading
	died      []attributed
}

// usage is the usage of the cell: the figures, and how far they can be trusted.
func (ev evidence) usage() Usage {
	u := Usage{
		Validity: Valid, Sight: ev.sight,
		Interval: ev.s.Interval, ProcessInterval: ev.s.ProcessInterval,
		ProcessSamples: len(ev.rounds), TelemetrySamples: len(ev.telemetry),
		Errors: ev.faults, Began: ev.from.Seconds(),
		Fake: slices.ContainsFunc(ev.devices, func(d Device) bool { return d.Fake }),
	}
	if len(ev.methods) > 0 {
		u.Method = ev.methods[0]
	}
	u.Others, u.Busy = ev.others, ev.busy
	ev.memory(&u)
	ev.processes(&u)
	ev.flags(&u)
	if reason := ev.fatal(u); reason != "" {
		u.invalidate(reason)
	} else if len(u.Flags) > 0 {
		u.Validity = Flagged
	}
	return u
}

// memory fills in the figures of the devices.
func (ev evidence) memory(u *Usage) {
	u.Baseline, u.BaselineSpread = medianSpread(ev.idle, sample.total)
	u.Startup, u.Warmup, u.Peak = peak(ev.startup, sample.total), peak(ev.warmup, sample.total), peak(ev.samples, sample.total)
	started := len(ev.samples) > 0 && ev.samples[0].at == ev.from && ev.samples[0].used != nil
	if started {
		u.Start = new(ev.samples[0].total())
	}
	if ev.after != nil {
		u.After = new(sample{used: ev.after}.total())
	}
	if u.Peak != nil && u.Baseline != nil {
		u.OverBaseline = new(max(0, *u.Peak-*u.Baseline))
	}
	u.Samples = len(read(ev.samples))
	u.MaxGap, u.P99Gap = gaps(ev.samples, ev.from, ev.to)
	u.Series = thin(ev.samples, ev.from, DefaultPoints)
	u.Reserved, u.Total = addUp(ev.reserved), addUp(ev.totals)
	for i, d := range ev.devices {
		du := DeviceUsage{UUID: d.UUID, Reserved: ev.reserved[i], Total: ev.totals[i], Peak: peak(ev.samples, device(i)), Activity: ev.activity(i)}
		du.Baseline, _ = medianSpread(ev.idle, device(i))
		if started {
			du.Start = new(ev.samples[0].used[i])
		}
		if ev.after != nil {
			du.After = new(ev.after[i])
		}
		u.Devices = append(u.Devices, du)
	}
}

// addUp is the sum of the parts, nil if one of them is.
func addUp(parts []*int64) *int64 {
	var n int64
	for _, p := range parts {
		if p == nil {
			return nil
		}
		n += *p
	}
	return &n
}

// usable are the rounds that say whose the memory was.
func (ev evidence) usable() []round {
	if ev.sight == SightNone {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(ev.rounds), func(r round) bool { return r.fault() != "" })
}

// processes fills in whose memory it was, if that can be told.
func (ev evidence) processes(u *Usage) {
	rounds := ev.usable()
	switch {
	case ev.sight == SightNone:
		u.ProcessReason = ev.why
	case len(ev.rounds) == 0:
		u.ProcessReason = "the process lists could not be read at the cell's edges"
	case len(rounds) == 0:
		u.ProcessReason = ev.rounds[len(ev.rounds)-1].fault()
	}
	if len(rounds) == 0 {
		return
	}
	for _, r := range rounds {
		u.Stack = larger(u.Stack, r.sum(ofStack))
		u.ForeignPeak = larger(u.ForeignPeak, r.sum(ofOthers))
		u.Unowned = larger(u.Unowned, r.unowned(ev.idleRound))
	}
	u.list(rounds)
	u.Services = servicePeaks(rounds, u.Processes)
	if ev.sight == SightNamespace {
		u.ProcessReason = ev.why
	}
	switch {
	case !ev.told:
		u.Stack, u.ProcessReason = nil, "nobody said which processes belong to the stack"
	case len(u.Processes) == 0:
		u.Stack = nil
		u.ProcessReason = strings.TrimPrefix(u.ProcessReason+"; no process of the stack was seen on the GPU", "; ")
	case u.Stack == nil || slices.ContainsFunc(u.Processes, func(p ProcessPeak) bool { return p.Peak == nil }):
		u.Stack = nil
		u.ProcessReason = strings.TrimPrefix(u.ProcessReason+"; the driver does not report the memory of processes", "; ")
	}
}

// list puts each process that the rounds list where it belongs, ordered by PID.
func (u *Usage) list(rounds []round) {
	all := map[identity]*entry{}
	for _, r := range rounds {
		for id, e := range r.byProcess() {
			if p, seen := all[id]; seen {
				p.client = p.client || e.client
				p.memory, p.accounting = larger(p.memory, e.memory), larger(p.accounting, e.accounting)
			} else {
				all[id] = &e
			}
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(all), func(a, b identity) int { return a.pid - b.pid }) {
		p, into := all[id], &u.Foreign
		switch {
		case p.service != "":
			into = &u.Processes
		case p.server:
			into = &u.Servers
		}
		*into = append(*into, ProcessPeak{PID: id.pid, Start: id.start, Parent: p.parent, Name: p.name, Service: p.service,
			Role: p.role, Container: p.container, Peak: p.memory, MPS: p.client, Accounting: p.accounting})
	}
}

// servicePeaks are the services that the processes belong to, ordered by name. A
// round without a process of a service says nothing about its peak.
func servicePeaks(rounds []round, processes []ProcessPeak) []ServicePeak {
	roles := map[string]string{}
	for _, p := range processes {
		roles[p.Service] = p.Role
	}
	var peaks []ServicePeak
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		sp := ServicePeak{Service: name, Role: roles[name]}
		for _, r := range rounds {
			if n := r.sum(func(e entry) bool { return e.service == name }); n != nil && *n > 0 {
				sp.Peak = larger(sp.Peak, n)
			}
		}
		peaks = append(peaks, sp)
	}
	return peaks
}

// byProcess adds up each process over the devices.
func (r round) byProcess() map[identity]entry {
	m := map[identity]entry{}
	for _, l := range r {
		for _, e := range l.entries {
			if o, ok := m[e.id]; ok {
				e.client = e.client || o.client
				e.memory, e.accounting = addUp([]*int64{e.memory, o.memory}), addUp([]*int64{e.accounting, o.accounting})
			}
			m[e.id] = e
		}
	}
	return m
}

// unowned is the memory that no listed process holds, less what no process held
// when the devices were idle. It is nil if that cannot be told.
func (r round) unowned(idle round) *int64 {
	if idle == nil {
		return nil
	}
	var n int64
	for d, l := range r {
		now, then := l.rest(), idle[d].rest()
		if now == nil || then == nil {
			return nil
		}
		n += max(0, *now-*then)
	}
	return &n
}

// rest is the device's memory in use less that of the listed processes. The
// smaller of the two readings around the list counts, so that memory that came or
// went meanwhile does not.
func (l list) rest() *int64 {
	sum := l.sum(ofAnybody)
	if l.fault != "" || sum == nil || l.before == nil || l.after == nil {
		return nil
	}
	return new(max(0, min(*l.before, *l.after)-*sum))
}

// flags adds the doubts in a fixed order.
func (ev evidence) flags(u *Usage) {
	flag := func(name string, when bool) {
		if when {
			u.Flags = append(u.Flags, name)
		}
	}
	flag(FlagForeign, len(u.Foreign) > 0)
	flag(FlagOthers, ev.moved)
	flag(FlagUnowned, u.Unowned != nil && *u.Unowned > tolerance)
	flag(FlagGap, u.MaxGap > maxGapIntervals*ev.s.Interval)
	flag(FlagFewSamples, u.Samples < minSamples)
	flag(FlagSum, slices.ContainsFunc(ev.rounds, round.exceeds))
	flag(FlagThrottled, slices.ContainsFunc(u.Devices, func(d DeviceUsage) bool { return len(d.Activity.Throttle) > 0 }))
	unused := ev.told && len(ev.usable()) > 0 && len(u.Processes) == 0
	flag(FlagUnused, unused)
	flag(FlagNoClaim, u.Stack == nil && !unused)
	flag(FlagPartSight, ev.sight == SightNamespace)
	flag(FlagReadErrors, len(u.Errors) > 0 || u.Baseline == nil && !ev.unbased)
	flag(FlagGarbageList, slices.ContainsFunc(ev.rounds, func(r round) bool {
		return slices.ContainsFunc(r, func(l list) bool { return l.garbage })
	}))
	flag(FlagMissedPeak, ev.missed(*u))
	flag(FlagNotMPS, ev.s.MPS && len(u.Processes) > 0 && !slices.ContainsFunc(u.Processes, func(p ProcessPeak) bool { return p.MPS }))
	flag(FlagFakeDriver, u.Fake)
}

// exceeds reports whether the processes of a device add up to more than the device
// had in use, before and after.
func (r round) exceeds() bool {
	return slices.ContainsFunc(r, func(l list) bool {
		sum := l.sum(ofAnybody)
		return l.fault == "" && sum != nil && l.before != nil && l.after != nil && *sum > max(*l.before, *l.after)
	})
}

// missed reports whether the driver saw a process of the stack use more memory
// than the trial's samples can explain. The driver's account covers the process's
// whole life, so start-up and warm-up count too, and without samples of those nothing
// can be said.
func (ev evidence) missed(u Usage) bool {
	if u.Baseline == nil || u.Startup == nil {
		return false
	}
	var top *int64
	for _, p := range []*int64{u.Startup, u.Warmup, u.Peak} {
		top = larger(top, p)
	}
	return top != nil && slices.ContainsFunc(u.Processes, func(p ProcessPeak) bool {
		return p.Accounting != nil && *p.Accounting > *top-*u.Baseline+tolerance
	})
}

// fatal says why the peaks do not count; empty if they do.
func (ev evidence) fatal(u Usage) string {
	failed := len(ev.samples) - u.Samples
	switch {
	case ev.unknown != "":
		return ev.unknown
	case u.Errors[CodeGPULost] > 0:
		return "the GPU was lost during the cell (" + codes(u.Errors) + ")"
	case u.Errors[codeTimeout] > 0:
		return "the GPU driver stopped answering during the cell (" + codes(u.Errors) + ")"
	case u.Samples == 0 || failed > u.Samples:
		return "the GPU's memory could not be read (" + codes(u.Errors) + ")"
	case len(ev.methods) > 1:
		return "the way of measuring changed during the trial: " + strings.Join(ev.methods, ", then ")
	case len(ev.died) > 0:
		p := ev.died[0]
		return fmt.Sprintf("process %d (%s) of service %s, which held GPU memory, ended during the cell", p.id.pid, p.name, p.service)
	}
	if rise := u.unexplained(); slices.Contains(u.Flags, FlagUnused) && rise > tolerance {
		return fmt.Sprintf("the GPU's memory rose by %s, but no process of the stack was seen on it", mib(rise))
	}
	return ""
}

// unexplained is the rise that no listed process explains. The samples of the
// memory are closer together than the lists, so they see more. But they say who
// did not cause a rise only if nobody else is on the device.
func (u Usage) unexplained() int64 {
	rise := int64(0)
	if u.Unowned != nil {
		rise = *u.Unowned
	}
	if len(u.Foreign) == 0 && u.OverBaseline != nil {
		rise = max(rise, *u.OverBaseline)
	}
	return rise
}

// codes formats counted errors.
func codes(n map[string]int) string {
	if len(n) == 0 {
		return "no answer"
	}
	var parts []string
	for _, c := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%s ×%d", c, n[c]))
	}
	return strings.Join(parts, ", ")
}
