//go:build linux

package native

import (
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// A schedule says when the requests of an open loop are to be sent.
type schedule struct {
	Rate     float64 // requests per second; 0: each as soon as a client is free
	Arrivals string
	Seed     uint64
}

func (s schedule) offsets(requests int) []time.Duration {
	return load.Offsets(scenarios.LoadSpec{Requests: requests, Rate: s.Rate, Arrivals: s.Arrivals}, s.Seed)
}

// due is when the i-th request is to be sent; 0 for as soon as possible.
func (e *engine) due(i int) instant {
	if e.offsets == nil {
		return 0
	}
	return e.base + instant(e.offsets[i])
}

// dispatch gives the requests that are due to idle clients, as long as there
// are any, and arms the timer for the next one. When all clients are
// busy, the first one that becomes free takes the request, which still counts
// from its own moment.
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

// free is an idle client, the last used one first: kept connections are used
// as few as will do, and the others stay unmade. nil: all of them are busy.
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

// armNext sets the timer for the next request, if somebody is free to send it.
func (e *engine) armNext() error {
	if e.next >= e.task.Last || e.next == e.armed || e.next == e.awaited || len(e.idle) == 0 && len(e.clients) == e.task.Clients {
		return nil
	}
	e.armed = e.next
	e.alarm = max(e.due(e.next)-e.early.by, e.seen)
	return e.poller.arm(e.alarm)
}

// rung is for the timer's event: the request that it was set for is nearly due.
// The thread stays awake for the rest.
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

// An earliness is by how much the timer of an open loop is set early. An idle
// core takes time to wake up, dozens of microseconds in a virtual machine, and
// every request would be late by that much.
type earliness struct {
	by, most instant
}

// Limits of an earliness. Staying awake takes CPU time, perhaps the stack's.
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

// learn takes note of how late the timer came. It forgets slowly, so that all but
// a few requests are on time.
func (e *earliness) learn(late instant) {
	const forget = 32
	late = min(late, e.most)
	e.by = max(late, e.by-(e.by-late)/forget)
}
