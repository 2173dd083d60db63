// Package machine is what this machine is and has left: its description, cores,
// memory, disk and GPUs, and the locks that keep runs apart on it.
package machine

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator"
	"stackmeter/orchestrator/lanes"
	"stackmeter/orchestrator/load/native"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
)

// CheckCores refuses cores that the client or the stacks are to have and this machine
// has not. The kernel would take those that there are, and say nothing. engine says
// whether an engine starts the stacks.
func CheckCores(plan scenarios.Plan, engine bool) error {
	own, err := native.Cores()
	if err != nil || len(own) == 0 {
		return err // another system, whose engine knows what it has
	}
	stack := own
	if engine { // its cores may be others than this process may use
		online, err := os.ReadFile("/sys/devices/system/cpu/online")
		if err == nil {
			stack, err = units.ParseCpuset(strings.TrimSpace(string(online)))
		}
		if err != nil {
			return fmt.Errorf("find out which cores this machine has: %w", err)
		}
	}
	all, err := lanes.Divide(plan.Lanes, nil, plan)
	if err != nil {
		return usage.Error(err)
	}
	check := func(what string, cores, there []int) error {
		for _, core := range cores {
			if !slices.Contains(there, core) {
				return usage.Errorf("%s has core %d, and those that it can have here are %s", what, core, units.FormatCpuset(there))
			}
		}
		return nil
	}
	for _, one := range all {
		err = errors.Join(err, check("client.cpuset", one.Client, own), check("resources.cpuset", one.Stacks, stack))
	}
	return err
}

// Host describes this machine for a run's record. What cannot be read stays empty.
func Host(engine string) results.Host {
	h := results.Host{
		OS:         cmp.Or(strings.Trim(field("/etc/os-release", "=", "PRETTY_NAME"), `"`), runtime.GOOS),
		CPU:        field("/proc/cpuinfo", ":", "model name"),
		Cores:      runtime.NumCPU(),
		Engine:     engine,
		Stackmeter: Version(),
		Go:         runtime.Version(),
	}
	h.Name, _ = os.Hostname()
	if kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", ":", "MemTotal"), " kB"), 10, 64); err == nil {
		h.Memory = kib << 10
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return h
}

// Room is what this machine has left for stacks.
func Room() (orchestrator.Room, error) {
	kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", ":", "MemAvailable"), " kB"), 10, 64)
	if err != nil {
		return orchestrator.Room{}, fmt.Errorf("available memory of this machine: %w", err)
	}
	left := orchestrator.Room{Memory: kib << 10, Threads: math.MaxInt}
	load, _ := os.ReadFile("/proc/loadavg") // proc_loadavg(5): the fourth field is running/all threads
	if fields := strings.Fields(string(load)); len(fields) > 3 {
		_, all, _ := strings.Cut(fields[3], "/")
		running, _ := strconv.Atoi(all)
		for _, limit := range []string{"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"} {
			text, _ := os.ReadFile(limit)
			if most, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				left.Threads = min(left.Threads, most-running)
			}
		}
	}
	return left, nil
}

// field returns the value of the first line of a file that has the name before the
// separator.
func field(file, separator, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, separator); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// released is the version of a released binary: .ci/release has the linker set it.
var released string

// Version returns the version that was released, or else the module's, or the commit
// that it was built from.
func Version() string {
	if released != "" {
		return released
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}

// FreeSpace is how many bytes a folder's file system has for this user.
func FreeSpace(folder string) (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err != nil {
		return 0, fmt.Errorf("%s: %w", folder, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil
}
