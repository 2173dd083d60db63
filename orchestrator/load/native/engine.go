//go:build linux

package native

import (
	"crypto/tls"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// A task is what one client process has to
// do: everything that is known beforehand.
type task struct {
	Peer      netip.AddrPort
	Socket    string         // a unix socket's path, instead of Peer
	TLS       *scenarios.TLS // of an encrypted connection, with the server's name in it; nil otherwise
	Method    string
	Expect    scenarios.Expect
	Timeout   time.Duration
	KeepAlive bool
	GiveUp    int     // see Job; 0: never
	MaxErrors *int    // of the whole batch: with more, no other request is sent; nil: no limit
	Draw      *uint64 // the seed that each request's payload is drawn by; nil: they are cycled through
	Cores     []int

	Clients     int       // closed loop: how many there are; open loop: the most requests in flight
	Schedule    *schedule // of the open loop; nil for a closed one
	First, Last int       // the requests First to Last-1 of the batch
	Process     int       // its place among the processes
	Processes   int
	Requests    []span // the distinct requests
}

// A tally is what one client process did.
type tally struct {
	Histograms  load.Histograms `json:"-"` // travel beside, in their binary form
	ErrorKinds  map[string]int
	FirstErrors map[string]string
	Retries     int
	CPU         time.Duration
	BytesSent   int64
	BytesRead   int64
	LastStart   instant       // when the last of the clients began its first request; 0 when none did
	End         instant       // of the last reply or error; 0 when there was none
	Active      time.Duration // from each client's first request to its having its last reply or error, summed
	Failing     time.Duration // spent on requests that failed
	Late        int           // open loop: requests that were sent later than LateFrom
	InFlight    int           // open loop: the most requests at once
	Pauses      load.GCPauses
	Interrupted bool
}

// An engine sends the requests of one task: all its clients in one thread,
// each of them a coroutine that is resumed when its connection changed. What a
// client writes reads like blocking code, and costs what an event loop costs.
type engine struct {
	task     task
	arena    *arena
	clock    clock
	poller   *poller
	checker  *load.Checker
	arrivals *arrivals
	done     *atomic.Int64 // replies and errors so far, seen by the orchestrator
	stopped  atomic.Bool

	peer   unix.Sockaddr
	family int
	secure *tls.Config // nil: plain
	file   int         // the arena's

	clients []*client
	idle    []*client // open loop: those without a request, the last used one last
	running int       // clients that have not ended
	next    int       // the request that is taken next
	base    instant   // of the schedule: the gun
	offsets []time.Duration
	armed   int       // the request that the timer is set for; -1 before
	early   earliness // of the timer
	alarm   instant   // when it is to come
	awaited int       // the request that the thread stays awake for; -1: none
	seen    instant   // the latest reading of the clock
	check   instant   // no client has to be resumed before, unless its connection changes
	broken  error     // why the batch cannot go on: this machine's fault, not the server's

	mu     sync.Mutex // guards closed
	closed bool

	histograms load.Histograms
	failures   load.Failures
	failing    time.Duration
	lastGo     instant
	end        instant
	late       int
	inFlight   int
	mostFlying int
}

// newEngine prepares everything that can be prepared before the gun. It has to
// be closed.
func newEngine(o task, a *arena) (*engine, error) {
	c, err := newClock()
	if err != nil {
		return nil, err
	}
	e := &engine{task: o, arena: a, clock: c, done: a.counter(o.Process), next: o.First, armed: -1, awaited: -1, family: unix.AF_UNIX, file: a.fd()}
	if e.checker, err = load.NewChecker(o.Expect, a.digest); err != nil {
		return nil, err
	}
	if o.Socket != "" {
		e.peer = &unix.SockaddrUnix{Name: o.Socket}
	} else if e.peer, e.family, err = sockaddr(o.Peer); err != nil {
		return nil, err
	}
	long := sendFileFrom
	if o.TLS != nil {
		if e.secure, err = o.TLS.Config(); err != nil {
			return nil, err
		}
		long = math.MaxInt // everything is encrypted from memory
	}
	if o.Schedule != nil {
		e.offsets = o.Schedule.offsets(o.Last)
		e.early = newEarliness(o.Schedule.Rate)
	}
	a.touch(long)
	// The histograms' memory is taken now, not at the first reply.
	e.histograms.Prepare(o.Schedule != nil)
	if e.poller, err = newPoller(); err != nil {
		return nil, fmt.Errorf("prepare to wait for connections: %w", err)
	}
	e.arrivals = newArrivals(c)
	if o.Schedule == nil {
		for range o.Clients {
			e.newClient()
		}
	}
	return e, nil
}

// close gives the engine's files back. It must not run any more.
func (e *engine) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		e.poller.close()
		e.arrivals.close()
	}
}

// run sends all the requests and returns when the last one is done or the
// engine was stopped. base is the moment of the gun.
func (e *engine) run(base instant) (tally, error) {
	pauses := startPauses()
	before, err := cpuTime()
	if err != nil {
		return tally{}, err
	}
	e.base = base
	err = e.loop()
	e.abandon()
	if err != nil {
		return tally{}, err
	}
	after, err := cpuTime()
	if err != nil {
		return tally{}, err
	}
	r := tally{
		Histograms: e.histograms,
		ErrorKinds: e.failures.Kinds, FirstErrors: e.failures.Messages,
		CPU: after - before, LastStart: e.lastGo, End: e.end, Failing: e.failing,
		Late: e.late, InFlight: e.mostFlying, Pauses: pauses.stop(),
		Interrupted: e.stopped.Load(),
	}
	for _, c := range e.clients {
		r.Retries += c.retries
		r.BytesSent += c.conn.sent
		r.BytesRead += c.conn.received
		if c.end != 0 {
			r.Active += c.end.sub(c.begin)
		}
	}
	return r, nil
}

// stop ends the batch at once; run returns soon after. It may be called from
// any goroutine at any time.
func (e *engine) stop() {
	e.stopped.Store(true)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.poller.wake()
	}
}

// shortWait is how long a wait may keep the runtime's P for itself. Answers
// that come sooner, thousands of them in a second, cost less that way. During
// longer waits the process can do other things.
const shortWait = time.Millisecond

// loop resumes clients until none of them has anything left to do.
func (e *engine) loop() error {
	e.seen = e.clock.now()
	e.check = e.seen + instant(e.task.Timeout)
	if err := e.start(); err != nil {
		return err
	}
	limit, held := shortWait, true
	for !e.finished() && !e.stopped.Load() && e.broken == nil {
		if e.seen >= e.check {
			e.expire()
		}
		if !held {
			limit = max(e.check.sub(e.seen), 0)
		}
		awake := e.awaited >= 0
		if awake {
			limit, held = 0, true
		}
		n, err := e.poller.wait(limit, held)
		if err != nil {
			return fmt.Errorf("wait for answers: %w", err)
		}
		// Time passes where answers keep coming too.
		e.seen = e.clock.now()
		limit, held = shortWait, n > 0
		for i := range n {
			if err := e.handle(e.poller.event(i)); err != nil {
				return err
			}
		}
		if awake && (e.awaited != e.next || e.due(e.next) <= e.seen) {
			if err := e.dispatch(); err != nil {
				return err
			}
			held = true // its answer may be there soon
		}
	}
	return e.broken
}

// start sets off the clients of a closed loop, or the schedule of an open one.
func (e *engine) start() error {
	if e.task.Schedule != nil {
		return e.dispatch()
	}
	for _, c := range e.clients {
		c.resume()
	}
	return nil
}

func (e *engine) finished() bool {
	if e.task.Schedule != nil {
		return e.inFlight == 0 && e.next >= e.task.Last
	}
	return e.running == 0
}

func (e *engine) handle(event pollEvent) error {
	switch event.token {
	case tokenWake:
		return nil // stopped is looked at next
	case tokenTimer:
		return e.rung()
	}
	c := e.clients[event.token]
	c.conn.told(event)
	if c.conn.waiting {
		c.resume()
	}
	return nil
}

// expire resumes the clients whose request's time-out has passed, or who want
// to try again, and finds out when to look again.
func (e *engine) expire() {
	now := e.clock.now()
	e.seen, e.check = now, now+instant(e.task.Timeout)
	for _, c := range e.clients {
		if !c.conn.waiting {
			continue
		}
		switch {
		case now >= c.conn.deadline:
			c.conn.expired = true
			c.resume()
		case c.conn.again != 0 && now >= c.conn.again:
			c.resume()
		default:
			e.look(c.conn.deadline)
			if c.conn.again != 0 {
				e.look(c.conn.again)
			}
		}
	}
}

// look has the clients looked at by a moment at the latest.
func (e *engine) look(at instant) { e.check = min(e.check, at) }

// abandon ends the clients that still run, wherever they are.
func (e *engine) abandon() {
	for _, c := range e.clients {
		c.abandon()
	}
}

// which is the distinct request that the i-th request of the batch is.
func (o *task) which(i int) int {
	if o.Draw == nil {
		return i % len(o.Requests)
	}
	return load.Drawn(*o.Draw, i, len(o.Requests))
}
