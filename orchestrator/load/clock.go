package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
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

func newClock() (clock, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return clock{}, fmt.Errorf("read the monotonic clock: %w", err)
	}
	return clock{base: time.Now(), offset: instant(now.Nano())}, nil
}

func (c clock) now() instant { return c.offset + instant(time.Since(c.base)) }

// cpuTime is the CPU time that this process has used, user and system.
func cpuTime() (time.Duration, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("read the process's CPU time: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}
