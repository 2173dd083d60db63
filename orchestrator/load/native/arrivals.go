//go:build linux

package native

import "time"

// An arrivals reads sockets and tells when what it reads reached this machine:
// the kernel stamps bytes as they come in, long before the client is given a core
// to read them on. To wake up an idle core takes dozens of microseconds, more
// where it belongs to a virtual machine, and a client with many connections has
// other answers to read: neither is the server's time.
type arrivals struct {
	clock    clock
	apart    time.Duration // between the wall clock and the monotonic one, when they were last read
	stamping int           // a socket for which the kernel stamps while the engine lives; -1 where it does not
	receiver receiver
}

// newArrivals has the kernel stamp packets, if it can. Close it.
//
// The kernel changes its own code when the first socket asks for stamps and when
// the last one is gone, which a client with a new connection for each request
// would have it do each time. So one socket asks for as long as the engine lives.
func newArrivals(c clock) *arrivals {
	a := &arrivals{clock: c, stamping: stampingSocket()}
	_, _ = a.read()
	return a
}

func (a *arrivals) close() {
	if a.stamping >= 0 {
		closeSocket(a.stamping)
	}
}

// watch has the kernel say of a connection when its bytes arrived.
func (a *arrivals) watch(fd int) {
	if a.stamping >= 0 {
		_ = stamp(fd) // it did for the first socket; without it at has no stamp
	}
}

// clocksApart is how far the distance between the two clocks may change from one
// reading to the next. More is a step of the wall clock, by which a stamp may be
// wrong.
const clocksApart = 20 * time.Microsecond

// read gives the moment and the wall clock's reading of it, in nanoseconds since
// 1970; wall is 0 where that clock was set since the reading before, or the thread
// was interrupted between the two clocks.
func (a *arrivals) read() (now instant, wall int64) {
	t := time.Now()
	now, wall = a.clock.at(t), t.UnixNano()
	before := a.apart
	a.apart = time.Duration(wall - int64(now))
	if moved := a.apart - before; moved > clocksApart || moved < -clocksApart {
		wall = 0
	}
	return now, wall
}

// at is when bytes arrived that were stamped with the wall clock's time, 0 for
// none, and when they were read, which is now. Where it is not known when they
// arrived, it is taken for now, and known is false.
func (a *arrivals) at(stamp int64) (arrived, now instant, known bool) {
	now, wall := a.read()
	if stamp == 0 || wall == 0 || stamp > wall {
		return now, now, false
	}
	return now - instant(wall-stamp), now, true
}
