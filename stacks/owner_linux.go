package stacks

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// here names this machine, this boot and this PID namespace. A machine is named
// by its id and its host name, because either alone may be shared: images are
// copied with their machine-id, and host names are given twice. A container may
// have no machine-id.
func here() (machine, boot, namespace string, err error) {
	host, err := os.Hostname()
	if err != nil {
		return "", "", "", err
	}
	id, _ := os.ReadFile("/etc/machine-id")
	machine = word(string(id) + "/" + host)
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", "", "", err
	}
	namespace, err = os.Readlink("/proc/self/ns/pid")
	return machine, word(string(text)), namespace, err
}

// StartTime returns when a process started, in clock ticks since boot. Together
// with the PID it identifies a process while the machine is up. A zombie still
// has one.
func StartTime(pid int) (uint64, error) {
	stat, err := ReadStat(pid)
	if err != nil {
		return 0, err
	}
	return uint64(stat.Number(22)), nil
}

// runs reports whether the process with that PID and start time still executes.
func runs(pid int, since uint64) bool {
	stat, err := ReadStat(pid)
	return err == nil && uint64(stat.Number(22)) == since && !stat.Ended()
}

// A Stat is what /proc/PID/stat says behind the command (proc_pid_stat(5)).
type Stat []string

// ReadStat reads what the kernel says of a process.
func ReadStat(pid int) (Stat, error) {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil, err
	}
	// The command, in parentheses, may hold spaces and parentheses itself.
	text := string(line)
	stat := Stat(strings.Fields(text[strings.LastIndexByte(text, ')')+1:]))
	if len(stat) <= 22-statFirst {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(stat))
	}
	return stat, nil
}

// statFirst is the manual page's number of the first field of a Stat.
const statFirst = 3

// Number is the value of a field, by its number in the manual page: 4 to 22.
func (s Stat) Number(field int) int64 {
	n, _ := strconv.ParseInt(s[field-statFirst], 10, 64)
	return n
}

// Ended reports whether the process has ended: a zombie has, and nobody has waited
// for it yet.
func (s Stat) Ended() bool { return s[0] == "Z" || s[0] == "X" }

// Halted says which of the processes a signal or a debugger stopped, in its first
// thread; empty if none is.
func Halted(pids []int) string {
	for _, pid := range pids {
		if stat, err := ReadStat(pid); err == nil && strings.ContainsAny(stat[0], "Tt") {
			return fmt.Sprintf("process %d was stopped by a signal or a debugger", pid)
		}
	}
	return ""
}
