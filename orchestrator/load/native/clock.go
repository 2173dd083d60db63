//go:build linux

package native

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// An instant is nanoseconds on CLOCK_MONOTONIC. All processes of a machine share
// that clock, and setting the wall clock does not move it.
type instant int64

// sub is the time from b to a.
func (a instant) sub(b instant) time.Duration { return time.Duration(a - b) }

// A clock tells instants. It asks the kernel once, and then uses Go's monotonic
// reading of the same clock, which costs no system call.
type clock struct {
	base   time.Time
	offset instant
}

// clockApart is how far apart the two readings may be from which a clock is made.
const clockApart = 5 * time.Microsecond

// newClock reads both clocks until nothing came between the two. Instants of
// different processes are compared, and a process that was preempted between the
// readings would be wrong by as much for its whole life.
func newClock() clock {
	var best clock
	closest := time.Duration(math.MaxInt64)
	for try := 0; try < 1000 && closest > clockApart; try++ {
		var now unix.Timespec
		base := time.Now()
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // every Linux has this clock
		if apart := time.Since(base); apart < closest {
			best, closest = clock{base: base, offset: instant(now.Nano())}, apart
		}
	}
	return best
}

func (c clock) now() instant { return c.offset + instant(time.Since(c.base)) }

// at is the instant of a time that has Go's monotonic reading.
func (c clock) at(t time.Time) instant { return c.offset + instant(t.Sub(c.base)) }
