package kubernetes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"

	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
)

// lock is a mutex that is embedded under a name of its own.
type lock = sync.Mutex

// group is the control group of a service's container, if the node is this machine.
func (st *stack) group(i int) (cgroup.Group, bool) {
	one := st.services[i]
	if one.container == "" || st.runtime.remote {
		return cgroup.Group{}, false
	}
	group, err := cgroup.Of(one.first())
	return group, one.first() != 0 && err == nil && group.Holds(one.container)
}

// firstIn finds the first process of a container among this machine's; 0 without any.
func firstIn(container string) (first int) {
	var earliest uint64
	files, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), container) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if p, err := stacks.ReadProcess(pid); err == nil && (first == 0 || p.Start < earliest) {
			first, earliest = pid, p.Start
		}
	}
	return first
}

// processes lists those of a service, the first one first.
func (st *stack) processes(ctx context.Context, i int) (list []stacks.Process, err error) {
	group, here := st.group(i)
	if !here {
		return st.processesInside(ctx, i)
	}
	for _, pid := range group.Processes() {
		switch p, err := stacks.ReadProcess(pid); {
		case err != nil: // it has ended meanwhile
		case pid == st.services[i].first():
			list = slices.Insert(list, 0, p)
		default:
			list = append(list, p)
		}
	}
	return list, nil
}

// mostAsked is how many processes of a container are asked for at once.
const mostAsked = 8

// processesInside asks the container, which has to have ls and cat. The numbers are those
// of the Pod. All containers of it see each other's processes: those of others are in
// another control group.
func (st *stack) processesInside(ctx context.Context, i int) ([]stacks.Process, error) {
	name := st.spec.Services[i].Name
	listed, err := st.Exec(ctx, name, "ls", "/proc")
	if err == nil {
		var group []byte
		if group, err = st.Exec(ctx, name, "cat", "/proc/self/cgroup"); err == nil {
			return st.readProcesses(ctx, name, strings.Fields(string(listed)), string(group))
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if ended := st.look(ctx); ended != nil {
		return nil, ended
	}
	if strings.Contains(err.Error(), "executable file not found") || strings.Contains(err.Error(), "no such file or directory") {
		return nil, nil // without these programs nothing is seen, which is said of what is not read back
	}
	return nil, err
}

// readProcesses reads those of the names that are processes of a control group, the one
// that was started first first. One that ends meanwhile, as ls has, is left out.
func (st *stack) readProcesses(ctx context.Context, service string, names []string, group string) ([]stacks.Process, error) {
	var mu sync.Mutex
	var list []stacks.Process
	var asking errgroup.Group
	asking.SetLimit(mostAsked)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		asking.Go(func() error {
			dir := "/proc/" + name + "/"
			out, err := st.Exec(ctx, service, "cat", dir+"cgroup", dir+"stat", dir+"status", dir+"cmdline")
			if err != nil && (ctx.Err() != nil || errors.Is(err, stacks.ErrLost)) {
				return err
			}
			if p, is := parseProcess(pid, string(out), group); is {
				mu.Lock()
				defer mu.Unlock()
				list = append(list, p)
			}
			return nil
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b stacks.Process) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.PID, b.PID))
	})
	return list, nil
}

// parseProcess reads the control group, stat line, status and command line of a process,
// one after the other, as stacks.ReadProcess does of this machine's. The status is what
// the other two are told apart by. It is false if they are not whole, of another group,
// or of a process that has ended.
func parseProcess(pid int, text, group string) (p stacks.Process, is bool) {
	text, own := strings.CutPrefix(text, group)
	text, is = strings.CutPrefix(text, strconv.Itoa(pid)+" (")
	stat, rest, second := strings.Cut(text, "\nName:\t")
	_, rest, third := strings.Cut(rest, "\nnonvoluntary_ctxt_switches:")
	_, command, whole := strings.Cut(rest, "\n")
	name := strings.LastIndex(stat, ") ") // proc_pid_stat(5): it may have blanks and brackets
	if !own || !is || !second || !third || !whole || name < 0 {
		return p, false
	}
	fields := stacks.Stat(strings.Fields(stat[name+2:]))
	if len(fields) < 32 || fields.Ended() {
		return p, false
	}
	return stacks.Process{
		PID: pid, Start: uint64(fields.Number(22)), Parent: int(fields.Number(4)), Threads: int(fields.Number(20)), Signals: uint64(fields.Number(34)),
		Command: strings.ReplaceAll(strings.TrimRight(command, "\x00 "), "\x00", " "),
	}, true
}

// ownSockets are those on which a service's processes listen, where they are this
// machine's.
func (st *stack) ownSockets(i int) (listens []netip.AddrPort, known bool) {
	group, here := st.group(i)
	if !here {
		return nil, false
	}
	open := map[string]bool{}
	for _, pid := range group.Processes() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // none if it has ended
		for _, file := range files {
			target, _ := os.Readlink(file)
			open[target] = true
		}
	}
	for _, table := range []string{"tcp", "tcp6"} { // a kernel without IPv6 has one of them
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", st.services[i].first(), table))
		known = known || err == nil
		for _, s := range stacks.ParseSockets(string(text)) {
			if open["socket:["+s.Inode+"]"] {
				listens = append(listens, s.Address)
			}
		}
	}
	return listens, known
}

// endExec ends a command that was given up: the node lets it go on. Elsewhere it ends
// with its container.
func (st *stack) endExec(i int, argv []string) {
	group, here := st.group(i)
	if !here {
		return
	}
	pids := group.Processes()
	for _, pid := range pids {
		p, err := stacks.ReadProcess(pid)
		if err == nil && pid != st.services[i].first() && p.Command == shown(argv) && !slices.Contains(pids, p.Parent) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// groups are the control groups of the services, if the node is this machine.
func (st *stack) groups() (all []cgroup.Service, here bool) {
	for i, s := range st.spec.Services {
		group, here := st.group(i)
		if !here {
			return nil, false
		}
		all = append(all, cgroup.Service{Name: s.Name, Group: group})
	}
	return all, true
}
