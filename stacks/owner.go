package stacks

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// An Owner says which process a stack belongs to, so that a later start can
// tell the leftovers of a killed run from the stacks of one that is alive. It
// is a label on every object: PID and start time name a process for good, but
// only within one boot and one PID namespace.
type Owner struct {
	Boot      string // /proc/sys/kernel/random/boot_id
	Namespace string // of PIDs, as /proc/self/ns/pid links to it
	PID       int
	Start     uint64 // in clock ticks since boot, field 22 of /proc/PID/stat
}

// Self is this process as an owner.
func Self() (Owner, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Owner{}, fmt.Errorf("say whose stacks these are: %w", err)
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return Owner{}, fmt.Errorf("say whose stacks these are: %w", err)
	}
	start, err := StartTime(os.Getpid())
	if err != nil {
		return Owner{}, fmt.Errorf("say whose stacks these are: %w", err)
	}
	return Owner{Boot: strings.TrimSpace(string(boot)), Namespace: ns, PID: os.Getpid(), Start: start}, nil
}

// String is the owner as a label's value.
func (o Owner) String() string {
	return fmt.Sprintf("%s %s %d %d", o.Boot, o.Namespace, o.PID, o.Start)
}

// ParseOwner reads what String wrote.
func ParseOwner(label string) (Owner, error) {
	var o Owner
	if n, err := fmt.Sscanf(label, "%s %s %d %d", &o.Boot, &o.Namespace, &o.PID, &o.Start); n != 4 {
		return Owner{}, fmt.Errorf("owner label %q: %w", label, err)
	}
	return o, nil
}

// Gone reports whether the owner no longer runs, as far as the process self
// can know: an owner of an earlier boot is gone, one in another PID namespace
// cannot be seen and counts as alive.
func (o Owner) Gone(self Owner) bool {
	if o.Boot != self.Boot {
		return true
	}
	if o.Namespace != self.Namespace {
		return false
	}
	start, err := StartTime(o.PID)
	return err != nil || start != o.Start
}

// StartTime is when a process started, in clock ticks since boot. With the
// PID it names a process for as long as the machine is up.
func StartTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	// The command, in parentheses, may hold spaces and parentheses itself.
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const startField = 22 - 3 // the fields after the command begin with number 3
	if len(fields) <= startField {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return strconv.ParseUint(fields[startField], 10, 64)
}
