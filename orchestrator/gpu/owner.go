package gpu

import "slices"

// An Owner is one service of the stack under measurement: its container, or the
// first of its processes on this machine.
type Owner struct {
	Service   string
	Role      string
	Container string // the full id, 64 hexadecimal digits
	PID       int    // of the service's first process, if it has no container
}

// attribution finds out which service a process belongs to. Each trial has its
// own.
type attribution struct {
	proc   procRoot
	mps    bool // the stack uses MPS, so its server is not foreign
	owners []owned
	known  map[identity]attributed
}

// owned is an owner with the identity of its first process.
type owned struct {
	Owner
	root identity // zero for a container
}

// attributed is what is known about one process.
type attributed struct {
	procStat
	container string // the innermost; empty outside of containers
	service   string // empty: it is not part of the stack
	role      string
	server    bool // of MPS: it holds memory for its clients
}

// mpsServer is the kernel's name for nvidia-cuda-mps-server: it cuts names at 15
// bytes. The control daemon has the same name, but holds no memory on a device.
const mpsServer = "nvidia-cuda-mps"

// newAttribution starts without owners: no process is part of the stack.
func newAttribution(proc procRoot, mps bool) *attribution {
	return &attribution{proc: proc, mps: mps, known: map[identity]attributed{}}
}

// own sets the stack's services. It forgets what it knew about processes, because
// a process that had no owner may have one.
func (a *attribution) own(owners []Owner) {
	a.owners = nil
	clear(a.known)
	for _, o := range owners {
		entry := owned{Owner: o}
		if o.PID != 0 {
			st, err := a.proc.stat(o.PID)
			if err != nil {
				// The process has ended. Its session may still lead to its
				// children: it keeps the PID of its leader.
				st.id.pid = o.PID
			}
			entry.root = st.id
		}
		a.owners = append(a.owners, entry)
	}
}

// of says who a process belongs to. It is false if there is no such process.
func (a *attribution) of(pid int) (attributed, bool) {
	st, err := a.proc.stat(pid)
	if err != nil {
		return attributed{}, false
	}
	if seen, ok := a.known[st.id]; ok {
		return seen, true
	}
	p := attributed{procStat: st}
	ids, err := a.proc.containers(pid)
	if err != nil {
		return attributed{}, false // it ended between the two files
	}
	if len(ids) > 0 {
		p.container = ids[len(ids)-1]
	}
	for _, o := range a.owners {
		// Any of the ids counts: a service may start containers itself.
		if o.Container != "" && slices.Contains(ids, o.Container) || o.root.pid != 0 && a.descends(st, o.root) {
			p.service, p.role = o.Service, o.Role
			break
		}
	}
	p.server = a.mps && p.service == "" && st.name == mpsServer
	a.known[st.id] = p
	return p, true
}

// descends reports whether a process is root or descends from it, by its parents
// or by its session, which outlives a parent in between.
func (a *attribution) descends(st procStat, root identity) bool {
	if st.session == root.pid && st.id.start >= root.start {
		return true
	}
	for range 128 { // deeper than any real tree; /proc may change meanwhile, so there is a bound
		if st.id.pid == root.pid {
			return root.start == 0 || st.id.start == root.start
		}
		if st.parent <= 1 {
			return false
		}
		next, err := a.proc.stat(st.parent)
		if err != nil {
			return false
		}
		st = next
	}
	return false
}

// dead returns the stack's processes that were seen and have ended.
func (a *attribution) dead() []attributed {
	var gone []attributed
	for id, p := range a.known {
		if p.service == "" {
			continue
		}
		if st, err := a.proc.stat(id.pid); err != nil || st.id != id {
			gone = append(gone, p)
		}
	}
	return gone
}
