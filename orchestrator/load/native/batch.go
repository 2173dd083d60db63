//go:build linux

package native

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"stackmeter/orchestrator/load"
)

// A batch is a number of requests that wait for their starting gun.
type batch struct {
	formation
	requests int
	insecure bool // the server's certificate is not verified
	arena    *arena
	clock    clock
	gun      *os.File  // the end of a pipe whose closing is the gun
	workers  []*worker // the client processes

	mu     sync.Mutex // guards what follows
	fired  bool
	closed bool
	done   int // when closed
}

// stopInterval is between two looks whether a signal stopped a client process. The
// kernel remembers it until then.
const stopInterval = 100 * time.Millisecond

// haltGrace is how long a batch goes on after a signal stopped a client process. It
// measures nothing any more, and the process may stay stopped.
const haltGrace = 5 * time.Second

// startLimit is how long the client processes may take to be ready. One takes a few
// milliseconds.
const startLimit = time.Minute

// startProcesses starts all client processes and waits until each is ready.
func (b *batch) startProcesses(ctx context.Context, argv []string, t task) error {
	wait, gun, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make the starting gun: %w", err)
	}
	defer wait.Close()
	b.gun = gun
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("the client processes were not ready within %v", startLimit))
	defer cancel()
	for i := range b.processes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		t.Process = i
		t.First, t.Last = i*b.requests/b.processes, (i+1)*b.requests/b.processes
		w, err := startProcess(ctx, argv, fmt.Sprintf("load worker %d of %d", i+1, b.processes), t, b.arena, wait)
		if err != nil {
			return err
		}
		b.workers = append(b.workers, w)
	}
	for _, w := range b.workers {
		select {
		case <-w.ready:
		case <-w.finished:
			return w.err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// Fire starts all clients and returns what they did once the last reply or error is
// in. It can be called once.
//
// The end of ctx ends the batch at once. The Result then has what was finished, and
// the error is the context's. The batch also ends when a client process dies. The
// error names the process and has its last words.
func (b *batch) Fire(ctx context.Context) (load.Result, error) {
	b.mu.Lock()
	again := b.fired || b.closed
	b.fired = true
	if again {
		b.mu.Unlock()
		return load.Result{}, errors.New("fire the batch: it was fired or closed before; prepare another one")
	}
	if ctx.Err() != nil {
		b.mu.Unlock()
		return b.result(0), fmt.Errorf("fire the batch: %w", context.Cause(ctx))
	}
	begin := b.clock.now()
	b.arena.signals.gun.Store(int64(begin))
	_ = b.gun.Close()
	b.mu.Unlock()
	if err := b.await(ctx); err != nil {
		return b.result(begin), fmt.Errorf("batch: %w", err)
	}
	return b.result(begin), nil
}

// await waits for all workers. It ends them all when one fails or ctx ends.
func (b *batch) await(ctx context.Context) error {
	// A dead process must be noticed at once, whichever of them it is.
	gone := make(chan *worker, len(b.workers))
	for _, w := range b.workers {
		go func() {
			<-w.finished
			gone <- w
		}()
	}
	var failure, halted error
	var grace, enough <-chan time.Time
	cancelled := ctx.Done()
	look := time.NewTicker(stopInterval)
	defer look.Stop()
	end := func(err error) {
		if failure != nil {
			return
		}
		failure = err
		for _, w := range b.workers {
			w.stop()
		}
		grace = time.After(stopGrace)
	}
	for range b.workers {
		for waiting := true; waiting; {
			select {
			case w := <-gone:
				waiting = false
				if w.err != nil {
					end(w.err)
				}
			case <-look.C:
				for _, w := range b.workers {
					if w.stopped() && halted == nil {
						halted = fmt.Errorf("%s (process %d) %w: a signal stopped it", w.name, w.process, load.ErrDisturbed)
						enough = time.After(haltGrace)
					}
				}
			case <-enough:
				end(halted)
			case <-cancelled:
				cancelled = nil
				end(context.Cause(ctx))
			case <-grace:
				grace = nil
				for _, w := range b.workers {
					w.kill()
				}
			}
		}
	}
	return cmp.Or(failure, halted)
}

// Done is how many replies and errors there are so far. It costs next to nothing and
// is safe for concurrent use.
func (b *batch) Done() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return b.done
	}
	return b.arena.done()
}

// Close ends what still runs and releases everything: no process, file or memory of
// the batch is left. It may be called more than once. If Fire is running, it fails.
func (b *batch) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	for _, w := range b.workers {
		w.kill()
	}
	for _, w := range b.workers {
		<-w.finished
	}
	_ = b.gun.Close() // again, if it was fired; nil, if none was made
	b.done = b.arena.done()
	b.closed = true
	b.arena.close()
	return nil
}

// result adds up the workers' tallies. Call it only before the batch is fired or after
// all workers have ended.
func (b *batch) result(begin instant) load.Result {
	r := load.Result{Requests: b.requests, Hand: b.hand, Cores: b.cpus}
	var all load.Histograms
	var failures load.Failures
	var active, failing time.Duration
	if begin != 0 {
		for _, w := range b.workers {
			got := &w.tally
			all.Merge(&got.Histograms)
			failures.Merge(got.Failures.Kinds, got.Failures.Messages)
			r.Streams += got.Streams
			r.Events += got.Events
			r.Retries += got.Retries
			r.CPU += got.CPU
			r.Waited = max(r.Waited, got.Waited)
			r.BytesSent += got.BytesSent
			r.BytesRead += got.BytesRead
			r.Late += got.Late
			r.InFlight += got.InFlight
			r.Pauses.Total += got.Pauses.Total
			r.Pauses.Max = max(r.Pauses.Max, got.Pauses.Max)
			active += got.Active
			failing += got.Failing
			if got.LastStart != 0 && !b.open {
				r.StartDelay = max(r.StartDelay, got.LastStart.sub(begin))
			}
			if got.End != 0 {
				r.Duration = max(r.Duration, got.End.sub(begin))
			}
		}
	}
	r.Conclude(&all, failures, active, failing, b.open, b.cores())
	if b.insecure {
		r.Flags = append(r.Flags, load.FlagInsecure)
	}
	return r
}
