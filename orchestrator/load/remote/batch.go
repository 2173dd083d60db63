package remote

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"stackmeter/orchestrator/load"
)

// stopGrace is how long the other side has for the result of a batch that was told to
// stop.
const stopGrace = 5 * time.Second

// Prepare implements load.Client. The other side gets the files that the job names. The
// cores of this machine are none of its.
func (c *Client) Prepare(ctx context.Context, job load.Job) (load.Batch, error) {
	job.Cores = nil
	contents, err := contentsOf(job)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(job)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", job.Load.Name(), err)
	}
	t := task{Job: text}
	for _, content := range contents {
		t.Files = append(t.Files, content.file)
	}
	l, err := c.ask(ctx, job.URL, t, contents)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", job.Load.Name(), err)
	}
	unblock := context.AfterFunc(ctx, func() { l.Close() })
	said, err := l.next()
	if !unblock() {
		err = context.Cause(ctx)
	} else if err == nil {
		err = said.failure()
	}
	if err == nil && !said.Ready {
		err = errors.New("the remote client said something else than that it is ready")
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("prepare %s: %w", job.Load.Name(), err)
	}
	return &batch{line: l, requests: job.Load.Requests}, nil
}

// A batch is one that the other side has prepared.
type batch struct {
	*line
	requests int
	done     atomic.Int64
	closing  sync.Once
	closed   error
}

// Done implements load.Batch. It is a quarter of a second behind.
func (b *batch) Done() int { return int(b.done.Load()) }

// Close implements load.Batch.
func (b *batch) Close() error {
	b.closing.Do(func() { b.closed = b.line.Close() })
	return b.closed
}

// Fire implements load.Batch. The duration is the other side's own: how long the
// stream takes is not in it.
func (b *batch) Fire(ctx context.Context) (load.Result, error) {
	none := load.Result{Requests: b.requests}
	if err := b.to.Encode(command{Fire: true}); err != nil {
		return none, fmt.Errorf("the remote client %w: it could not be told to begin (%w)", load.ErrDisturbed, err)
	}
	ended := make(chan struct{})
	var stopping sync.WaitGroup
	stopping.Go(func() {
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		// What cannot be told has gone, and the reading below sees that.
		_ = b.to.Encode(command{Stop: true})
		select {
		case <-ended:
		case <-time.After(stopGrace):
			b.Close()
		}
	})
	result, err := b.result()
	close(ended)
	stopping.Wait()
	if result == nil {
		result = &none
	}
	b.done.Store(int64(result.Replies + result.Errors))
	if ctx.Err() != nil && err != nil {
		err = ctx.Err()
	}
	return *result, err
}

// result waits for the end of the batch.
func (b *batch) result() (*load.Result, error) {
	for {
		said, err := b.next()
		if err != nil {
			return nil, err
		}
		b.done.Store(int64(said.Done))
		if said.Result != nil || said.Failed != "" {
			return said.Result, said.failure()
		}
	}
}

// A content is a file on its way to the other side.
type content struct {
	file
	open func() (io.ReadCloser, error)
}

// contentsOf are the files that a job names: the payloads, then the authorities that it
// trusts.
func contentsOf(job load.Job) ([]content, error) {
	names := job.Request.Files()
	if job.Request.TLS != nil && job.Request.TLS.CA != "" {
		names = append(names[:len(names):len(names)], job.Request.TLS.CA)
	}
	var all []content
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("request: %w", err)
		}
		all = append(all, content{file{filepath.Base(name), info.Size()}, func() (io.ReadCloser, error) { return os.Open(name) }})
	}
	return all, nil
}

// send sends a file. One that has become shorter since is an error here, one that has
// become longer is sent as it was.
func (c content) send(to *gob.Encoder) error {
	from, err := c.open()
	if err != nil {
		return fmt.Errorf("request: %w", err)
	}
	defer from.Close()
	buffer := make([]byte, pieceSize)
	for left := c.Size; left > 0; {
		n, err := io.ReadFull(from, buffer[:min(left, pieceSize)])
		if err != nil {
			return fmt.Errorf("request: %s: %w: it was changed while it was read", c.Name, err)
		}
		if err := to.Encode(piece{bytes.Clone(buffer[:n])}); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}
