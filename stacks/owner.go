package stacks

import (
	"fmt"
	"os"
	"strings"
)

// An Owner says which process a stack belongs to, so that a later start can
// tell the leftovers of a killed run from the stacks of one that is alive. It
// is a label on every object: PID and start time name a process for good, but
// only within one boot and one PID namespace. Machines that share an engine
// have boots of their own.
type Owner struct {
	Boot      string // /proc/sys/kernel/random/boot_id
	Namespace string // of PIDs, as /proc/self/ns/pid links to it
	PID       int
	Start     uint64 // in clock ticks since boot, field 22 of /proc/PID/stat
	Machine   string // its id and host name, the same after a reboot; empty in labels of stackmeter before it wrote one
}

// Self is this process as an owner.
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

// word is a text without the white space that separates a label's words.
func word(text string) string { return strings.Join(strings.Fields(text), "") }

// String is the owner as a label's value. The machine comes first, so that a
// stackmeter that knows of none does not take the label for one of its own.
func (o Owner) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %d %d", o.Machine, o.Boot, o.Namespace, o.PID, o.Start))
}

// ParseOwner reads what String wrote, with or without a machine.
func ParseOwner(label string) (Owner, error) {
	var o Owner
	rest := label
	if words := strings.Fields(label); len(words) == 5 {
		o.Machine, rest = words[0], strings.Join(words[1:], " ")
	}
	if n, err := fmt.Sscanf(rest, "%s %s %d %d", &o.Boot, &o.Namespace, &o.PID, &o.Start); n != 4 {
		return Owner{}, fmt.Errorf("owner label %q: %w", label, err)
	}
	return o, nil
}

// Visible reports whether the process self can know if the owner runs: it is in
// the same PID namespace, or was on this machine before it booted. One on
// another machine that uses the same engine cannot be seen.
func (o Owner) Visible(self Owner) bool {
	if o.Boot == self.Boot {
		return o.Namespace == self.Namespace
	}
	return o.Machine == self.Machine
}

// Gone reports whether the owner no longer runs: it has ended, be it as a
// zombie, or is from before a reboot. One that is not visible counts as alive.
func (o Owner) Gone(self Owner) bool {
	return o.Visible(self) && (o.Boot != self.Boot || !runs(o.PID, o.Start))
}
