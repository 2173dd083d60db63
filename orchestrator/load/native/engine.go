//go:build linux

package native

import (
	"crypto/tls"
	"fmt"
	"math"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

// A task is what one client process has to do.
type task struct {
	Job       load.Job       // without its payloads; its TLS is nil for a plain connection and otherwise has the server's name
	Peer      netip.AddrPort // the server
	Socket    string         // a unix socket's path, instead of Peer
	Clients   int            // closed loop: how many; open loop: the most requests in flight
	First     int            // the process sends the requests First to Last-1 of the batch
	Last      int
	Process   int // its place among the processes
	Processes int
	Requests  []span // the distinct requests
}

// which is the distinct request that the i-th request of the batch is.
func (t *task) which(i int) int {
	if t.Job.Request.Pick != wire.PickRandom {
		return i % len(t.Requests)
	}
	return load.Drawn(t.Job.Seed, i, len(t.Requests))
}

// A tally is what one client process did.
type tally struct {
	Histograms load.Histograms
	Failures   load.Failures
	Streams    int // replies that stream
	Events     int // in them
	Retries    int
	CPU        time.Duration
	Waited     time.Duration // for a core, see load.Result
	BytesSent  int64
	BytesRead  int64
	LastStart  instant       // when the last client began its first request; 0: none did
	End        instant       // of the last reply or error; 0: there was none
	Active     time.Duration // from each client's first request to when it had its last reply or error, summed
	Failing    time.Duration // spent on requests that failed
	Late       int           // open loop: requests sent later than LateFrom
	InFlight   int           // open loop: the most requests at once
	Pauses     load.GCPauses
}

// An engine does one task. All its clients run in one thread. Each is a coroutine
// that is resumed when its connection has changed: it reads like blocking code and
// costs as much as an event loop.
type engine struct {
	task     task
	open     bool // the loop
	timeout  time.Duration
	allowed  int64 // errors of the whole batch: beyond it no other request is sent
	arena    *arena
	clock    clock
	poller   *poller
	checker  *load.Checker
	arrivals *arrivals
	done     *counter // replies and errors so far, which the orchestrator reads
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
	armed   int       // the request that the timer is set for; -1: none
	early   earliness // of the timer
	alarm   instant   // when the timer is to ring
	awaited int       // the request that the thread stays awake for; -1: none
	seen    instant   // the latest reading of the clock
	check   instant   // when to look at the clients whose connections have not changed
	broken  error     // why the batch cannot go on: this machine's fault, not the server's

	tally    tally            // as far as it is known
	waited   map[string]int64 // for a core, by thread, before the gun
	inFlight int
}

// newEngine prepares everything that can be prepared before the gun.
func newEngine(t task, a *arena) (*engine, error) {
	c := newClock()
	request, l := t.Job.Request, t.Job.Load
	e := &engine{
		task: t, open: l.Client == scenarios.ClientOpen, timeout: t.Job.Timeout(), allowed: math.MaxInt64,
		arena: a, clock: c, done: &a.counters[t.Process], family: unix.AF_UNIX, file: int(a.file.Fd()),
		next: t.First, armed: -1, awaited: -1, offsets: load.Offsets(l, t.Job.Seed), early: newEarliness(l.Rate),
	}
	if limit := request.MaxErrors; limit != nil {
		e.allowed = int64(limit.Allowed(l.Requests))
	}
	var err error
	e.checker, err = load.NewChecker(request, func(which int) (*atomic.Uint64, string) {
		return &a.digests[which], a.spans[which].Payload
	})
	if err != nil {
		return nil, err
	}
	if t.Socket != "" {
		e.peer = &unix.SockaddrUnix{Name: t.Socket}
	} else if e.peer, e.family, err = sockaddr(t.Peer); err != nil {
		return nil, err
	}
	long := sendFileFrom
	if request.TLS != nil {
		if e.secure, err = request.TLS.Config(); err != nil {
			return nil, err
		}
		long = math.MaxInt // everything is encrypted from memory
	}
	a.touch(long)
	e.tally.Histograms.Prepare(e.open, e.checker.Streams() != "")
	if e.poller, err = newPoller(); err != nil {
		return nil, fmt.Errorf("prepare to wait for connections: %w", err)
	}
	e.arrivals = newArrivals(c)
	if !e.open {
		for range t.Clients {
			e.newClient()
		}
	}
	e.waited = waits()
	return e, nil
}

// run sends all the requests and returns when the last one is done or the engine
// was stopped. base is the moment of the gun.
func (e *engine) run(base instant) (*tally, error) {
	var collected debug.GCStats
	debug.ReadGCStats(&collected)
	before := cpuTime()
	e.base = base
	err := e.loop()
	for _, c := range e.clients {
		c.abandon()
	}
	if err != nil {
		return nil, err
	}
	t := &e.tally
	t.CPU, t.Pauses = cpuTime()-before, gcPauses(&collected)
	for thread, waited := range waits() {
		t.Waited = max(t.Waited, time.Duration(waited-e.waited[thread]))
	}
	for _, c := range e.clients {
		t.Retries += c.retries
		t.BytesSent += c.conn.sent
		t.BytesRead += c.conn.received
		if c.end != 0 {
			t.Active += c.end.sub(c.begin)
		}
	}
	return t, nil
}

// stop ends the batch at once. run returns soon after. It is safe for concurrent use.
func (e *engine) stop() {
	e.stopped.Store(true)
	e.poller.wake()
}

// shortWait is how long a wait may keep the runtime's P (its right to run Go code)
// for itself. Thousands of answers in a second come sooner than that, and cost less
// that way. During longer waits the process can do other things.
const shortWait = time.Millisecond

// loop resumes clients until none has anything left to do.
func (e *engine) loop() error {
	e.seen = e.clock.now()
	e.check = e.seen + instant(e.timeout)
	if e.open {
		if err := e.dispatch(); err != nil {
			return err
		}
	} else {
		for _, c := range e.clients {
			c.resume()
		}
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
		e.seen = e.clock.now()
		limit, held = shortWait, n > 0
		for i := range n {
			if err := e.handle(&e.poller.events[i]); err != nil {
				return err
			}
		}
		if awake && (e.awaited != e.next || e.due(e.next) <= e.seen) {
			if err := e.dispatch(); err != nil {
				return err
			}
			held = true // its answer may come soon
		}
	}
	return e.broken
}

func (e *engine) finished() bool {
	if e.open {
		return e.inFlight == 0 && e.next >= e.task.Last
	}
	return e.running == 0
}

func (e *engine) handle(event *unix.EpollEvent) error {
	switch event.Fd {
	case tokenWake:
		return nil // the loop looks at stopped next
	case tokenTimer:
		return e.rung()
	}
	c := e.clients[event.Fd]
	c.conn.told(event.Events)
	if c.conn.waiting {
		c.resume()
	}
	return nil
}

// expire resumes the clients whose request has timed out, or that want to try
// again, and sets the time of the next look.
func (e *engine) expire() {
	now := e.clock.now()
	e.seen, e.check = now, now+instant(e.timeout)
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

// look makes the next look come at a moment or before.
func (e *engine) look(at instant) { e.check = min(e.check, at) }
