//go:build linux

package native

import (
	"errors"
	"iter"
	"syscall"
	"time"

	"stackmeter/orchestrator/load"
)

// orderlyCloses is from which request of a batch on connections are reset
// after the whole answer was read, instead of closed. The side that closes first
// keeps the connection's port for a minute (TIME_WAIT). A machine has 28,000
// ports for each server, and a batch that used them up would measure that.
const orderlyCloses = 16384

// A client is one of the batch's clients: a loop that takes a request, sends
// it and waits for its answer.
type client struct {
	engine   *engine
	conn     *conn
	answers  *answerReader
	next     func() (struct{}, bool) // resumes it; false when it has ended
	abandon  func()                  // ends it where it is; may be called again
	assigned int                     // open loop: the request that it was given while idle

	retries    int
	begin, end instant // when it sent its first request, and when it had its last reply or error; 0 before
}

// newClient adds a client that runs until it waits when it is resumed.
func (e *engine) newClient() *client {
	k := newConn(e.clock, e.poller, e.arrivals, len(e.clients), e.peer, e.family, e.secure)
	k.look = e.look
	c := &client{engine: e, conn: k, answers: newAnswerReader(k.read, load.MaxBody), assigned: -1}
	c.answers.keep = e.checker.WantsBody()
	c.next, c.abandon = iter.Pull(c.run)
	e.clients = append(e.clients, c)
	e.running++
	return c
}

// resume lets the client go on until it waits again or has ended.
func (c *client) resume() {
	if _, goes := c.next(); !goes {
		c.engine.running--
	}
}

// run is the client's life. yield gives the thread away and returns when the
// engine resumes the client; false ends it.
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
		if e.task.Schedule != nil {
			e.inFlight--
		}
		switch local := (*localError)(nil); {
		case errors.Is(err, errInterrupted):
			return
		case errors.As(err, &local):
			e.broken = local
			return
		}
		e.done.Add(1) // before the errors: a request that is done without an error has worked
		if err == nil {
			e.histograms.Latency.Record(end.sub(intended))
			e.histograms.FirstByte.Record(c.conn.firstByte.sub(begin))
			if taken != end {
				e.histograms.Pickup.Record(taken.sub(end))
			}
			if e.task.Schedule != nil {
				e.histograms.Service.Record(end.sub(begin))
			}
		} else {
			e.failures.Add(err)
			e.failing += taken.sub(begin)
			e.arena.errors().Add(1)
			if e.hopeless() || e.tooManyErrors() {
				e.next = e.task.Last // nobody takes another one
			}
		}
		if first {
			e.lastGo = max(e.lastGo, begin)
		}
		c.end = taken
		e.end = max(e.end, end)
	}
}

// sending takes note that a request of an open loop is sent.
func (e *engine) sending(intended, begin instant) {
	if e.task.Schedule == nil {
		return
	}
	e.inFlight++
	e.mostFlying = max(e.mostFlying, e.inFlight)
	if e.offsets == nil {
		return // every moment was right
	}
	lateness := begin.sub(intended)
	e.histograms.Lateness.Record(lateness)
	if lateness > load.LateFrom {
		e.late++
	}
}

// take gives the client its next request and when that should be sent, 0 for
// now. In a closed loop it is the next one; in an open loop the next one that
// is due, and with none the client pauses until it is given one.
func (c *client) take(yield func(struct{}) bool) (i int, intended instant, ok bool) {
	e := c.engine
	if e.stopped.Load() {
		return 0, 0, false
	}
	if e.task.Schedule == nil {
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
			// The timer is not set while all clients are busy.
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

// hopeless reports whether nothing of the batch has worked so far, often enough.
func (e *engine) hopeless() bool {
	clients := min(e.task.Clients, len(e.clients)) * e.task.Processes
	errors := e.arena.errors().Load()
	return e.task.GiveUp > 0 && errors >= int64(max(e.task.GiveUp, clients)) && e.arena.done(e.task.Processes) <= errors
}

// tooManyErrors reports whether the batch has more errors than it may have. The
// processes of a batch count theirs together.
func (e *engine) tooManyErrors() bool {
	limit := e.task.MaxErrors
	return limit != nil && e.arena.errors().Load() > int64(*limit)
}

// idleFrom is from which pause on a kept connection is looked at before it is
// used again: what came meanwhile may not have been told yet.
const idleFrom = instant(time.Millisecond)

// do sends the i-th request of the batch and reads its answer; nil means that
// the answer was as expected. The time-out counts from begin and covers
// everything, from connecting to the last byte. The request ends when that had
// arrived: that it was taken later, and what checking the answer takes, is not
// the server's. Where it is not known when it arrived, the two are the same.
//
// A kept connection that the server had closed while it was idle is made anew.
// Where that shows only after the request was sent, it is sent once more if the
// server's kernel threw it away unread. A server that dies over a request looks
// different.
func (c *client) do(i int, begin instant) (end, taken instant, err error) {
	k, task := c.conn, c.engine.task
	k.begin(begin, task.Timeout)
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
	if err != nil || !task.KeepAlive || !got.keepAlive {
		k.close(i-task.First >= orderlyCloses/task.Processes)
	}
	if err != nil {
		return end, taken, err
	}
	if failure := c.engine.checker.Check(which, got.status, c.answers.body); failure != nil {
		return end, taken, failure
	}
	return end, taken, nil
}

// exchange sends a request, on a new connection if there is none, and reads
// the answer.
func (c *client) exchange(which int) (answer, error) {
	fresh := !c.conn.connected()
	if fresh {
		begin := c.engine.clock.now()
		if err := c.conn.open(); err != nil {
			return answer{}, err
		}
		c.engine.histograms.Connect.Record(c.engine.clock.now().sub(begin))
	}
	c.answers.begin(fresh)
	err := c.send(which)
	// A server may answer before it has read everything, and close or read no
	// more. Then not all is sent, but there is an answer to read.
	if err != nil && !errors.Is(err, errAnswered) && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		return answer{}, timedOutOr(err, load.ErrReset, "sending the request")
	}
	got, readErr := c.answers.next(c.engine.task.Method)
	if readErr != nil {
		if f := (*load.Failure)(nil); errors.As(readErr, &f) {
			return answer{}, readErr
		}
		doing := "waiting for the answer"
		if c.answers.got > 0 {
			doing = "reading the answer"
		}
		return answer{}, timedOutOr(readErr, load.ErrReset, doing)
	}
	if err != nil {
		got.keepAlive = false // what was not sent cannot be sent any more
	}
	return got, nil
}

// send sends one of the distinct requests, without copying it where it is long.
func (c *client) send(which int) error {
	if part := c.engine.arena.spans[which]; part.Length >= sendFileFrom && c.engine.secure == nil {
		return c.conn.writeFile(c.engine.file, part)
	}
	return c.conn.write(c.engine.arena.request(which))
}

// isReset reports whether err is a failure of kind reset.
func isReset(err error) bool {
	f := (*load.Failure)(nil)
	return errors.As(err, &f) && f.Kind == load.ErrReset
}
