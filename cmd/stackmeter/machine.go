package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/user"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/load/native"
	"stackmeter/orchestrator/lock"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// checkCores refuses cores that the client or the stacks are to have and this machine
// has not. The kernel would take those that there are, and say nothing.
func checkCores(plan scenarios.Plan, runtime string) error {
	own, err := native.Cores()
	if err != nil || len(own) == 0 {
		return err // another system, whose engine knows what it has
	}
	stack := own
	if runtime == runtimeNames[0] { // the engine's may be others than this process may use
		online, err := os.ReadFile("/sys/devices/system/cpu/online")
		if err == nil {
			stack, err = units.ParseCpuset(strings.TrimSpace(string(online)))
		}
		if err != nil {
			return fmt.Errorf("find out which cores this machine has: %w", err)
		}
	}
	client, wanted, err := scenarios.Apart(nil, plan.Client, plan.Resources, 1)
	check := func(what string, cores, there []int) error {
		for _, core := range cores {
			if !slices.Contains(there, core) {
				return usageError{fmt.Errorf("%s has core %d, and those that it can have here are %s", what, core, units.FormatCpuset(there))}
			}
		}
		return nil
	}
	return errors.Join(err, check("client.cpuset", client, own), check("resources.cpuset", wanted, stack))
}

// host describes this machine for a run's record. What cannot be read stays empty.
func host(engine string) results.Host {
	h := results.Host{
		OS:         cmp.Or(strings.Trim(field("/etc/os-release", "=", "PRETTY_NAME"), `"`), runtime.GOOS),
		CPU:        field("/proc/cpuinfo", ":", "model name"),
		Cores:      runtime.NumCPU(),
		Engine:     engine,
		Stackmeter: version(),
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

// room is what this machine has left for stacks.
func room() (orchestrator.Room, error) {
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

// version returns the module's version, or the commit that it was built from.
func version() string {
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

// waitDefault is how long --wait without a duration waits. A nightly run that has
// not begun after a day has missed its night.
const waitDefault = 24 * time.Hour

func waitFlag(cmd *cobra.Command, wait *time.Duration) {
	timeFlag(cmd, wait, "wait", 0, "wait up to `TIME`, by default a day, for a run that holds the GPU or the machine; without --wait the run is refused")
	cmd.Flags().Lookup("wait").NoOptDefVal = waitDefault.String()
}

// spacedWait refuses --wait with its time after a space, where it is an argument.
func spacedWait(cmd *cobra.Command, args []string) error {
	if !cmd.Flags().Changed("wait") {
		return nil
	}
	for _, arg := range args {
		if _, err := units.ParseDuration(arg); err == nil {
			return usageError{fmt.Errorf("%s: %q is not a scenario; write --wait=%[2]s, with an equals sign", cmd.Name(), arg)}
		}
	}
	return nil
}

// lock takes the GPUs that the run uses, or the machine if it uses none, for as
// long as the run lasts.
func (a *app) lock(ctx context.Context, run, scenario string, gpus []string, wait time.Duration) (*lock.Locks, error) {
	folder, err := lock.Folder()
	if err != nil {
		return nil, err
	}
	names := []string{lock.Machine}
	if len(gpus) > 0 {
		names = nil
		for _, uuid := range gpus {
			names = append(names, lock.GPU(uuid))
		}
	}
	holder := lock.Holder{Run: run, Scenario: scenario, PID: os.Getpid(), User: userName(), Since: time.Now()}
	holder.Host, _ = os.Hostname()
	locks, err := lock.Acquire(ctx, folder, names, holder, wait, func(held *lock.HeldError) {
		fmt.Fprintf(a.stderr, "stackmeter: waiting: %s\n", show.Clean(held.Error()))
	})
	var held *lock.HeldError
	if errors.As(err, &held) {
		remedy := "give --wait to wait for it, or end it"
		if wait > 0 {
			remedy = fmt.Sprintf("it was still there after %v of --wait", wait)
		}
		return nil, fmt.Errorf("%s; two runs at once would measure each other: %s", show.Clean(held.Error()), remedy)
	}
	return locks, err
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return cmp.Or(u.Username, u.Uid)
	}
	return fmt.Sprint(os.Getuid())
}

// lockFindings say who is measuring on this machine.
func lockFindings() []finding {
	folder, err := lock.Folder()
	if err != nil {
		return []finding{{"locks", stateMissing, err.Error(), ""}}
	}
	states, err := lock.List(folder)
	if err != nil {
		return []finding{{"locks", stateNote, err.Error(), ""}}
	}
	var found []finding
	for _, s := range states {
		if s.Holder == nil {
			continue // left by a process that was killed
		}
		held := lock.HeldError{Name: s.Name, Holder: *s.Holder}
		found = append(found, finding{"locks", stateNote, show.Clean(held.Error()), "a run that needs the same one waits with --wait, and is refused without it"})
	}
	if len(found) == 0 {
		found = append(found, finding{what: "locks", state: stateOK, text: "no run is under way (" + folder + ")"})
	}
	return found
}
