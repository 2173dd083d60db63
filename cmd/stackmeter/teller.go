package main

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/scenarios/show"
)

// tellerQueue is how many messages wait for standard error to take them.
const tellerQueue = 1024

// Waits for the last of them: of a command that ends, and of one that has
// no time left.
const (
	flushTimeout = time.Second
	flushHurry   = 200 * time.Millisecond
)

// A teller writes to standard error from a goroutine of its own: a terminal
// that stands still, or a pipe that nobody reads, holds up neither what is
// measured nor its end. What does not fit into its queue is dropped, and that
// it was is said as soon as there is somebody to say it to.
type teller struct {
	to      io.Writer
	queue   chan func()
	dropped atomic.Int64 // messages since it was last said
}

func newTeller(to io.Writer) *teller {
	t := &teller{to: to, queue: make(chan func(), tellerQueue)}
	go func() {
		for tell := range t.queue {
			tell()
			if len(t.queue) == 0 {
				t.sayDropped()
			}
		}
	}()
	return t
}

// do has something told after all that was to be told before. It never waits.
func (t *teller) do(tell func()) {
	select {
	case t.queue <- tell:
	default:
		t.dropped.Add(1)
	}
}

// Write never waits and never fails.
func (t *teller) Write(message []byte) (int, error) {
	message = bytes.Clone(message)
	t.do(func() { _, _ = t.to.Write(message) })
	return len(message), nil
}

func (t *teller) sayDropped() {
	if n := t.dropped.Swap(0); n > 0 {
		fmt.Fprintf(t.to, "stackmeter: %s not shown, because standard error took none\n", show.Plural(int(n), "message"))
	}
}

// flush waits until all of it is told, at most for the limit.
func (t *teller) flush(limit time.Duration) {
	late := time.After(limit)
	done := make(chan struct{})
	select {
	case t.queue <- func() { t.sayDropped(); close(done) }:
	case <-late:
		return
	}
	select {
	case <-done:
	case <-late:
	}
}

// barsBehind are bars that a teller draws: they wait for their terminal.
type barsBehind struct {
	*teller
	bars progress
}

func (b barsBehind) event(e orchestrator.Event) { b.do(func() { b.bars.event(e) }) }

func (b barsBehind) close() {
	b.do(b.bars.close)
	b.flush(flushTimeout)
}
