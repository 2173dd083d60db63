//go:build linux

package native

import "time"

// due is when the i-th request is to be sent; 0: as soon as possible.
func (e *engine) due(i int) instant {
	if e.offsets == nil {
		return 0
	}
	return e.base + instant(e.offsets[i])
}

// dispatch gives the requests that are due to idle clients and arms the timer for
// the next one. If all clients are busy, the first that becomes free takes the
// request, which still counts from its own moment.
func (e *engine) dispatch() error {
	e.seen, e.awaited = e.clock.now(), -1
	for e.next < e.task.Last && e.due(e.next) <= e.seen && !e.stopped.Load() {
		c := e.free()
		if c == nil {
			return nil
		}
		c.assigned = e.next
		e.next++
		c.resume()
	}
	return e.armNext()
}

// free is the idle client that was used last, or a new client, or nil if all are
// busy. So the loop makes no more connections than it needs.
func (e *engine) free() *client {
	if n := len(e.idle); n > 0 {
		c := e.idle[n-1]
		e.idle = e.idle[:n-1]
		return c
	}
	if len(e.clients) < e.task.Clients {
		return e.newClient()
	}
	return nil
}

// armNext sets the timer for the next request, if a client is free to send it.
func (e *engine) armNext() error {
	if e.next >= e.task.Last || e.next == e.armed || e.next == e.awaited || len(e.idle) == 0 && len(e.clients) == e.task.Clients {
		return nil
	}
	e.armed = e.next
	e.alarm = max(e.due(e.next)-e.early.by, e.seen)
	return e.poller.arm(e.alarm)
}

// rung handles the timer's event. The request that it was set for is nearly due,
// and the thread stays awake until then.
func (e *engine) rung() error {
	next := e.armed
	e.armed = -1
	if next >= 0 && e.seen >= e.alarm {
		e.early.learn(e.seen - e.alarm)
		if next == e.next && e.due(next) > e.seen {
			e.awaited = next
			return nil
		}
	}
	return e.dispatch()
}

// An earliness is how early the timer of an open loop is set. An idle core takes
// time to wake up, dozens of microseconds in a virtual machine, and every request
// would be late by that much.
type earliness struct {
	by, most instant
}

// Limits of an earliness. Staying awake takes CPU time, which may be the stack's.
const (
	mostEarly  = instant(250 * time.Microsecond)
	awakeShare = 0.05 // of a core
)

func newEarliness(rate float64) earliness {
	e := earliness{most: mostEarly}
	if rate > 0 {
		e.most = min(e.most, instant(awakeShare*float64(time.Second)/rate))
	}
	e.by = e.most
	return e
}

// learn adjusts to how late the timer came. It forgets slowly, so that all but a
// few requests are on time.
func (e *earliness) learn(late instant) {
	const forget = 32
	late = min(late, e.most)
	e.by = max(late, e.by-(e.by-late)/forget)
}
