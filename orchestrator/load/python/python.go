// Package python is the load engine python-requests: Python's requests with a
// process pool or a thread pool, as many people would write it. Package load
// counts what it measures, as it does for every engine, so that engines can be
// compared.
//
// The client is one Python program, client.py. A Launcher starts it as a process
// of this machine (Local) or in a container beside the stack. The batch talks to
// the program over its standard streams and shares nothing else with it.
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
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/wire"
)

//go:embed client.py
var program []byte

// Argv is the command that reads the program from its standard input and runs
// it. Python's isolated mode (-I) keeps the working folder and the environment
// from deciding what is imported.
func Argv(python string) []string {
	return []string{python, "-I", "-c", fmt.Sprintf(
		"import sys; exec(compile(sys.stdin.buffer.read(%d), 'stackmeter-client.py', 'exec'))", len(program))}
}

// A Launcher starts the client's program.
type Launcher interface {
	// Image does what load.Client's Image does.
	Image(ctx context.Context, progress func(string)) (digest string, err error)

	// Launch starts Argv in a place that reaches the server at the URL. On error
	// it leaves nothing behind. When ctx ends later, the process goes on.
	Launch(ctx context.Context, url string) (Process, error)
}

// A Process is a started program.
type Process interface {
	// URL is the server's URL as seen from the process.
	URL() string

	// Write writes to its standard input, and CloseWrite ends that.
	io.Writer
	CloseWrite() error

	// Read reads its standard output.
	io.Reader

	// Wait returns when nothing of the process is left. Its error says how a
	// process that failed has ended, with the tail of its standard error. Read
	// standard output to its end first. Call Wait once.
	Wait() error

	// Kill ends it at once. It may be called more than once and is safe for
	// concurrent use.
	Kill()
}

// A Client prepares batches that Python's requests send.
type Client struct {
	Launcher Launcher
	images   load.Images
	silence  time.Duration // as a batch has it; 0: longestSilence
}

const (
	startLimit     = 2 * time.Minute // until the program is ready
	stopGrace      = 2 * time.Second // for its tally after it was stopped, and to end after it closed its output
	longestSilence = 20 * time.Second
)

// A task is what the program is told to do. The payloads' bytes follow it, then
// the schedule: for each request, the nanoseconds after the gun as a 64-bit
// little-endian number.
type task struct {
	URL       string            `json:"url"`
	Method    string            `json:"method"`
	Headers   map[string]string `json:"headers"`
	Field     string            `json:"field"`  // of the multipart form; empty for a raw body
	Status    int               `json:"status"` // expected; 0 for any 2xx
	Timeout   time.Duration     `json:"timeout_ns"`
	KeepAlive bool              `json:"keepalive"`
	MaxBody   int64             `json:"max_body"`
	Quoted    int               `json:"quoted"` // bytes of the body of an error's answer
	GiveUp    int               `json:"give_up"`
	MaxErrors *int              `json:"max_errors"` // beyond it no other request is sent; nil: no limit
	Draw      *uint64           `json:"draw"`       // the seed that payloads are drawn by; nil: they are cycled through
	Requests  int               `json:"requests"`
	Client    string            `json:"client"`
	Clients   int               `json:"clients"`
	Cores     []int             `json:"cores"`      // that all processes are held to; empty: any
	Judged    bool              `json:"judged"`     // the batch judges answers
	ByPayload bool              `json:"by_payload"` // it judges the same answer once for each payload
	Scheduled bool              `json:"scheduled"`  // the schedule follows the payloads
	Payloads  []payload         `json:"payloads"`
}

type payload struct {
	Name        string `json:"name"`
	ContentType string `json:"content_type"`
	Size        int    `json:"size"`
}

// Image implements load.Client.
func (c *Client) Image(ctx context.Context, progress func(string)) (string, error) {
	return c.Launcher.Image(ctx, progress)
}

// Prepare implements load.Client. It reads or generates the payloads and starts
// the program, which then has them in memory and a pool that waits. Nothing is
// connected yet.
func (c *Client) Prepare(ctx context.Context, job load.Job) (load.Batch, error) {
	b, err := c.prepare(ctx, job)
	if err != nil {
		return nil, fmt.Errorf("prepare %s with python-requests: %w", job.Load.Name(), err)
	}
	return b, nil
}

func (c *Client) prepare(ctx context.Context, job load.Job) (*batch, error) {
	t, payloads, err := newTask(ctx, job, &c.images)
	if err != nil {
		return nil, err
	}
	b := &batch{
		asked: load.Account{Requests: t.Requests, Open: t.Client == scenarios.ClientOpen, UsableCores: 1, Hand: load.HandChunks},
		cores: t.Cores, silence: cmp.Or(c.silence, longestSilence), distinct: max(1, len(payloads)), verdicts: map[int32]*load.Failure{},
		ready: make(chan struct{}), finished: make(chan struct{}),
	}
	if b.asked.Open {
		b.offsets = load.Offsets(job.Load, job.Seed)
		t.Scheduled = b.offsets != nil
	}
	if b.checker, err = newChecker(job.Request, payloads); err != nil {
		return nil, err
	}
	t.Judged, t.ByPayload = b.checker.WantsBody(), job.Request.Expect.BodyDigest == expect.DigestSame
	process, err := c.Launcher.Launch(ctx, job.URL)
	if err != nil {
		return nil, err
	}
	b.process = process
	switch t.Client {
	case scenarios.ClientSingle, scenarios.ClientOpen:
		b.asked.Hand = load.HandNext
	case scenarios.ClientMP:
		b.asked.UsableCores = min(t.Clients, runtime.NumCPU())
		if len(t.Cores) > 0 {
			b.asked.UsableCores = min(t.Clients, len(t.Cores))
		}
	}
	go b.follow()
	t.URL = process.URL() + cmp.Or(job.Request.Path, "/")
	if err := b.tell(ctx, t, payloads); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// newTask puts a job into the program's words, except for the URL.
func newTask(ctx context.Context, job load.Job, drawn *load.Images) (task, []load.Content, error) {
	l, r := job.Load, job.Request
	u, err := url.Parse(job.URL)
	if err != nil {
		return task{}, nil, fmt.Errorf("URL %q: %w", job.URL, err)
	}
	if _, err := load.Addresses(ctx, u); err != nil {
		return task{}, nil, err
	}
	headers := map[string]string{}
	if host := load.HostHeader(u); host != u.Host {
		headers["Host"] = host // Python may send the zone
	}
	for name, value := range r.Headers {
		headers[http.CanonicalHeaderKey(name)] = value
	}
	t := task{
		Method: cmp.Or(r.Method, http.MethodGet), Headers: headers, Status: r.Expect.Status,
		Timeout: job.Timeout(), KeepAlive: l.KeepAlive, MaxBody: load.MaxBody, Quoted: load.QuotedBody, GiveUp: job.GiveUp,
		Requests: l.Requests, Client: l.Client, Clients: max(1, l.Pool), Cores: job.Cores,
	}
	if r.Multipart != nil {
		t.Field = r.Multipart.Field
	}
	payloads, err := load.ReadPayloads(r, drawn)
	if err != nil {
		return task{}, nil, err
	}
	if limit := r.MaxErrors; limit != nil {
		allowed := limit.Allowed(l.Requests)
		t.MaxErrors = &allowed
	}
	if r.Pick == wire.PickRandom {
		t.Draw = &job.Seed
	} else {
		payloads = payloads[:min(len(payloads), l.Requests)]
	}
	for _, p := range payloads {
		t.Payloads = append(t.Payloads, payload{Name: p.Name, ContentType: p.ContentType, Size: len(p.Data)})
	}
	return t, payloads, nil
}

// newChecker judges answers by the rules that hold for every engine. It keeps the
// digests of first answers in this process, which judges all of them.
func newChecker(request wire.Request, payloads []load.Content) (*load.Checker, error) {
	digests := make([]atomic.Uint64, max(1, len(payloads)))
	return load.NewChecker(request, func(i int) (*atomic.Uint64, string) {
		if len(payloads) == 0 {
			return &digests[i], ""
		}
		return &digests[i], payloads[i].Name
	})
}
