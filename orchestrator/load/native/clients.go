//go:build linux

package native

import (
	"errors"
	"fmt"
	"iter"
	"syscall"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios/show"
)

// orderlyCloses is how many connections of a batch are closed in the orderly way.
// After them, connections are reset once the whole answer was read. The side that
// closes first keeps the connection's port for a minute (TIME_WAIT). A machine has
// 28,000 ports for each server, and a batch that used them up would measure that.
const orderlyCloses = 16384

// A client is one of the batch's clients: a loop that takes a request, sends it and
// waits for its answer.
type client struct {
	engine   *engine
	conn     *conn
	answers  *answerReader
	next     func() (struct{}, bool) // resumes it; false: it has ended
	abandon  func()                  // ends it where it is; may be called again
	assigned int                     // open loop: the request that it was given while idle; -1: none

	retries    int
	begin, end instant // when it sent its first request, and when it had its last reply or error; 0: not yet
}

// newClient adds a client. It begins when it is first resumed.
func (e *engine) newClient() *client {
	k := &conn{engine: e, token: len(e.clients), fd: -1}
	c := &client{engine: e, conn: k, answers: newAnswerReader(k.read, load.MaxBody), assigned: -1}
	c.answers.keep = e.checker.WantsBody()
	c.answers.stream.wanted, c.answers.stream.arrived = e.checker.Streams(), &k.arrived
	c.answers.stream.splitter.Keep = e.checker.WantsLastEvent()
	c.next, c.abandon = iter.Pull(c.run)
	e.clients = append(e.clients, c)
	e.running++
	return c
}

// resume runs the client until it waits again or has ended.
func (c *client) resume() {
	if _, goes := c.next(); !goes {
		c.engine.running--
	}
}

// run is the whole of the client. yield gives the thread to others and returns when
// the engine resumes the client; false: the client has to end.
func (c *client) run(yield func(struct{}) bool) {
	c.conn.pause = func() bool { return !yield(struct{}{}) }
	defer c.conn.close(false)
	e := c.engine
	for {
		i, intended, ok := c.take(yield)
		if !ok {
			return
		}
		begin := e.clock.now()
		if intended == 0 {
			intended = begin
		}
		e.sending(intended, begin)
		first := c.begin == 0
		if first {
			c.begin = begin
		}
		end, taken, err := c.do(i, begin)
		e.seen = e.clock.now()
		if e.open {
			e.inFlight--
		}
		switch local := (*load.LocalError)(nil); {
		case errors.Is(err, errInterrupted):
			return
		case errors.As(err, &local):
			e.broken = local
			return
		}
		e.done.Add(1) // before the errors: a request that is done without an error has worked
		if err == nil {
			e.tally.Histograms.Latency.Record(end.sub(intended))
			e.tally.Histograms.FirstByte.Record(c.conn.firstByte.sub(begin))
			c.answers.stream.record(begin, &e.tally)
			if taken != end {
				e.tally.Histograms.Pickup.Record(taken.sub(end))
			}
			if e.open {
				e.tally.Histograms.Service.Record(end.sub(begin))
			}
		} else {
			e.tally.Failures.Add(err)
			e.tally.Failing += taken.sub(begin)
			e.arena.signals.errors.Add(1)
			if e.hopeless() || e.tooManyErrors() {
				e.next = e.task.Last // no client takes another request
			}
		}
		if first {
			e.tally.LastStart = max(e.tally.LastStart, begin)
		}
		c.end = taken
		e.tally.End = max(e.tally.End, end)
	}
}

// sending counts a request of an open loop that is about to be sent.
func (e *engine) sending(intended, begin instant) {
	if !e.open {
		return
	}
	e.inFlight++
	e.tally.InFlight = max(e.tally.InFlight, e.inFlight)
	if e.offsets == nil {
		return // no request has a moment
	}
	lateness := begin.sub(intended)
	e.tally.Histograms.Lateness.Record(lateness)
	if lateness > load.LateFrom {
		e.tally.Late++
	}
}

// take is the client's next request and when it is due; 0: now. In an open loop it
// is the next one that is due, and if there is none the client waits until it is
// given one. ok is false if there is nothing left to send.
func (c *client) take(yield func(struct{}) bool) (i int, intended instant, ok bool) {
	e := c.engine
	if e.stopped.Load() {
		return 0, 0, false
	}
	if !e.open {
		if e.next >= e.task.Last || e.tooManyErrors() {
			return 0, 0, false
		}
		e.next++
		return e.next - 1, 0, true
	}
	if c.assigned < 0 {
		if e.next < e.task.Last && e.due(e.next) <= e.seen {
			c.assigned = e.next
			e.next++
		} else {
			e.idle = append(e.idle, c)
			// While all clients were busy, nobody set the timer.
			if e.broken = e.armNext(); e.broken != nil {
				return 0, 0, false
			}
			if !yield(struct{}{}) {
				return 0, 0, false
			}
		}
	}
	i = c.assigned
	c.assigned = -1
	return i, e.due(i), true
}

// hopeless reports whether the batch has had enough errors without a single reply.
func (e *engine) hopeless() bool {
	giveUp, clients := e.task.Job.GiveUp, len(e.clients)*e.task.Processes
	errors := int(e.arena.signals.errors.Load())
	return giveUp > 0 && errors >= max(giveUp, clients) && e.arena.done() <= errors
}

// tooManyErrors reports whether the batch has more errors than it may have.
func (e *engine) tooManyErrors() bool { return e.arena.signals.errors.Load() > e.allowed }

// idleFrom is the pause from which on a kept connection is looked at before it is
// used again: the poller may not have reported yet what came meanwhile.
const idleFrom = instant(time.Millisecond)

// do sends the i-th request of the batch and reads its answer. Its error is nil if
// the answer was as expected. The time-out counts from begin and covers everything,
// from connecting to the last byte.
//
// The request ends when that byte arrived. taken is when the client had read it.
// The time between the two is not the server's, nor is the time that checking the
// answer takes. If the arrival is not known, end is taken.
//
// If the server had closed the kept connection while it was idle, do makes a new
// one. If that shows only after the request was sent, do sends it once more,
// provided it was not read: the server's kernel discarded it, or the end of the
// connection was on its way before the request came. If the server died over the
// request, it was read.
func (c *client) do(i int, begin instant) (end, taken instant, err error) {
	k, task := c.conn, c.engine.task
	k.begin(begin, c.engine.timeout)
	which := task.which(i)
	reused := k.connected()
	if reused && (k.readable || k.ended || begin-c.end > idleFrom) {
		closed, err := k.idle()
		if err != nil {
			k.close(false)
			end = c.engine.clock.now()
			return end, end, err
		}
		if closed {
			reused = false
			c.retries++
			k.close(false)
		}
	}
	got, err := c.exchange(which)
	if reused && k.unread && isReset(err) {
		c.retries++
		k.close(false)
		got, err = c.exchange(which)
	}
	if end, taken = k.arrived, k.taken; err != nil || end == 0 {
		end, taken = c.engine.clock.now(), 0
	}
	taken = max(taken, end)
	if err == nil && end > k.deadline {
		err = load.Failed(load.ErrTimeout, "the time-out passed while reading the answer")
	}
	if err != nil || !task.Job.Load.KeepAlive || !got.keepAlive {
		k.close(i-task.First >= orderlyCloses/task.Processes)
	}
	if err != nil {
		return end, taken, err
	}
	if failure := c.engine.checker.Check(which, got.status, c.answers.body, c.answers.stream.held()); failure != nil {
		return end, taken, failure
	}
	return end, taken, nil
}

// exchange sends a request, on a new connection if there is none, and reads the
// answer.
func (c *client) exchange(which int) (head, error) {
	fresh := !c.conn.connected()
	if fresh {
		begin := c.engine.clock.now()
		if err := c.conn.open(); err != nil {
			return head{}, err
		}
		c.engine.tally.Histograms.Connect.Record(c.engine.clock.now().sub(begin))
	}
	c.answers.begin(fresh)
	err := c.send(which)
	// A server may answer before it has read the whole request, and then close or
	// read no more. There is an answer to read though not all was sent.
	if err != nil && !errors.Is(err, errAnswered) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return head{}, timedOutOr(err, load.ErrReset, "sending the request")
	}
	got, readErr := c.answers.next(c.engine.task.Job.Request.Method)
	if readErr != nil {
		if _, is := errors.AsType[*load.Failure](readErr); is {
			return head{}, readErr
		}
		doing := "waiting for the answer"
		if c.answers.got > 0 {
			doing = "reading the answer"
		}
		if c.answers.stream.on {
			doing = fmt.Sprintf("reading the stream, after %s; request.timeout is for all of it", show.Plural(c.answers.stream.events, "event"))
		}
		return head{}, timedOutOr(readErr, load.ErrReset, doing)
	}
	if err != nil {
		got.keepAlive = false // the rest of the request cannot be sent
	}
	return got, nil
}

// send sends one of the distinct requests. It does not copy a long one.
func (c *client) send(which int) error {
	if part := c.engine.arena.spans[which]; part.Length >= sendFileFrom && c.engine.secure == nil {
		return c.conn.writeFile(c.engine.file, part)
	}
	return c.conn.write(c.engine.arena.request(which))
}

// isReset reports whether err is a failure of kind reset.
func isReset(err error) bool {
	f, is := errors.AsType[*load.Failure](err)
	return is && f.Kind == load.ErrReset
}
