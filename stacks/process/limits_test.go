//go:build linux

package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// TestAttackDefaultLimits: what a scenario does not limit is limited all the same.
func TestAttackDefaultLimits(t *testing.T) {
	r := machine(t, "python3")
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &own); err != nil {
		t.Fatal(err)
	}
	_, st := launch(t, r, scenarios.Topology{Name: "idle", Server: scenarios.ServerCommand, Command: []string{"sleep", "600", "{port}"}}, nil)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", st.services[0].record.First.PID))
	if want := fmt.Sprintf("Max file size             %d          %d", stacks.FileLimit, stacks.FileLimit); err != nil || own.Max > stacks.FileLimit && !strings.Contains(string(limits), want) {
		t.Errorf("%v: no %q in\n%s", err, want, limits)
	}
}

// TestAttackWritesWithoutEnd: a service that writes one small file after the other,
// partly by processes that have ended, is ended itself.
func TestAttackWritesWithoutEnd(t *testing.T) {
	r := machine(t, "python3", "dd")
	r.written = 32 << 20
	dir := t.TempDir()
	script := "import itertools, subprocess, time\n" +
		"for n in itertools.count():\n" +
		"    subprocess.run(['dd', 'if=/dev/zero', 'bs=1M', 'count=4', 'conv=fsync', 'status=none', f'of=" + dir + "/{{n}}']); time.sleep(0.2) # {port}\n"
	_, st := launch(t, r, scenarios.Topology{Name: "writes", Server: scenarios.ServerCommand, Command: []string{"python3", "-c", script}}, nil)
	eventually(t, "it writes on", func() bool { return st.Check(t.Context()) != nil })
	if err := st.Check(t.Context()); !errors.Is(err, stacks.ErrEnded) || !strings.Contains(err.Error(), "it was ended: it wrote more than 32 MiB to disks; let it write less") {
		t.Error(err)
	}
	if left := running(t, dir); len(left) > 0 {
		t.Errorf("still there: %+v", left)
	}
}

// TestAttackFrozen: somebody freezes a service's processes for a moment, in the control
// group in which they are or in one to which they were moved for that. The measurement
// says so.
func TestAttackFrozen(t *testing.T) {
	for _, groups := range []bool{true, false} {
		for version, at := range map[int]string{1: "/sys/fs/cgroup/freezer", 2: "/sys/fs/cgroup/unified"} {
			t.Run(fmt.Sprintf("version %d, groups %v", version, groups), func(t *testing.T) {
				r := machine(t, "flask")
				if !groups {
					r.ungrouped = errNoGroup
				} else if r.ungrouped != nil {
					t.Skipf("needs control groups that this user may make: %v", r.ungrouped)
				}
				spec, st := launch(t, r, stackstest.Flask, nil)
				ready(t, spec, st)
				pid := st.services[0].record.First.PID
				dir := filepath.Join(at, fmt.Sprintf("stackmeter-test-%d-%d", os.Getpid(), pid))
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Skipf("needs to make a group that can be frozen: %v", err)
				}
				put := func(file, value string) {
					t.Helper()
					if err := os.WriteFile(file, []byte(value), 0); err != nil {
						t.Fatal(err)
					}
				}
				defer os.Remove(dir)
				if _, err := os.Stat(filepath.Join(dir, "cgroup.stat.local")); version == 2 && err != nil {
					t.Skipf("needs a kernel that counts for how long a group was frozen: %v", err)
				}
				put(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(pid))
				defer put(filepath.Join(at, "cgroup.procs"), strconv.Itoa(pid))
				frozen, thawed, file := "1", "0", filepath.Join(dir, "cgroup.freeze")
				if version == 1 {
					frozen, thawed, file = "FROZEN", "THAWED", filepath.Join(dir, "freezer.state")
				}
				meter, err := st.Meter(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if version == 1 {
					defer put(file, thawed)
					put(file, frozen) // until the very end
				} else {
					put(file, frozen) // and nobody looks meanwhile
					time.Sleep(2 * time.Millisecond)
					put(file, thawed)
				}
				meter.Stop()
				if err := meter.Halted(); !errors.Is(err, stacks.ErrDisturbed) || !strings.Contains(err.Error(), "service app was disturbed from outside: its control group was frozen") {
					t.Errorf("halted: %v", err)
				}
				if meter, err = st.Meter(t.Context()); err != nil {
					t.Fatal(err)
				}
				if version == 1 {
					put(file, thawed)
				}
				meter.Stop()
				if err := meter.Halted(); version == 2 && err != nil {
					t.Errorf("in the next measurement: %v", err)
				}
			})
		}
	}
}
