package python

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"stackmeter/orchestrator/load"
)

// A batch is a prepared number of requests that waits for its starting gun.
type batch struct {
	process  Process
	requests int
	open     bool
	offsets  []time.Duration // of an open loop at a rate
	cores    int             // that the clients can use at most
	hand     string
	cpus     []int // that the program is held to
	checker  *load.Checker
	distinct int // requests

	done     atomic.Int64
	ready    chan struct{} // closed when the program waits for the gun
	finished chan struct{} // closed when nothing of the program is left; then account and err are set
	verdicts map[int32]verdict
	failure  string        // of the program's report
	account  *load.Account // from it
	err      error

	mu     sync.Mutex // guards what follows
	fired  bool
	closed bool
}

// A message is a line that the program says.
type message struct {
	Ready  bool    `json:"ready"`
	Done   int64   `json:"done"`
	Ask    *answer `json:"ask"`
	Report *report `json:"report"`
}

// An answer is one that the program has not seen before, to be judged. The
// program waits for the verdict only when the client's next answer is there.
type answer struct {
	Request int32  `json:"request"` // of the batch
	Payload int    `json:"payload"`
	Status  int    `json:"status"`
	Body    []byte `json:"body"`
}

// follow listens to the program until it is gone.
func (b *batch) follow() {
	defer close(b.finished)
	err := b.listen(json.NewDecoder(b.process))
	if err != nil {
		b.process.Kill() // what does not speak the protocol need not go on
	}
	// The clients have inherited the stream: its end is theirs too.
	_, _ = io.Copy(io.Discard, b.process)
	ended := b.process.Wait()
	switch {
	case b.account != nil && b.failure != "":
		b.err = errors.New(b.failure)
		if ended != nil {
			b.err = fmt.Errorf("%w: %w", b.err, ended)
		}
	case b.account != nil:
	case errors.Is(err, errEnded) && ended != nil:
		b.err = ended // which says how
	default:
		b.err = err
	}
}

// errEnded is the end of the program where it should have spoken.
var errEnded = errors.New("the Python client ended")

// listen reads the program's messages, the last of which is its report.
func (b *batch) listen(messages *json.Decoder) error {
	isReady := false
	for {
		var m message
		switch err := messages.Decode(&m); {
		case errors.Is(err, io.EOF) && isReady:
			return fmt.Errorf("%w without a report", errEnded)
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w before it was ready", errEnded)
		case err != nil:
			return fmt.Errorf("read what the Python client says: %w", err)
		}
		switch {
		case m.Report != nil:
			figures, err := m.Report.decode(b.requests)
			if err != nil {
				return err
			}
			account := m.Report.account(figures, b.verdicts, b.offsets)
			b.failure, b.account = m.Report.Failure, &account
			b.done.Store(int64(len(account.Outcomes)))
			return nil
		case m.Ask != nil:
			if err := b.judge(*m.Ask); err != nil {
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

// judge gives the program the verdict on an answer.
func (b *batch) judge(a answer) error {
	if a.Request < 0 || int(a.Request) >= b.requests || a.Payload < 0 || a.Payload >= b.distinct {
		return fmt.Errorf("the Python client asked about request %d with payload %d, which are none", a.Request, a.Payload)
	}
	var v verdict
	if failure := b.checker.Check(a.Payload, a.Status, a.Body); failure != nil {
		v.kind, v.message = failure.Kind, failure.Message
	}
	b.verdicts[a.Request] = v
	word := "right"
	if v.kind != "" {
		word = "wrong"
	}
	// A write that fails means that the program is gone or was told to end, and
	// that nobody waits for the verdict.
	_, _ = fmt.Fprintf(b.process, "%s %d\n", word, a.Request)
	return nil
}

// tell gives the program itself, the order, the payloads and the schedule to
// the process, and waits until it is ready.
func (b *batch) tell(ctx context.Context, o task, payloads []load.Content) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("the Python client was not ready within %v", startLimit))
	defer cancel()
	defer context.AfterFunc(ctx, b.process.Kill)()
	line, err := json.Marshal(o)
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
		// Why it did not listen is in its last words.
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
	return fmt.Errorf("give the Python client its order: %w", told)
}

// Fire is the starting gun: all clients begin, and Fire returns with what they
// did once the last reply or error is there. It can be called once.
//
// When ctx ends, so does the batch, at once; its Result then has what was
// finished until then, and the error is the context's. A process of the pool
// that dies ends the batch as well.
func (b *batch) Fire(ctx context.Context) (load.Result, error) {
	b.mu.Lock()
	again := b.fired || b.closed
	b.fired = true
	b.mu.Unlock()
	if again {
		return load.Result{}, errors.New("fire the batch: it was fired or closed before; prepare another one")
	}
	if ctx.Err() != nil {
		return b.result(), fmt.Errorf("fire the batch: %w", context.Cause(ctx))
	}
	// A write that fails means that the program is gone, which is noticed.
	_, _ = io.WriteString(b.process, "fire\n")
	if err := b.await(ctx); err != nil {
		return b.result(), fmt.Errorf("batch: %w", err)
	}
	return b.result(), nil
}

// await waits until nothing of the program is left. The end of ctx stops it.
func (b *batch) await(ctx context.Context) error {
	select {
	case <-b.finished:
		return b.err
	case <-ctx.Done():
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

// result counts what the program reported. It has to be finished, or not fired.
func (b *batch) result() load.Result {
	var a load.Account
	select {
	case <-b.finished:
		if b.account != nil {
			a = *b.account
		}
	default:
	}
	a.Requests, a.Open, a.Cores, a.Hand = b.requests, b.open, b.cores, b.hand
	r := a.Result()
	r.Cores = b.cpus
	return r
}

// Done is how many replies and errors there were a moment ago. It may be
// called from any goroutine at any time.
func (b *batch) Done() int { return int(b.done.Load()) }

// Close ends what still runs and gives everything back. It may be called more
// than once, and while Fire runs, which then fails.
func (b *batch) Close() error {
	b.mu.Lock()
	closed := b.closed
	b.closed = true
	b.mu.Unlock()
	if !closed {
		b.process.Kill()
	}
	<-b.finished
	return nil
}
