// Package python is the load client of the engine python-requests: Python's
// requests with a process pool or a thread pool, as many people would write
// it. What it measures is counted and recorded as that of package load, so
// that the two can be compared.
//
// The client is one Python program, client.py, which a Launcher starts: as a
// process of this machine (Local), or in a container beside the stack. Batch
// and program talk over the program's standard streams and share nothing else.
package python

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"sync/atomic"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// HandChunks is how a pool of Python's multiprocessing hands its requests out,
// in both of its kinds: pieces of a quarter of each client's share, rounded up,
// to whoever is free.
const HandChunks = "chunks"

//go:embed client.py
var program []byte

// Argv is the command that reads the program from its standard input and runs
// it. In Python's isolated mode neither the folder it runs in nor the
// environment decides what is imported.
func Argv(python string) []string {
	return []string{python, "-I", "-c", fmt.Sprintf(
		"import sys; exec(compile(sys.stdin.buffer.read(%d), 'stackmeter-client.py', 'exec'))", len(program))}
}

// A Launcher starts the client's program.
type Launcher interface {
	// Image makes the image that Launch starts and returns its content
	// address; empty where it starts none. It may be called again and then
	// costs little. What it is doing is told to progress, a line at a time.
	Image(ctx context.Context, progress func(string)) (digest string, err error)

	// Launch starts Argv somewhere from where the server at the URL can be
	// reached. On error it leaves nothing behind. When ctx ends later, the
	// process goes on.
	Launch(ctx context.Context, url string) (Process, error)
}

// A Process is a started program.
type Process interface {
	// URL is what the server is called where the process runs.
	URL() string

	// Write writes to its standard input, and CloseWrite ends that.
	io.Writer
	CloseWrite() error

	// Read reads its standard output.
	io.Reader

	// Wait returns when nothing of the process is left. Its error says how it
	// ended, unless that was well, and has the tail of its standard error.
	// Standard output has to be read to its end before. It is called once.
	Wait() error

	// Kill ends it at once. It may be called more than once, and from any
	// goroutine.
	Kill()
}

// A Client prepares batches that Python's requests sends.
type Client struct {
	Launcher Launcher
}

// Defaults and bounds, where a job says nothing.
const (
	timeoutDefault = 60 * time.Second
	startLimit     = 2 * time.Minute // until the program is ready
	stopGrace      = 2 * time.Second // for its report after it was stopped
)

// A task is what the program is told to do. After it come the payloads'
// bytes, then the schedule: of each request the nanoseconds after the gun, as
// 64-bit numbers, little-endian.
type task struct {
	URL       string            `json:"url"`
	Method    string            `json:"method"`
	Headers   map[string]string `json:"headers"`
	Field     string            `json:"field"`  // of the multipart form; empty for a raw body
	Status    int               `json:"status"` // expected; 0 for any 2xx
	Timeout   time.Duration     `json:"timeout_ns"`
	KeepAlive bool              `json:"keepalive"`
	MaxBody   int64             `json:"max_body"`
	GiveUp    int               `json:"give_up"`
	MaxErrors *int              `json:"max_errors"` // with more, no other request is sent; none: no limit
	Draw      *uint64           `json:"draw"`       // the seed that payloads are drawn by; none: they are cycled through
	Requests  int               `json:"requests"`
	Client    string            `json:"client"`
	Clients   int               `json:"clients"`
	Cores     []int             `json:"cores"`      // that all processes are held to; none: any
	Judged    bool              `json:"judged"`     // answers are handed over to be judged
	ByPayload bool              `json:"by_payload"` // the same answer to another payload is another one
	Scheduled bool              `json:"scheduled"`  // the moments of all requests follow the payloads
	Payloads  []payload         `json:"payloads"`
}

type payload struct {
	Name        string `json:"name"`
	ContentType string `json:"content_type"`
	Size        int    `json:"size"`
}

// Image makes the image of the client's container, if it has one.
func (c *Client) Image(ctx context.Context, progress func(string)) (string, error) {
	return c.Launcher.Image(ctx, progress)
}

// Prepare does everything that comes before the gun: the payloads are read or
// generated, the program is started, has them in memory and its pool is
// waiting. Nothing is connected yet. The batch has to be closed, fired or not.
// When ctx ends, so does Prepare, and nothing is left.
func (c *Client) Prepare(ctx context.Context, job load.Job) (load.Batch, error) {
	b, err := c.prepare(ctx, job)
	if err != nil {
		return nil, fmt.Errorf("prepare %s with python-requests: %w", job.Load.Name(), err)
	}
	return b, nil
}

func (c *Client) prepare(ctx context.Context, job load.Job) (*batch, error) {
	o, payloads, err := c.task(job)
	if err != nil {
		return nil, err
	}
	b := &batch{
		requests: o.Requests, open: o.Client == scenarios.ClientOpen, cores: 1, hand: HandChunks, cpus: o.Cores,
		distinct: max(1, len(payloads)), verdicts: map[int32]verdict{},
		ready: make(chan struct{}), finished: make(chan struct{}),
	}
	if b.open {
		b.offsets = load.Offsets(job.Load, job.Seed)
		o.Scheduled = b.offsets != nil
	}
	if b.checker, err = newChecker(job.Request.Expect, payloads); err != nil {
		return nil, err
	}
	o.Judged, o.ByPayload = b.checker.WantsBody(), job.Request.Expect.BodyDigest == scenarios.DigestSame
	process, err := c.Launcher.Launch(ctx, job.URL)
	if err != nil {
		return nil, err
	}
	b.process = process
	switch o.Client {
	case scenarios.ClientSingle, scenarios.ClientOpen:
		b.hand = load.HandNext
	case scenarios.ClientMP:
		b.cores = min(o.Clients, runtime.NumCPU())
		if len(o.Cores) > 0 {
			b.cores = min(o.Clients, len(o.Cores))
		}
	}
	go b.follow()
	o.URL = process.URL() + cmp.Or(job.Request.Path, "/")
	if err := b.tell(ctx, o, payloads); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// order checks a job and says it in the program's words. The URL is still
// missing.
func (c *Client) task(job load.Job) (task, []load.Content, error) {
	l, r := job.Load, job.Request
	if err := Check(r, l); err != nil {
		return task{}, nil, err
	}
	switch u, err := url.Parse(job.URL); {
	case err != nil:
		return task{}, nil, fmt.Errorf("URL %q: %w", job.URL, err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return task{}, nil, fmt.Errorf("URL %q: this engine needs http://HOST:PORT or https://HOST:PORT", job.URL)
	}
	o := task{
		Method: cmp.Or(r.Method, http.MethodGet), Headers: r.Headers, Status: r.Expect.Status,
		Timeout: r.Timeout, KeepAlive: l.KeepAlive, MaxBody: load.MaxBody, GiveUp: job.GiveUp,
		Requests: l.Requests, Client: l.Client, Clients: max(1, l.Pool), Cores: job.Cores,
	}
	if o.Timeout <= 0 {
		o.Timeout = timeoutDefault
	}
	if r.Multipart != nil {
		o.Field = r.Multipart.Field
	}
	payloads, err := load.ReadPayloads(r)
	if err != nil {
		return o, nil, err
	}
	if limit := r.MaxErrors; limit != nil {
		allowed := limit.Allowed(l.Requests)
		o.MaxErrors = &allowed
	}
	if r.Pick == scenarios.PickRandom {
		o.Draw = &job.Seed
	} else {
		payloads = payloads[:min(len(payloads), l.Requests)]
	}
	for _, p := range payloads {
		o.Payloads = append(o.Payloads, payload{Name: p.Name, ContentType: p.ContentType, Size: len(p.Data)})
	}
	return o, payloads, nil
}

// Check says what of a request or a load this engine cannot do; nil when it can
// send them. A scenario is checked for the same when it is read.
func Check(r scenarios.Request, l scenarios.LoadSpec) error {
	if reason := scenarios.NotForPython(r, l); reason != "" {
		return errors.New(reason)
	}
	if err := l.Check(); err != nil {
		return err
	}
	if r.Multipart != nil && r.Multipart.Field == "" {
		return errors.New("request: multipart: the field's name is empty")
	}
	return nil
}

// newChecker holds the answers to the same judgement as every engine's. The
// digests of first answers are this process's own: all clients' answers are
// judged here.
func newChecker(expect scenarios.Expect, payloads []load.Content) (*load.Checker, error) {
	digests := make([]atomic.Uint64, max(1, len(payloads)))
	return load.NewChecker(expect, func(i int) (*atomic.Uint64, string) {
		if len(payloads) == 0 {
			return &digests[i], ""
		}
		return &digests[i], payloads[i].Name
	})
}
