// Package remote has loads sent from elsewhere: the client that sends them is in
// another process, at the other end of a stream, for example of a Pod on another
// node. Client is this side, Serve the other one.
//
// Each batch has a stream of its own. Closing it ends whatever the other side does
// for the batch, so that nothing outlives an orchestrator that was killed.
package remote

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"time"

	"stackmeter/orchestrator/load"
)

// pieceSize is how much of a file one message has, in bytes.
const pieceSize = 256 << 10

// tellInterval is between two messages of how many requests are done.
const tellInterval = 250 * time.Millisecond

// A task is what the other side is asked for. The messages with the files follow it.
type task struct {
	Version string
	Job     []byte // in JSON: how it is written and read is known
	Files   []file // that the job names, in the order in which it does
}

// A file is one that a job names. Its content follows in pieces.
type file struct {
	Name string // without its folder
	Size int64  // bytes
}

// A piece of a file.
type piece struct{ Data []byte }

// A command is what the other side is asked for once it is ready.
type command struct{ Fire, Stop bool }

// An answer is what the other side says.
type answer struct {
	Failed    string // why it cannot go on; empty: it can
	Disturbed bool   // Failed is not the server's or the client's fault, see load.ErrDisturbed
	Ready     bool
	Done      int
	Result    *load.Result // what was finished, with Failed or without
}

// failure is the error that an answer tells of, or nil.
func (a answer) failure() error {
	switch {
	case a.Failed == "":
		return nil
	case a.Disturbed:
		return fmt.Errorf("the remote client %w: %s", load.ErrDisturbed, a.Failed)
	}
	return errors.New(a.Failed)
}

// A Client has its batches sent by other processes.
type Client struct {
	// Open starts a process that calls Serve where it reaches the URL of a job, and
	// returns the stream to it. Closing the stream ends the process. What ctx bounds is
	// the opening.
	Open func(ctx context.Context, url string) (io.ReadWriteCloser, error)

	// Make makes the image that the process runs from, once, and returns its content
	// address; empty: none is known. May be nil.
	Make func(ctx context.Context, progress func(string)) (digest string, err error)

	// Version is this program's. The other side refuses another.
	Version string
}

// Image implements load.Client.
func (c *Client) Image(ctx context.Context, progress func(string)) (string, error) {
	if c.Make == nil {
		return "", nil
	}
	return c.Make(ctx, progress)
}

// A line is a stream with its messages.
type line struct {
	io.Closer
	to   *gob.Encoder
	from *gob.Decoder
}

// ask opens a stream and tells the other side its task.
func (c *Client) ask(ctx context.Context, url string, t task, contents []content) (*line, error) {
	stream, err := c.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	l := &line{Closer: stream, to: gob.NewEncoder(stream), from: gob.NewDecoder(stream)}
	t.Version = c.Version
	unblock := context.AfterFunc(ctx, func() { stream.Close() })
	err = l.to.Encode(t)
	for _, content := range contents {
		if err == nil {
			err = content.send(l.to)
		}
	}
	if !unblock() {
		err = context.Cause(ctx)
	} else if err != nil {
		// What the other side said before it ended tells more than that it is gone.
		if said, read := l.next(); read == nil && said.failure() != nil {
			err = said.failure()
		}
	}
	if err != nil {
		stream.Close()
		return nil, err
	}
	return l, nil
}

// next waits for the next answer. A stream that ended says nothing about the server.
func (l *line) next() (answer, error) {
	var said answer
	if err := l.from.Decode(&said); err != nil {
		return answer{}, fmt.Errorf("the remote client %w: its stream ended (%w)", load.ErrDisturbed, err)
	}
	return said, nil
}
