//go:build linux

package native

import (
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
)

// An instant is nanoseconds on CLOCK_MONOTONIC, which all processes of a
// machine share and which no step of the wall clock moves.
type instant int64

// sub is the time from b to a.
func (a instant) sub(b instant) time.Duration { return time.Duration(a - b) }

// A clock tells instants. It asks the kernel once and then goes on with Go's
// own monotonic reading of the same clock, which costs no system call.
type clock struct {
	base   time.Time
	offset instant
}

// clockApart is how far apart the two readings may be that a clock is made of.
const clockApart = 5 * time.Microsecond

// newClock reads both clocks until nothing came between: instants of different
// processes are compared, and a process that was preempted between the two
// readings would be wrong by as much for its whole life.
func newClock() (clock, error) {
	var best clock
	closest := time.Duration(math.MaxInt64)
	for try := 0; try < 1000 && closest > clockApart; try++ {
		var now unix.Timespec
		base := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return clock{}, fmt.Errorf("read the monotonic clock: %w", err)
		}
		if apart := time.Since(base); apart < closest {
			best, closest = clock{base: base, offset: instant(now.Nano())}, apart
		}
	}
	return best, nil
}

func (c clock) now() instant { return c.offset + instant(time.Since(c.base)) }

// at is the instant of a time that has Go's monotonic reading.
func (c clock) at(t time.Time) instant { return c.offset + instant(t.Sub(c.base)) }

// cpuTime is the CPU time that this process has used, user and system.
func cpuTime() (time.Duration, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("read the process's CPU time: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// A pauseCount counts pauses from startPauses to stop.
type pauseCount struct{ before debug.GCStats }

func startPauses() *pauseCount {
	p := new(pauseCount)
	debug.ReadGCStats(&p.before)
	return p
}

func (p *pauseCount) stop() load.GCPauses {
	var after debug.GCStats
	debug.ReadGCStats(&after)
	pauses := load.GCPauses{Count: int(after.NumGC - p.before.NumGC), Total: after.PauseTotal - p.before.PauseTotal}
	for _, pause := range after.Pause[:min(pauses.Count, len(after.Pause))] { // the latest first
		pauses.Max = max(pauses.Max, pause)
	}
	return pauses
}
