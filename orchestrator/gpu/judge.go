package gpu

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// evidence is all that was read for one cell. judge turns it into a Usage and
// touches nothing else.
type evidence struct {
	s        Sampler // its intervals and limits
	devices  []Device
	sight    Sight
	why      string // why the sight is less than SightHost
	told     bool   // that the stack's owners are known
	from, to time.Duration

	idle, startup, warmup readings
	samples               []sample // of the cell, its edges included
	after                 []int64  // when the cell had ended, by device
	methods               []string
	reserved, totals      []*int64
	faults                []string // codes

	idleRound *round
	rounds    []round // the first and the last are the edges; none where an edge failed
	telemetry []reading
	died      []attributed
}

// judge makes the usage of a cell: the figures first, then what they are
// worth.
func judge(ev evidence) Usage {
	u := Usage{
		Validity: Valid, Sight: ev.sight,
		Interval: ev.s.Interval, ProcessInterval: ev.s.ProcessInterval,
		ProcessSamples: len(ev.rounds), TelemetrySamples: len(ev.telemetry),
		Errors: count(ev.faults), Began: ev.from.Seconds(),
	}
	if len(ev.methods) > 0 {
		u.Method = ev.methods[0]
	}
	for _, d := range ev.devices {
		u.Fake = u.Fake || d.Fake
	}
	ev.memory(&u)
	ev.processes(&u)
	ev.activity(&u)
	ev.flags(&u)
	if reason := ev.fatal(u); reason != "" {
		u.invalidate(reason)
	} else if len(u.Flags) > 0 {
		u.Validity = Flagged
	}
	return u
}

// count counts codes, nil of none.
func count(codes []string) map[string]int {
	if len(codes) == 0 {
		return nil
	}
	n := map[string]int{}
	for _, c := range codes {
		n[c]++
	}
	return n
}

// memory fills in the figures of the devices.
func (ev evidence) memory(u *Usage) {
	u.Baseline, u.BaselineSpread = medianSpread(ev.idle.totals())
	u.Startup, u.Warmup = peak(ev.startup), peak(ev.warmup)
	u.Peak = peak(ev.samples)
	if len(ev.samples) > 0 && ev.samples[0].at == ev.from && ev.samples[0].used != nil {
		n := ev.samples[0].total()
		u.Start = &n
	}
	if ev.after != nil {
		n := sample{used: ev.after}.total()
		u.After = &n
	}
	if u.Peak != nil && u.Baseline != nil {
		n := max(0, *u.Peak-*u.Baseline)
		u.OverBaseline = &n
	}
	u.Samples = len(read(ev.samples))
	u.MaxGap, u.P99Gap = gaps(ev.samples, ev.from, ev.to)
	u.Series = thin(ev.samples, ev.from, ev.s.Points)
	u.Reserved, u.Total = addUp(ev.reserved), addUp(ev.totals)
	for i, d := range ev.devices {
		du := DeviceUsage{UUID: d.UUID, Reserved: ev.reserved[i], Total: ev.totals[i]}
		du.Baseline, _ = medianSpread(ev.idle.device(i))
		du.Peak = devicePeak(ev.samples, i)
		if u.Start != nil {
			n := ev.samples[0].used[i]
			du.Start = &n
		}
		if ev.after != nil {
			n := ev.after[i]
			du.After = &n
		}
		u.Devices = append(u.Devices, du)
	}
}

// addUp is a sum, nil where a part of it is.
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

// processes fills in whose memory it was, where a claim can be made.
func (ev evidence) processes(u *Usage) {
	if ev.sight == SightNone {
		u.ProcessReason = ev.why
		return
	}
	if len(ev.rounds) == 0 {
		u.ProcessReason = "the process lists could not be read at the cell's edges"
		return
	}
	all, servers := map[identity]*ProcessPeak{}, map[identity]bool{}
	var order []identity
	services := map[string]*ServicePeak{}
	good := 0
	for _, r := range ev.rounds {
		if why, bad := r.faults(); bad {
			u.ProcessReason = why
			continue
		}
		good++
		for id, e := range r.byProcess() {
			p := all[id]
			if p == nil {
				p = &ProcessPeak{PID: id.pid, Start: id.start, Parent: e.parent, Name: e.name,
					Service: e.service, Role: e.role, Container: e.container}
				all[id] = p
				servers[id] = e.server
				order = append(order, id)
			}
			p.MPS = p.MPS || e.client
			if e.memory != nil {
				p.Peak = larger(p.Peak, *e.memory)
			}
			if e.accounting != nil {
				p.Accounting = larger(p.Accounting, *e.accounting)
			}
			if e.service != "" && services[e.service] == nil {
				services[e.service] = &ServicePeak{Service: e.service, Role: e.role}
			}
		}
		for name, sp := range services {
			if n := r.sum(func(e entry) bool { return e.service == name }); n != nil {
				sp.Peak = larger(sp.Peak, *n)
			}
		}
		if n := r.sum(ofStack); n != nil {
			u.Stack = larger(u.Stack, *n)
		}
		if n := r.sum(ofOthers); n != nil {
			u.ForeignPeak = larger(u.ForeignPeak, *n)
		}
		if n := r.unowned(ev.idleRound); n != nil {
			u.Unowned = larger(u.Unowned, *n)
		}
	}
	if good == 0 {
		return
	}
	u.ProcessReason = ""
	if ev.sight == SightNamespace {
		u.ProcessReason = ev.why
	}
	slices.SortFunc(order, func(a, b identity) int { return a.pid - b.pid })
	for _, id := range order {
		switch p := all[id]; {
		case p.Service != "":
			u.Processes = append(u.Processes, *p)
		case servers[id]:
			u.Servers = append(u.Servers, *p)
		default:
			u.Foreign = append(u.Foreign, *p)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		u.Services = append(u.Services, *services[name])
	}
	switch {
	case !ev.told:
		u.Stack, u.ProcessReason = nil, "nobody said which processes belong to the stack"
	case len(u.Processes) == 0:
		u.Stack = nil
		u.ProcessReason = join(u.ProcessReason, "no process of the stack was seen on the GPU")
	case u.Stack == nil || slices.ContainsFunc(u.Processes, func(p ProcessPeak) bool { return p.Peak == nil }):
		u.Stack = nil
		u.ProcessReason = join(u.ProcessReason, "the driver does not report the memory of processes")
	}
}

// join puts reasons into one sentence.
func join(reasons ...string) string {
	return strings.Join(slices.DeleteFunc(reasons, func(r string) bool { return r == "" }), "; ")
}

// byProcess adds up each process over the devices.
func (r round) byProcess() map[identity]entry {
	m := map[identity]entry{}
	for _, l := range r.lists {
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

// unowned is the memory that no listed process holds, beyond what nobody held
// when the devices were idle. nil where it cannot be told.
func (r round) unowned(idle *round) *int64 {
	var n int64
	for d, l := range r.lists {
		now := l.rest()
		if now == nil || idle == nil {
			return nil
		}
		then := idle.lists[d].rest()
		if then == nil {
			return nil
		}
		n += max(0, *now-*then)
	}
	return &n
}

// rest is what the listed processes leave of the device's memory. Of the two
// readings around the list the smaller counts: what came or went meanwhile is
// not in it.
func (l list) rest() *int64 {
	sum := l.sum(ofAnybody)
	if l.fault != "" || sum == nil || l.before == nil || l.after == nil {
		return nil
	}
	n := max(0, min(*l.before, *l.after)-*sum)
	return &n
}

// flags adds the doubts, in a fixed order.
func (ev evidence) flags(u *Usage) {
	flag := func(name string, when bool) {
		if when {
			u.Flags = append(u.Flags, name)
		}
	}
	flag(FlagForeign, len(u.Foreign) > 0)
	flag(FlagUnowned, u.Unowned != nil && *u.Unowned > ev.s.Tolerance)
	flag(FlagGap, u.MaxGap > maxGapIntervals*ev.s.Interval)
	flag(FlagFewSamples, u.Samples < minSamples)
	flag(FlagSum, slices.ContainsFunc(ev.rounds, round.exceeds))
	flag(FlagThrottled, slices.ContainsFunc(u.Devices, func(d DeviceUsage) bool { return len(d.Activity.Throttle) > 0 }))
	unused := ev.told && ev.claims() && len(u.Processes) == 0
	flag(FlagUnused, unused)
	flag(FlagNoClaim, u.Stack == nil && !unused)
	flag(FlagPartSight, ev.sight == SightNamespace)
	flag(FlagReadErrors, len(u.Errors) > 0 || u.Baseline == nil)
	flag(FlagGarbageList, slices.ContainsFunc(ev.rounds, func(r round) bool {
		return slices.ContainsFunc(r.lists, func(l list) bool { return l.garbage })
	}))
	flag(FlagMissedPeak, ev.missed(*u))
	flag(FlagNotMPS, ev.s.MPS && len(u.Processes) > 0 && !slices.ContainsFunc(u.Processes, func(p ProcessPeak) bool { return p.MPS }))
	flag(FlagFakeDriver, u.Fake)
}

// claims reports whether at least one round said whose the memory was.
func (ev evidence) claims() bool {
	return ev.sight != SightNone && slices.ContainsFunc(ev.rounds, func(r round) bool {
		_, bad := r.faults()
		return !bad
	})
}

// exceeds reports whether the processes of a device add up to more than the
// device had in use, before or after.
func (r round) exceeds() bool {
	for _, l := range r.lists {
		sum := l.sum(ofAnybody)
		if l.fault == "" && sum != nil && l.before != nil && l.after != nil && *sum > max(*l.before, *l.after) {
			return true
		}
	}
	return false
}

// missed reports whether the driver's own high-water marks of the stack's
// processes lie above anything that the trial's samples can explain. The marks
// cover a process's whole life, so the start-up and the warm-up count too.
func (ev evidence) missed(u Usage) bool {
	if u.Baseline == nil {
		return false
	}
	var top *int64
	for _, p := range []*int64{u.Startup, u.Warmup, u.Peak} {
		if p != nil {
			top = larger(top, *p)
		}
	}
	return top != nil && slices.ContainsFunc(u.Processes, func(p ProcessPeak) bool {
		return p.Accounting != nil && *p.Accounting > *top-*u.Baseline+ev.s.Tolerance
	})
}

// fatal says why the peaks cannot stand, or nothing.
func (ev evidence) fatal(u Usage) string {
	failed := len(ev.samples) - u.Samples
	switch {
	case u.Errors[CodeGPULost] > 0:
		return "the GPU was lost during the cell (" + codes(u.Errors) + ")"
	case u.Errors[CodeTimeout] > 0:
		return "the GPU driver stopped answering during the cell (" + codes(u.Errors) + ")"
	case u.Samples == 0 || failed > u.Samples:
		return "the GPU's memory could not be read (" + codes(u.Errors) + ")"
	case len(ev.methods) > 1:
		return "the way of measuring changed during the trial: " + strings.Join(ev.methods, ", then ")
	case len(ev.died) > 0:
		p := ev.died[0]
		return fmt.Sprintf("process %d (%s) of service %s, which held GPU memory, ended during the cell", p.id.pid, p.name, p.service)
	}
	if rise := u.unexplained(); slices.Contains(u.Flags, FlagUnused) && rise > ev.s.Tolerance {
		return fmt.Sprintf("the GPU's memory rose by %s, but no process of the stack was seen on it", mib(rise))
	}
	return ""
}

// unexplained is the rise that no listed process accounts for. The samples of
// the memory are closer together than the lists, so that they see more, but
// only where nobody else is on the device can they say whose it was not.
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

// codes prints counted errors.
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
