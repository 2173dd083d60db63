package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"stackmeter/stacks"
)

// A Freezer notices that processes are kept from running. It looks at the groups in
// which they are at that moment: whoever freezes a process may have moved it first.
// One is for one measurement.
type Freezer struct {
	mounts map[string]mount
	frozen map[string]int64 // by folder of a version 2 group, for how many µs it had been frozen at the first look
}

// NewFreezer returns a Freezer. Where nothing is known of control groups, it notices
// signals and debuggers.
func NewFreezer() *Freezer {
	mountinfo, _ := os.ReadFile("/proc/self/mountinfo")
	return &Freezer{parseMounts(mountinfo), map[string]int64{}}
}

const frozen = "its control group was frozen"

// Halted says by what one of the processes is kept from running, or was since the last
// look where the kernel counts that (Linux 6.18); empty if none is.
func (f *Freezer) Halted(pids []int) string {
	asked := map[string]bool{}
	for _, pid := range pids {
		membership, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)) // fails when it has ended
		paths := parseMembership(membership)
		for _, controller := range []string{"freezer", ""} {
			at, mounted := f.mounts[controller]
			dir := at.dir(paths[controller])
			if !mounted || asked[dir] {
				continue
			}
			asked[dir] = true
			if f.thawing(dir) {
				return frozen
			}
		}
	}
	return stacks.Halted(pids)
}

// thawing reports whether a group is frozen, by itself or by one above, or was.
func (f *Freezer) thawing(dir string) bool {
	if state, err := os.ReadFile(filepath.Join(dir, "freezer.state")); err == nil {
		return !strings.HasPrefix(string(state), "THAWED") // FREEZING: some of it is
	}
	events, _ := table(dir, "cgroup.events")
	stat, err := table(dir, "cgroup.stat.local")
	before, known := f.frozen[dir]
	if !known && err == nil {
		before = stat["frozen_usec"]
		f.frozen[dir] = before
	}
	return events["frozen"] == 1 || stat["frozen_usec"] > before
}
