package python

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"stackmeter/orchestrator/load"
)

// A batch is a prepared number of requests that waits for its starting gun.
type batch struct {
	process  Process
	asked    load.Account    // what is known before the gun
	offsets  []time.Duration // of an open loop at a rate
	cores    []int           // that the program is held to
	silence  time.Duration   // after which the program counts as halted: it tells its progress all the time
	checker  *load.Checker
	distinct int // how many different requests there are

	done     atomic.Int64
	said     atomic.Int64            // messages
	ready    chan struct{}           // closed when the program waits for the gun
	finished chan struct{}           // closed when nothing of the program is left; then account and err are set
	verdicts map[int32]*load.Failure // by the request that asked; nil: the answer is right
	account  *load.Account           // made from the program's tally
	failure  error                   // of the tally
	err      error
	fired    atomic.Bool // or closed
}

// A message is a line that the program writes.
type message struct {
	Ready bool    `json:"ready"`
	Done  int64   `json:"done"`
	Ask   *answer `json:"ask"`
	Tally *tally  `json:"tally"`
}

// An answer is one that the program has not seen before. The batch judges it.
// The client that got it goes on sending, and waits for the verdict only once
// it has its next answer.
type answer struct {
	Request int32  `json:"request"` // its place in the batch
	Payload int    `json:"payload"`
	Status  int    `json:"status"`
	Body    []byte `json:"body"`
}

// follow listens to the program until nothing of it is left.
func (b *batch) follow() {
	defer close(b.finished)
	err := b.listen(json.NewDecoder(b.process))
	if err != nil {
		// It does not keep to the protocol, and may not end by itself. If it does, that says how.
		defer time.AfterFunc(stopGrace, b.process.Kill).Stop()
	}
	// The pool's processes have inherited the stream, which ends when they do.
	_, _ = io.Copy(io.Discard, b.process)
	ended := b.process.Wait()
	switch {
	case b.account != nil && b.failure != nil && ended != nil:
		b.err = fmt.Errorf("%w: %w", b.failure, ended)
	case b.account != nil:
		b.err = b.failure
	case errors.Is(err, errEnded) && ended != nil:
		b.err = ended // says how it ended
	default:
		b.err = err
	}
}

// errEnded means that the program ended where it should have sent a message.
var errEnded = errors.New("the Python client ended")

// listen reads the program's messages. The last one is its tally.
func (b *batch) listen(messages *json.Decoder) error {
	isReady := false
	for {
		var m message
		switch err := messages.Decode(&m); {
		case errors.Is(err, io.EOF) && isReady:
			return fmt.Errorf("%w without a tally", errEnded)
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w before it was ready", errEnded)
		case err != nil:
			return fmt.Errorf("read what the Python client says: %w", err)
		}
		b.said.Add(1)
		switch {
		case m.Tally != nil:
			account := b.asked
			if err := m.Tally.fill(&account, b.verdicts, b.offsets); err != nil {
				return err
			}
			b.account, b.failure = &account, m.Tally.why()
			b.done.Store(int64(len(account.Outcomes)))
			return nil
		case m.Ask != nil:
			if err := b.verdictOn(*m.Ask); err != nil {
				return err
			}
		case m.Ready && !isReady:
			isReady = true
			close(b.ready)
		case m.Ready:
			return errors.New("the Python client said twice that it is ready")
		default:
			b.done.Store(m.Done)
		}
	}
}

// verdictOn sends the program the verdict on an answer.
func (b *batch) verdictOn(a answer) error {
	if a.Request < 0 || int(a.Request) >= b.asked.Requests || a.Payload < 0 || a.Payload >= b.distinct {
		return fmt.Errorf("the Python client asked about request %d with payload %d, which do not exist", a.Request, a.Payload)
	}
	failure := b.checker.Check(a.Payload, a.Status, a.Body, nil)
	b.verdicts[a.Request] = failure
	word := "right"
	if failure != nil {
		word = "wrong"
	}
	// If the write fails, the program is gone or was told to end, and nobody
	// waits for the verdict.
	_, _ = fmt.Fprintf(b.process, "%s %d\n", word, a.Request)
	return nil
}

// tell writes the program, the task, the payloads and the schedule to the
// process, and waits until the program is ready.
func (b *batch) tell(ctx context.Context, t task, payloads []load.Content) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("the Python client was not ready within %v", startLimit))
	defer cancel()
	defer context.AfterFunc(ctx, b.process.Kill)()
	line, err := json.Marshal(t)
	if err != nil {
		return err
	}
	told := func() error {
		for _, part := range [][]byte{program, line, []byte("\n")} {
			if _, err := b.process.Write(part); err != nil {
				return err
			}
		}
		for _, p := range payloads {
			if _, err := b.process.Write(p.Data); err != nil {
				return err
			}
		}
		if b.offsets == nil {
			return nil
		}
		return binary.Write(b.process, binary.LittleEndian, b.offsets)
	}()
	if told != nil {
		// Its last words say why it did not listen.
		b.process.Kill()
	}
	select {
	case <-b.ready:
		if told == nil {
			return nil
		}
	case <-b.finished:
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case b.err != nil:
		return b.err
	}
	return fmt.Errorf("give the Python client its task: %w", told)
}

// Fire starts all clients and returns what they did once the last reply or
// error is in. It can be called once.
//
// The end of ctx ends the batch at once. The Result then has what was finished,
// and the error is the context's. The batch also ends when a process of the
// pool dies.
func (b *batch) Fire(ctx context.Context) (load.Result, error) {
	if b.fired.Swap(true) {
		return load.Result{}, errors.New("fire the batch: it was fired or closed before; prepare another one")
	}
	if ctx.Err() != nil {
		return b.result(), fmt.Errorf("fire the batch: %w", context.Cause(ctx))
	}
	// If the write fails, the program is gone, and await says why.
	_, _ = io.WriteString(b.process, "fire\n")
	if err := b.await(ctx); err != nil {
		return b.result(), fmt.Errorf("batch: %w", err)
	}
	return b.result(), nil
}

// await returns when nothing of the program is left. The end of ctx stops the
// program. One that says nothing any more is killed.
func (b *batch) await(ctx context.Context) error {
	look := time.NewTicker(b.silence)
	defer look.Stop()
	for last, waiting := int64(0), true; waiting; {
		select {
		case <-b.finished:
			return b.err
		case <-ctx.Done():
			waiting = false
		case <-look.C:
			if said := b.said.Load(); said != last {
				last = said
				continue
			}
			b.process.Kill()
			<-b.finished
			return fmt.Errorf("the Python client %w: it was halted, or got no CPU, and said nothing for %v", load.ErrDisturbed, b.silence)
		}
	}
	_ = b.process.CloseWrite()
	select {
	case <-b.finished:
	case <-time.After(stopGrace):
		b.process.Kill()
		<-b.finished
	}
	return context.Cause(ctx)
}

// result counts what is in the program's tally. Call it only before the batch is fired
// or after the program has ended.
func (b *batch) result() load.Result {
	a := b.asked
	select {
	case <-b.finished:
		if b.account != nil {
			a = *b.account
		}
	default:
	}
	r := a.Result()
	r.Cores = b.cores
	return r
}

// Done is how many replies and errors there were a moment ago. It is safe for
// concurrent use.
func (b *batch) Done() int { return int(b.done.Load()) }

// Close ends what still runs and releases everything. It may be called more than
// once. If Fire is running, it fails.
func (b *batch) Close() error {
	b.fired.Store(true)
	b.process.Kill()
	<-b.finished
	return nil
}
