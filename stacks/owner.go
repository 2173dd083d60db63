package stacks

import (
	"fmt"
	"os"
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
	boot, namespace, err := machine()
	if err != nil {
		return Owner{}, fmt.Errorf("say whose stacks these are: %w", err)
	}
	start, err := StartTime(os.Getpid())
	if err != nil {
		return Owner{}, fmt.Errorf("say whose stacks these are: %w", err)
	}
	return Owner{Boot: boot, Namespace: namespace, PID: os.Getpid(), Start: start}, nil
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
// can know: a zombie is gone, an owner of an earlier boot is gone, one in another PID namespace
// cannot be seen and counts as alive.
func (o Owner) Gone(self Owner) bool {
	if o.Boot != self.Boot {
		return true
	}
	if o.Namespace != self.Namespace {
		return false
	}
	return !runs(o.PID, o.Start)
}
