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
	_, start, err := stat(pid)
	return start, err
}

// runs reports whether the process with that PID and start time still executes.
// A zombie does not: it has ended, and nobody has waited for it yet.
func runs(pid int, since uint64) bool {
	state, start, err := stat(pid)
	return err == nil && start == since && state != "Z" && state != "X"
}

// stat reads /proc/PID/stat: the state, a letter, and the start time.
func stat(pid int) (state string, start uint64, err error) {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", 0, err
	}
	// The command, in parentheses, may hold spaces and parentheses itself.
	text := string(line)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const first, stateField, startField = 3, 3, 22 // the fields after the command begin with number 3
	if len(fields) <= startField-first {
		return "", 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	start, err = strconv.ParseUint(fields[startField-first], 10, 64)
	return fields[stateField-first], start, err
}
