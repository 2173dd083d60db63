package lanes

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of /proc/stat. The kernel fixes it for user space:
// USER_HZ, see proc(5) and sysconf(3).
const ticksPerSecond = 100

// CPU is the CPU time that everything on some cores has used since the machine started,
// or on all of them if none are named. It includes stolen time: what another guest of
// the hypervisor took is not there for a stack either. It is nil if it cannot be read.
func CPU(cores []int) *time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil
	}
	if len(cores) == 0 {
		return parseCPU(string(text), "cpu")
	}
	sum := time.Duration(0)
	for _, core := range slices.Compact(slices.Sorted(slices.Values(cores))) {
		used := parseCPU(string(text), fmt.Sprint("cpu", core))
		if used == nil {
			return nil
		}
		sum += *used
	}
	return &sum
}

// parseCPU reads a line of /proc/stat: cpu, or cpu and the number of a core, then
// the ticks in user, nice, system, idle, iowait, irq, softirq, steal and guest. user and
// nice include guest time.
func parseCPU(stat, name string) *time.Duration {
	var fields []string
	for line := range strings.Lines(stat) {
		if fields = strings.Fields(line); len(fields) > 0 && fields[0] == name {
			break
		}
	}
	if len(fields) < 9 || fields[0] != name {
		return nil
	}
	var ticks int64
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return nil
		}
		ticks += n
	}
	used := time.Duration(ticks) * time.Second / ticksPerSecond
	return &used
}

// UsedMeanwhile is the CPU time between two readings, in seconds. It is nil if the
// load took less than ten elevenths of that time: starting and ending the client's
// processes would then count as the cell's.
func UsedMeanwhile(before, after *time.Duration, between, load time.Duration) *float64 {
	if before == nil || after == nil || between > load+load/10 {
		return nil
	}
	seconds := max(0, *after-*before).Seconds() // the kernel's counters may step back a tick
	return &seconds
}
