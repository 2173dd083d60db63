package gpu

import "fmt"

// A list is one reading of a device's process list, with the device's memory
// right before and after. What was there the whole time is at most the smaller of
// the two.
type list struct {
	before, after *int64
	entries       []entry
	fault         string   // why the list cannot be used; empty if it can
	codes         []string // of the readings that failed
	device        *Memory  // the last reading of the memory
	garbage       bool     // it held impossible entries
}

// An entry is one process of a list.
type entry struct {
	attributed
	memory     *int64 // nil: the driver does not report it
	accounting *int64
	client     bool // the driver lists it as an MPS client
}

// A round is one reading of the lists of all of a trial's devices.
type round []list

// maxPID is the largest PID that Linux gives (PID_MAX_LIMIT, 2^22).
const maxPID = 1 << 22

// readList reads a device's list and says whose its processes are. One impossible
// entry spoils the whole list: some drivers return entries of another size than
// they announce, and then the others look right only by chance. A process that
// has ended or cannot be seen is left out. Its memory counts as unowned. fault is
// why the driver's lists cannot be used; only the memory is then read.
func readList(r Reader, a *attribution, fault string) list {
	l := list{fault: fault}
	l.before = l.look(r)
	if fault != "" {
		l.after = l.before
		return l
	}
	procs, err := r.Processes()
	l.after = l.look(r)
	if err != nil {
		l.fault = fmt.Sprintf("the process list could not be read: %v", err)
		l.codes = append(l.codes, codeOf(err))
		return l
	}
	for _, p := range procs {
		if p.PID <= 0 || p.PID > maxPID || p.Memory != nil && (*p.Memory < 0 || l.device != nil && *p.Memory > l.device.Total) {
			l.entries, l.garbage = nil, true
			l.fault = fmt.Sprintf("the driver's process list holds an impossible entry (PID %d); drivers 535.43 to 535.86 do that: update the driver", p.PID)
			return l
		}
		if who, ok := a.of(p.PID); ok {
			l.entries = append(l.entries, entry{attributed: who, memory: p.Memory, client: p.MPS})
		}
	}
	return l
}

// look reads the device's memory and keeps the whole reading.
func (l *list) look(r Reader) *int64 {
	m, err := r.Memory()
	if err != nil {
		l.codes = append(l.codes, codeOf(err))
		return nil
	}
	l.device = &m
	return &m.Used
}

// holders are the list's processes as a Snapshot has them.
func (l list) holders(device string) []Holder {
	var hs []Holder
	for _, e := range l.entries {
		hs = append(hs, Holder{Device: device, PID: e.id.pid, Name: e.name, Service: e.service, Container: e.container, Memory: e.memory, Server: e.server})
	}
	return hs
}

// sum adds up the entries that belong. It is nil if the driver does not report
// the memory of one of them.
func (l list) sum(belongs func(entry) bool) *int64 {
	var parts []*int64
	for _, e := range l.entries {
		if belongs(e) {
			parts = append(parts, e.memory)
		}
	}
	return addUp(parts)
}

// sum adds up over the round's lists. It is nil if one of them cannot be used.
func (r round) sum(belongs func(entry) bool) *int64 {
	if r.fault() != "" {
		return nil
	}
	var parts []*int64
	for _, l := range r {
		parts = append(parts, l.sum(belongs))
	}
	return addUp(parts)
}

// fault is why one of the round's lists cannot be used; empty if all can.
func (r round) fault() string {
	for _, l := range r {
		if l.fault != "" {
			return l.fault
		}
	}
	return ""
}

// used is the memory of the devices before or after the lists were read, nil if
// one could not be read.
func (r round) used(of func(list) *int64) []int64 {
	var used []int64
	for _, l := range r {
		v := of(l)
		if v == nil {
			return nil
		}
		used = append(used, *v)
	}
	return used
}

// Moments of reading a list.
func before(l list) *int64 { return l.before }
func after(l list) *int64  { return l.after }

// Who an entry belongs to.
func ofStack(e entry) bool    { return e.service != "" }
func ofNotStack(e entry) bool { return e.service == "" }
func ofOthers(e entry) bool   { return e.service == "" && !e.server }
func ofAnybody(e entry) bool  { return true }
