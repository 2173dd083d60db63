//go:build linux

package native

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
)

// Cores are the cores that this process may use.
func Cores() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	var cores []int
	for core := range len(set) * 64 {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores, nil
}

// pin holds this process to some cores of the machine: all threads that it has, and
// so all that these start later. Without cores it does nothing.
func pin(cores []int) error {
	if len(cores) == 0 {
		return nil
	}
	var set unix.CPUSet
	for _, core := range cores {
		set.Set(core)
	}
	// No thread may start another one between the listing and the last call.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("pin the client to cores %v: %w", cores, err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil && err != unix.ESRCH {
			return fmt.Errorf("pin the client to cores %v: %w; do they exist, and may this process use them?", cores, err)
		}
	}
	return nil
}

// cpuTime is the CPU time that this process has used, user and system.
func cpuTime() time.Duration {
	var usage unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &usage) // fails for bad arguments only: getrusage(2)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// waits are how many nanoseconds each thread of this process was ready to run and had
// no core so far. It is empty where the kernel does not tell: it is the second number
// of a schedstat file (https://docs.kernel.org/scheduler/sched-stats.html).
func waits() map[string]int64 {
	waits := map[string]int64{}
	files, _ := filepath.Glob("/proc/self/task/*/schedstat") // fails for bad patterns only
	for _, file := range files {
		text, _ := os.ReadFile(file) // fails for a thread that has ended
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			waits[file], _ = strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return waits
}

// gcPauses are the garbage collector's pauses since its statistics were before.
func gcPauses(before *debug.GCStats) load.GCPauses {
	var after debug.GCStats
	debug.ReadGCStats(&after)
	pauses := load.GCPauses{Total: after.PauseTotal - before.PauseTotal}
	count := int(after.NumGC - before.NumGC)
	for _, pause := range after.Pause[:min(count, len(after.Pause))] { // the latest first
		pauses.Max = max(pauses.Max, pause)
	}
	return pauses
}
