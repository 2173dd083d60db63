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

// ReadStat reads what the kernel says of a process.
func ReadStat(pid int) (Stat, error) {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil, err
	}
	// The command, in parentheses, may hold spaces and parentheses itself.
	text := string(line)
	stat := Stat(strings.Fields(text[strings.LastIndexByte(text, ')')+1:]))
	if len(stat) <= 34-statFirst {
		return nil, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(stat))
	}
	return stat, nil
}

// ReadProcess reads a process of this PID namespace, its signals but for the real-time
// ones. It fails for one that has ended, whether somebody has waited for it or not.
func ReadProcess(pid int) (Process, error) {
	stat, err := ReadStat(pid)
	if err == nil && stat.Ended() {
		err = os.ErrProcessDone
	}
	if err != nil {
		return Process{}, err
	}
	return Process{
		PID: pid, Start: uint64(stat.Number(22)), Parent: int(stat.Number(4)), Threads: int(stat.Number(20)), Signals: uint64(stat.Number(34)),
		Command: CommandLine(pid),
	}, nil
}

// CommandLine returns a process's arguments, or the title that it gave itself.
func CommandLine(pid int) string {
	text, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	// A title is padded to the length of the arguments.
	return strings.ReplaceAll(strings.TrimRight(string(text), "\x00 "), "\x00", " ")
}

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
