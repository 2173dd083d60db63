//go:build linux

package native

import "time"

// An arrivals reads sockets and tells when the bytes reached this machine. The
// kernel stamps bytes as they come in, long before the client has a core to read
// them on. Waking up an idle core takes dozens of microseconds, and more in a
// virtual machine, and a client with many connections has other answers to read.
// Neither is the server's time.
type arrivals struct {
	clock    clock
	apart    time.Duration // between the wall clock and the monotonic one at the last reading
	stamping int           // a socket that keeps the kernel stamping; -1: it cannot stamp
	receiver receiver
}

// newArrivals makes the kernel stamp packets, if it can.
//
// The kernel changes its own code when the first socket asks for stamps and when
// the last one is gone. A client with a new connection for each request would make
// it do so each time. So one socket asks for as long as the process lives.
func newArrivals(c clock) *arrivals {
	a := &arrivals{clock: c, stamping: stampingSocket()}
	_, _ = a.read()
	return a
}

// watch makes the kernel stamp a connection's bytes.
func (a *arrivals) watch(fd int) {
	if a.stamping >= 0 {
		_ = stamp(fd) // it worked for the first socket; if it fails here, at gets no stamp
	}
}

// clocksApart is how far the distance between the two clocks may change from one
// reading to the next. If it changes more, the wall clock was set, and a stamp may
// be wrong by as much.
const clocksApart = 20 * time.Microsecond

// read reads both clocks. wall is in nanoseconds since 1970, or 0 if the wall clock
// was set since the last reading or the thread was interrupted between the two.
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

// at is when bytes arrived that have a stamp of the wall clock's time (0: none), and
// when they were read, which is now. If their arrival is not known, it is taken for
// now, and known is false.
func (a *arrivals) at(stamp int64) (arrived, now instant, known bool) {
	now, wall := a.read()
	if stamp == 0 || wall == 0 || stamp > wall {
		return now, now, false
	}
	return now - instant(wall-stamp), now, true
}
