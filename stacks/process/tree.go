//go:build linux

package process

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"stackmeter/stacks"
)

// An identity identifies a process while the machine is up.
type identity struct {
	PID   int
	Start uint64 // in clock ticks since boot
}

// A member is what /proc/PID/stat says of a process (proc_pid_stat(5)).
type member struct {
	identity
	parent  int
	session int
	zombie  bool
	threads int
	cpu     time.Duration // its own, user and system
	waited  time.Duration // of the children that it has waited for
}

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every
// architecture on which Go supports Linux.
const tick = time.Second / 100

func readMember(pid int) (member, error) {
	stat, err := stacks.ReadStat(pid)
	if err != nil {
		return member{}, err
	}
	return member{
		identity: identity{pid, uint64(stat.Number(22))},
		parent:   int(stat.Number(4)),
		session:  int(stat.Number(6)),
		zombie:   stat.Ended(),
		threads:  int(stat.Number(20)),
		cpu:      time.Duration(stat.Number(14)+stat.Number(15)) * tick,
		waited:   time.Duration(stat.Number(16)+stat.Number(17)) * tick,
	}, nil
}

// alive reports whether the process with this identity runs.
func (id identity) alive() bool {
	if id.PID <= 0 {
		return false
	}
	m, err := readMember(id.PID)
	return err == nil && m.Start == id.Start && !m.zombie
}

// signal sends a signal to the process with this identity, never to another that
// has got its PID meanwhile: where the kernel has pidfds, FindProcess returns the
// process, not just its number.
func (id identity) signal(s syscall.Signal) error {
	p, err := os.FindProcess(id.PID)
	if err != nil {
		return err
	}
	defer p.Release()
	if !id.alive() {
		return os.ErrProcessDone
	}
	return p.Signal(s)
}

// everyone lists the processes of this PID namespace.
func everyone() (all []member) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if m, err := readMember(pid); err == nil {
				all = append(all, m)
			}
		}
	}
	return all
}

// below lists the processes under a process, parents before their children. It
// asks the kernel for each one's children, at a fraction of the cost of reading
// all of /proc. A kernel without CONFIG_PROC_CHILDREN does not list them.
func below(root int) []member {
	if _, err := os.Stat("/proc/thread-self/children"); err != nil {
		return walk(root, childrenAmong(everyone()))
	}
	return walk(root, childrenOf)
}

func walk(root int, children func(pid int) []int) (found []member) {
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		for _, pid := range children(queue[0]) {
			if m, err := readMember(pid); err == nil {
				found = append(found, m)
				queue = append(queue, pid)
			}
		}
	}
	return found
}

// childrenOf returns the children of all threads of a process, none if it is gone.
func childrenOf(pid int) (pids []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for field := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(field); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

func childrenAmong(all []member) func(pid int) []int {
	children := map[int][]int{}
	for _, m := range all {
		children[m.parent] = append(children[m.parent], m.PID)
	}
	return func(pid int) []int { return children[pid] }
}

// writtenBy is how many bytes a process and the children that it has waited for have
// written to disks, without what was removed before it got there (proc_pid_io(5)); 0 if
// that may not be read.
func writtenBy(pid int) int64 {
	values := table(pid, "io")
	return values["write_bytes"] - values["cancelled_write_bytes"]
}

// environOf returns the environment that a process was started with, empty if it
// may not be read.
func environOf(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return strings.Split(string(text), "\x00")
}
