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

// tellerQueue is how many messages may wait for standard error.
const tellerQueue = 1024

// How long the end of a command waits until the last messages are written.
const (
	flushTimeout = time.Second
	flushHurry   = 200 * time.Millisecond // of a command that has no time left
)

// A teller writes to standard error from a goroutine of its own. A terminal that
// is stopped or a pipe that nobody reads then holds up neither a measurement nor
// the end of the command. Messages that do not fit into the queue are dropped, and
// the reader is told how many as soon as there is one.
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

// do calls tell after everything that was queued before. It never waits.
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
		fmt.Fprintf(t.to, "stackmeter: %s dropped, because nobody read standard error\n", show.Plural(int(n), "message"))
	}
}

// flush waits until everything is written, for no longer than the limit.
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

// barsBehind are bars that a teller draws, so that only it waits for the terminal.
type barsBehind struct {
	*teller
	bars progress
}

func (b barsBehind) event(e orchestrator.Event) { b.do(func() { b.bars.event(e) }) }

func (b barsBehind) close() {
	b.do(b.bars.close)
	b.flush(flushTimeout)
}
