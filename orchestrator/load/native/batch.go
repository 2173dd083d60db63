//go:build linux

package native

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"stackmeter/orchestrator/load"
)

// A batch is a prepared number of requests that waits for its starting gun.
type batch struct {
	formation
	requests int
	insecure bool // the server's certificate is not verified
	arena    *arena
	clock    clock
	gun      *os.File  // the pipe's end whose closing is the gun
	workers  []*worker // the client processes

	mu     sync.Mutex // guards what follows
	fired  bool
	closed bool
	done   int // when closed
}

// A worker is a client process of a batch.
type worker struct {
	name     string
	process  int           // its id
	stop     func()        // asks it to end at once and to tell what it has; may be called again
	kill     func()        // ends it without a tally; may be called again
	ready    chan struct{} // closed when it waits for the gun
	finished chan struct{} // closed when nothing of it is left; then tally and err are set
	tally    tally
	err      error
}

// startLimit bounds how long client processes may take to be ready; one takes
// a few milliseconds.
const startLimit = time.Minute

// stopGrace is how long clients have to tell what they did after they were stopped; then
// they are killed.
const stopGrace = 2 * time.Second

// startProcesses starts all client processes, then waits until each of them
// is ready.
func (b *batch) startProcesses(ctx context.Context, argv []string, o task) error {
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
		o.Process = i
		o.First, o.Last = i*b.requests/b.processes, (i+1)*b.requests/b.processes
		w, err := startProcess(ctx, argv, fmt.Sprintf("load worker %d of %d", i+1, b.processes), o, b.arena, wait)
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

// Fire is the starting gun: all clients begin, and Fire returns with what they
// did once the last reply or error is there. It can be called once.
//
// When ctx ends, so does the batch, at once; its Result then has what was
// finished until then, and the error is the context's. A client process that
// dies ends the batch as well; the error names it and has its last words.
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
	begin := b.shoot()
	b.mu.Unlock()
	if err := b.await(ctx); err != nil {
		return b.result(begin), fmt.Errorf("batch: %w", err)
	}
	return b.result(begin), nil
}

// shoot releases all clients together and returns the moment.
func (b *batch) shoot() instant {
	begin := b.clock.now()
	b.arena.gun().Store(int64(begin))
	_ = b.gun.Close()
	return begin
}

// await waits for all workers. The first that fails, or ctx, ends the others.
func (b *batch) await(ctx context.Context) error {
	// Each worker's end shows at once: a dead process must not go unnoticed until
	// the slow ones before it have ended.
	gone := make(chan *worker, len(b.workers))
	for _, w := range b.workers {
		go func() {
			<-w.finished
			gone <- w
		}()
	}
	var failure error
	var grace <-chan time.Time
	cancelled := ctx.Done()
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
	return failure
}

// Done is how many replies and errors there are so far. It costs next to
// nothing and may be called from any goroutine at any time.
func (b *batch) Done() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return b.done
	}
	return b.count()
}

func (b *batch) count() int {
	done := 0
	for i := range b.processes {
		done += int(b.arena.counter(i).Load())
	}
	return done
}

// Close ends what still runs and gives everything back: afterwards there is no
// process, file or memory of the batch. It may be called more than once, and
// while Fire runs, which then fails.
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
	if b.gun != nil {
		_ = b.gun.Close() // again, if it was fired
	}
	b.done = b.count()
	b.closed = true
	b.arena.close()
	return nil
}

// result adds up the workers' tallies. Either all of them have finished, or none
// was fired.
func (b *batch) result(begin instant) load.Result {
	r := load.Result{Requests: b.requests, Hand: b.hand, Cores: b.cpus}
	var all load.Histograms
	var failures load.Failures
	var active, failing time.Duration
	if begin != 0 {
		for _, w := range b.workers {
			got := &w.tally
			all.Merge(&got.Histograms)
			failures.Merge(got.ErrorKinds, got.FirstErrors)
			r.Retries += got.Retries
			r.CPU += got.CPU
			r.BytesSent += got.BytesSent
			r.BytesRead += got.BytesRead
			r.Late += got.Late
			r.InFlight += got.InFlight
			r.Pauses.Add(got.Pauses)
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
