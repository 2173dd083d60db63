package console

import (
	"bytes"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"stackmeter/scenarios/show"
)

// tellerQueue is how many messages may wait for standard error.
const tellerQueue = 1024

// How long the end of a command waits for Flush.
const (
	FlushTimeout = time.Second
	FlushHurry   = 200 * time.Millisecond // of a command that has no time left
)

// A Teller writes to standard error from a goroutine of its own. A terminal that
// is stopped or a pipe that nobody reads then holds up neither a measurement nor
// the end of the command. Messages that do not fit into the queue are dropped, and
// the reader is told how many as soon as there is one.
type Teller struct {
	to      io.Writer
	queue   chan func()
	dropped atomic.Int64 // messages since it was last said
}

// NewTeller returns one that writes to standard error, or to what stands for it.
func NewTeller(to io.Writer) *Teller {
	t := &Teller{to: to, queue: make(chan func(), tellerQueue)}
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
func (t *Teller) do(tell func()) {
	select {
	case t.queue <- tell:
	default:
		t.dropped.Add(1)
	}
}

// Write never waits and never fails.
func (t *Teller) Write(message []byte) (int, error) {
	message = bytes.Clone(message)
	t.do(func() { _, _ = t.to.Write(message) })
	return len(message), nil
}

// Item writes an item of a list: its name, and beside it a text that is broken between
// words where it is wider than the terminal.
func (t *Teller) Item(name, text string) {
	const indent = 14
	lines := []string{text}
	if width := ReportOptions(t.to).Width; width > 2*indent {
		lines = show.Wrap(text, width-indent)
	}
	for i, line := range lines {
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(t, "  %-*s%s\n", indent-2, name, line)
	}
}

func (t *Teller) sayDropped() {
	if n := t.dropped.Swap(0); n > 0 {
		fmt.Fprintf(t.to, "stackmeter: %s dropped, because nobody read standard error\n", show.Plural(int(n), "message"))
	}
}

// Flush waits until everything is written, for no longer than the limit.
func (t *Teller) Flush(limit time.Duration) {
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
