package stacks

import (
	"fmt"
	"os"
	"strings"
)

// An Owner is the process that a stack belongs to. By it a later run tells the
// leftovers of a killed run from the stacks of a live one. It is a label on
// every object. PID and start time identify a process for good, but only within
// one boot and one PID namespace. Machines that share an engine have their own
// boots.
type Owner struct {
	Boot      string // /proc/sys/kernel/random/boot_id
	Namespace string // of PIDs, as /proc/self/ns/pid links to it
	PID       int
	Start     uint64 // in clock ticks since boot, field 22 of /proc/PID/stat
	Machine   string // its id and host name, the same after a reboot
}

// Self returns this process as an owner.
func Self() (Owner, error) {
	machine, boot, namespace, err := here()
	if err != nil {
		return Owner{}, fmt.Errorf("say whose stacks these are: %w", err)
	}
	start, err := StartTime(os.Getpid())
	if err != nil {
		return Owner{}, fmt.Errorf("say whose stacks these are: %w", err)
	}
	return Owner{Boot: boot, Namespace: namespace, PID: os.Getpid(), Start: start, Machine: machine}, nil
}

// word removes white space from a text: it separates the words of a label.
func word(text string) string { return strings.Join(strings.Fields(text), "") }

// String returns the owner as the value of a label.
func (o Owner) String() string {
	return fmt.Sprintf("%s %s %s %d %d", o.Machine, o.Boot, o.Namespace, o.PID, o.Start)
}

// ParseOwner reads what String wrote.
func ParseOwner(label string) (o Owner, err error) {
	if _, err = fmt.Sscan(label, &o.Machine, &o.Boot, &o.Namespace, &o.PID, &o.Start); err != nil {
		err = fmt.Errorf("owner label %q: %w", label, err)
	}
	return o, err
}

// Visible reports whether the process self can tell if the owner runs. It can
// if the owner is in the same PID namespace or belongs to an earlier boot of this
// machine. It cannot if the owner is on another machine with the same engine.
func (o Owner) Visible(self Owner) bool {
	if o.Boot == self.Boot {
		return o.Namespace == self.Namespace
	}
	return o.Machine == self.Machine
}

// Gone reports whether the owner no longer runs: it has ended, possibly as a
// zombie, or is from before a reboot. An owner that is not visible counts as
// alive.
func (o Owner) Gone(self Owner) bool {
	return o.Visible(self) && (o.Boot != self.Boot || !runs(o.PID, o.Start))
}
