package gpu

import "slices"

// An Owner is one service of the stack under measurement: the container that
// it runs in, or the root of its processes on this machine.
type Owner struct {
	Service   string
	Role      string
	Container string // the full id, 64 hexadecimal digits
	PID       int    // of the service's first process, where there is no container
}

// attribution says whose a process is. It belongs to one trial.
type attribution struct {
	proc   procRoot
	mps    bool // an MPS server is no stranger
	owners []owned
	known  map[identity]attributed
}

// owned is an owner whose first process is named for good.
type owned struct {
	Owner
	root identity // zero for a container
}

// attributed is what is known of one process.
type attributed struct {
	procStat
	container string // the innermost; empty outside of containers
	service   string // empty: not the stack's
	role      string
	server    bool // of MPS: what it holds it holds for its clients
}

// mpsServer is what the kernel calls nvidia-cuda-mps-server: it cuts names at 15
// bytes. The control daemon has the same one, and holds no memory on a device.
const mpsServer = "nvidia-cuda-mps"

// newAttribution starts with no owners: every process is somebody else's.
func newAttribution(proc procRoot, mps bool) *attribution {
	return &attribution{proc: proc, mps: mps, known: map[identity]attributed{}}
}

// own says who the stack's services are. What was attributed before is
// forgotten, because a process that was nobody's may be the stack's.
func (a *attribution) own(owners []Owner) {
	a.owners = nil
	clear(a.known)
	for _, o := range owners {
		entry := owned{Owner: o}
		if o.PID != 0 {
			st, err := a.proc.stat(o.PID)
			if err != nil {
				// It is gone already. Its children may still be found by
				// their session, which keeps the number of its leader.
				st.id.pid = o.PID
			}
			entry.root = st.id
		}
		a.owners = append(a.owners, entry)
	}
}

// of says whose a process is; false means that there is no such process.
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
		// Any of the ids counts: a service may itself start containers.
		if o.Container != "" && slices.Contains(ids, o.Container) || o.root.pid != 0 && a.descends(st, o.root) {
			p.service, p.role = o.Service, o.Role
			break
		}
	}
	p.server = a.mps && p.service == "" && st.name == mpsServer
	a.known[st.id] = p
	return p, true
}

// descends reports whether a process is root or comes from it: by its chain
// of parents, or by its session, which stays when a parent in between ends.
func (a *attribution) descends(st procStat, root identity) bool {
	if st.session == root.pid && st.id.start >= root.start {
		return true
	}
	for range 128 { // deeper than any real tree: a bound on what /proc may say while it changes
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

// dead are the processes of the stack that were seen and have ended.
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
