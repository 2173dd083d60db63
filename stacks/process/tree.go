//go:build linux

package process

import (
	"bytes"
	"errors"
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
	signals uint64        // that it handles by functions of its own
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
		signals:  uint64(stat.Number(34)),
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
func everyone() ([]member, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []member
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if m, err := readMember(pid); err == nil {
			all = append(all, m)
		}
	}
	return all, nil
}

// below lists the processes under a process, parents before their children. It
// asks the kernel for each one's children, at a fraction of the cost of reading
// all of /proc. Where the kernel does not list them it reads all of /proc.
func below(root int) ([]member, error) {
	var found []member
	queue := []int{root}
	for len(queue) > 0 {
		pids, err := childrenOf(queue[0])
		if errors.Is(err, errNoChildren) {
			return belowInAll(root)
		}
		queue = queue[1:]
		for _, pid := range pids {
			if m, err := readMember(pid); err == nil {
				found = append(found, m)
				queue = append(queue, pid)
			}
		}
	}
	return found, nil
}

// errNoChildren is the error of a kernel without CONFIG_PROC_CHILDREN.
var errNoChildren = errors.New("the kernel does not list children")

// childrenOf returns the children of all threads of a process, none if it is gone.
func childrenOf(pid int) ([]int, error) {
	tasks := filepath.Join("/proc", strconv.Itoa(pid), "task")
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return nil, nil
	}
	var pids []int
	for _, e := range entries {
		file := filepath.Join(tasks, e.Name(), "children")
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			if _, err := os.Stat(filepath.Dir(file)); err == nil {
				return nil, errNoChildren
			}
		}
		for field := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(field); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids, nil
}

func belowInAll(root int) ([]member, error) {
	all, err := everyone()
	if err != nil {
		return nil, err
	}
	children := map[int][]member{}
	for _, m := range all {
		children[m.parent] = append(children[m.parent], m)
	}
	var found []member
	for queue := []int{root}; len(queue) > 0; queue = queue[1:] {
		for _, m := range children[queue[0]] {
			found = append(found, m)
			queue = append(queue, m.PID)
		}
	}
	return found, nil
}

// commandLine returns a process's arguments, or the title that it gave itself.
func commandLine(pid int) string {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return ""
	}
	// A title is padded to the length of the arguments.
	text = bytes.TrimRight(text, "\x00 ")
	return string(bytes.ReplaceAll(text, []byte{0}, []byte{' '}))
}

// environOf returns the environment that a process was started with, nil if it
// may not be read.
func environOf(pid int) []string {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return nil
	}
	return strings.Split(string(text), "\x00")
}

// workingDir returns the folder that a process is in, empty if it may not be read.
func workingDir(pid int) string {
	dir, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return ""
	}
	return dir
}
