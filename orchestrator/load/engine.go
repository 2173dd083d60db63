package load

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// orderlyCloses is from which request of a process on connections are reset
// after the whole answer was read, instead of closed. Whoever closes first
// keeps the connection's port for a minute (TIME_WAIT), a machine has 28,000
// of them for each server, and a batch that used them up would measure that.
const orderlyCloses = 16384

// An order is what one client process (or the clients inside this one) has to
// do: everything that is known beforehand.
type order struct {
	Peer      netip.AddrPort
	Method    string
	Status    int // expected; 0 for any 2xx
	Timeout   time.Duration
	KeepAlive bool
	MaxBody   int64
	GiveUp    int // see Job; 0: never

	Clients     int // goroutines
	First, Last int // the requests First to Last-1 of the batch
	Process     int // its place among the processes
	Processes   int
	Requests    []span // the distinct requests, which are cycled through
}

// A report is what one client process did.
type report struct {
	Replies     int
	Latency     Latency `json:"-"` // travels beside, in its binary form
	ErrorKinds  map[string]int
	FirstErrors map[string]string
	Retries     int
	CPU         time.Duration
	BytesSent   int64
	BytesRead   int64
	LastStart   instant // when the last of the clients began its first request; 0 when none did
	End         instant // of the last reply or error; 0 when there was none
	Interrupted bool
}

// An engine sends the requests of one order.
type engine struct {
	order    order
	arena    *arena
	clock    clock
	done     *atomic.Int64 // replies and errors so far, seen by the orchestrator
	next     atomic.Int64
	stopped  atomic.Bool
	clients  []*client
	mu       sync.Mutex // guards what follows
	latency  Latency
	failures tally
	lastGo   instant
	end      instant
}

// newEngine prepares everything that can be prepared before the gun.
func newEngine(o order, a *arena) (*engine, error) {
	c, err := newClock()
	if err != nil {
		return nil, err
	}
	e := &engine{order: o, arena: a, clock: c, done: a.counter(o.Process)}
	e.next.Store(int64(o.First))
	// The histogram's memory is taken now, not at the first reply.
	e.latency.hist = newHistogram()
	for range o.Clients {
		k, err := newConn(c, o.Peer)
		if err != nil {
			return nil, err
		}
		e.clients = append(e.clients, &client{engine: e, conn: k, answers: newAnswerReader(k.read, o.MaxBody)})
	}
	return e, nil
}

// run sends all the requests and returns when the last one is done or the
// engine was stopped.
func (e *engine) run() (report, error) {
	before, err := cpuTime()
	if err != nil {
		return report{}, err
	}
	var running sync.WaitGroup
	for _, c := range e.clients[1:] {
		running.Go(c.run)
	}
	e.clients[0].run()
	running.Wait()
	after, err := cpuTime()
	if err != nil {
		return report{}, err
	}
	r := report{
		Replies: int(e.latency.Count()), Latency: e.latency,
		ErrorKinds: e.failures.kinds, FirstErrors: e.failures.messages,
		CPU: after - before, LastStart: e.lastGo, End: e.end,
		Interrupted: e.stopped.Load(),
	}
	for _, c := range e.clients {
		r.Retries += c.retries
		r.BytesSent += c.conn.sent
		r.BytesRead += c.conn.received
	}
	return r, nil
}

// stop ends the batch at once; run returns soon after. It may be called from
// any goroutine, and before run.
func (e *engine) stop() {
	e.stopped.Store(true)
	for _, c := range e.clients {
		c.conn.interrupt()
	}
}

// A client is one of the batch's clients: a loop that takes a request, sends
// it and waits for its answer.
type client struct {
	engine  *engine
	conn    *conn
	answers *answerReader
	retries int
}

func (c *client) run() {
	defer c.conn.close(false)
	e := c.engine
	for first := true; !e.stopped.Load(); first = false {
		i := int(e.next.Add(1) - 1)
		if i >= e.order.Last {
			return
		}
		begin := e.clock.now()
		err := c.do(i, begin)
		end := e.clock.now()
		if errors.Is(err, errInterrupted) {
			return
		}
		e.mu.Lock()
		if err == nil {
			e.latency.Record(end.sub(begin))
		} else {
			e.failures.add(err)
			if e.hopeless() {
				e.next.Store(int64(e.order.Last)) // nobody takes another one
			}
		}
		e.end = max(e.end, end)
		if first {
			e.lastGo = max(e.lastGo, begin)
		}
		e.mu.Unlock()
		e.done.Add(1)
	}
}

// hopeless reports whether nothing has worked so far, often enough. mu is
// held.
func (e *engine) hopeless() bool {
	limit := e.order.GiveUp
	return limit > 0 && e.latency.Count() == 0 && e.failures.total >= max(limit, e.order.Clients)
}

// do sends the i-th request of the batch and reads its answer; nil means that
// the answer was as expected. The time-out counts from begin and covers
// everything, from connecting to the last byte.
//
// A kept connection that turns out to be closed before a byte of the answer
// came was closed by the server while idle: the request is sent once more, on
// a new connection.
func (c *client) do(i int, begin instant) error {
	c.conn.deadline = begin + instant(c.engine.order.Timeout)
	request := c.engine.arena.request(i % len(c.engine.order.Requests))
	reused := c.conn.connected()
	got, err := c.exchange(request)
	if reused && isReset(err) {
		c.retries++
		c.conn.close(false)
		got, err = c.exchange(request)
	}
	if err != nil || !c.engine.order.KeepAlive || !got.keepAlive {
		c.conn.close(i-c.engine.order.First >= orderlyCloses)
	}
	if err != nil {
		return err
	}
	want := c.engine.order.Status
	if got.status != want && (want != 0 || got.status/100 != 2) {
		if want == 0 {
			return failed(ErrStatus, "status %d instead of 2xx", got.status)
		}
		return failed(ErrStatus, "status %d instead of %d", got.status, want)
	}
	return nil
}

// exchange sends a request, on a new connection if there is none, and reads
// the answer.
func (c *client) exchange(request []byte) (answer, error) {
	fresh := !c.conn.connected()
	if fresh {
		if err := c.conn.open(); err != nil {
			return answer{}, err
		}
	}
	c.answers.begin(fresh)
	err := c.conn.write(request)
	// A server may answer before it has read everything and close: the write
	// fails, but the answer is there to be read.
	if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return answer{}, timedOutOr(err, ErrReset, "sending the request")
	}
	got, readErr := c.answers.next(c.engine.order.Method)
	if readErr != nil {
		if f := (*failure)(nil); errors.As(readErr, &f) {
			return answer{}, readErr
		}
		doing := "waiting for the answer"
		if c.answers.got > 0 {
			doing = "reading the answer"
		}
		return answer{}, timedOutOr(readErr, ErrReset, doing)
	}
	if err != nil {
		got.keepAlive = false // what was not sent cannot be sent any more
	}
	return got, nil
}

// isReset reports whether err is a failure of kind reset.
func isReset(err error) bool {
	f := (*failure)(nil)
	return errors.As(err, &f) && f.kind == ErrReset
}

// timeoutDefault is the whole time of a request that names none.
const timeoutDefault = 60 * time.Second
