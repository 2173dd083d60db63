package orchestrator

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of /proc/stat. The kernel fixes it for user space:
// USER_HZ, see proc(5) and sysconf(3).
const ticksPerSecond = 100

// machineCPU is the CPU time that everything on the machine has used since it
// started. It includes stolen time: what another guest of the hypervisor took is not
// there for the stack either. It is nil if it cannot be read.
func machineCPU() *time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return parseMachineCPU(line)
}

// parseMachineCPU reads the first line of /proc/stat: cpu, then the ticks in user,
// nice, system, idle, iowait, irq, softirq, steal and guest. user and nice include
// guest time.
func parseMachineCPU(line string) *time.Duration {
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
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

// usedMeanwhile is the CPU time between two readings, in seconds. It is nil if the
// load took less than ten elevenths of that time: starting and ending the client's
// processes would then count as the cell's.
func usedMeanwhile(before, after *time.Duration, between, load time.Duration) *float64 {
	if before == nil || after == nil || between > load+load/10 {
		return nil
	}
	seconds := max(0, *after-*before).Seconds() // the kernel's counters may step back a tick
	return &seconds
}
