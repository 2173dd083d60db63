//go:build linux

// Package native is stackmeter's own HTTP engine. Its clients run in processes of
// their own, started from the same program. Each process is one event loop on one
// thread, over prepared bytes and plain sockets. The engine needs Linux.
package native

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

// A Client prepares batches. Its zero value is ready for use in a program that runs
// Worker when its first argument is WorkerArgument.
//
// The clients of a batch always run in processes of their own. Those of single, mt
// and open share one process. So the orchestrator's own work (sampling, progress
// bars, garbage collection) neither delays them nor counts as their CPU time. The
// processes share one copy of the requests' bytes.
type Client struct {
	images  load.Images
	command []string // the argv of a client process; empty: this program with WorkerArgument
}

// Image returns nothing: the clients are processes of this program.
func (*Client) Image(context.Context, func(string)) (string, error) { return "", nil }

// Prepare implements load.Client. It resolves the server's name, builds every
// distinct request, and starts the client processes. Nothing is connected yet. If
// the load's rate has to be found, the Batch is a search that fires as many batches
// as it takes.
func (c *Client) Prepare(ctx context.Context, job load.Job) (load.Batch, error) {
	if job.Load.Searches() {
		return c.prepareSearch(ctx, job)
	}
	b, err := c.prepareBatch(ctx, job)
	if err != nil {
		return nil, err // b would make it a Batch that is not nil
	}
	return b, nil
}

// prepareBatch prepares one batch, of a load whose rate is given if it has one.
func (c *Client) prepareBatch(ctx context.Context, job load.Job) (*batch, error) {
	if os.Getenv(workerMark) != "" {
		return nil, errors.New("prepare a batch: this is a load worker itself; its program has to call native.Worker")
	}
	form := formationOf(job.Load)
	if err := form.checkFiles(); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", job.Load.Name(), err)
	}
	to, err := resolve(ctx, job.URL)
	if err != nil {
		return nil, err
	}
	source := load.Payloads(job.Request, &c.images)
	a, err := newArena(form.processes, max(1, distinct(job, source)))
	if err != nil {
		return nil, err
	}
	b := &batch{requests: job.Load.Requests, formation: form, arena: a, clock: newClock()}
	if err := b.prepare(ctx, c, job, to, source); err != nil {
		b.Close()
		return nil, fmt.Errorf("prepare %s: %w", job.Load.Name(), err)
	}
	return b, nil
}

// A formation is how the clients of a load are placed.
type formation struct {
	processes int
	each      int // clients of a process
	hand      string
	open      bool  // the clients do not wait for each other's answers; each is how many there may be
	cpus      []int // that the clients are held to
}

// cores is how many cores the clients can use at most. Each process uses one at a
// time.
func (f formation) cores() int {
	there := runtime.GOMAXPROCS(0)
	if len(f.cpus) > 0 {
		there = min(there, len(f.cpus))
	}
	return min(f.processes, there)
}

// formationOf places a load's clients.
func formationOf(l scenarios.LoadSpec) formation {
	f := formation{processes: 1, each: max(1, l.Pool), hand: load.HandNext, open: l.Client == scenarios.ClientOpen}
	if l.Client == scenarios.ClientMP {
		f.processes, f.each, f.hand = l.Pool, 1, load.HandSplit
	}
	return f
}

// prepare fills the arena and starts the clients.
func (b *batch) prepare(ctx context.Context, c *Client, job load.Job, to target, source load.Source) error {
	if err := b.build(ctx, job, to, source); err != nil {
		return err
	}
	b.cpus = job.Cores
	// The payloads are in the arena.
	job.Request.Multipart, job.Request.Body, job.Request.JSON = nil, nil, nil
	var secure *wire.TLS
	if to.secure {
		secure = new(wire.TLS)
		if job.Request.TLS != nil {
			*secure = *job.Request.TLS
		}
		secure.ServerName = cmp.Or(secure.ServerName, to.name)
		b.insecure = secure.Insecure
		if _, err := secure.Config(); err != nil {
			return err
		}
	}
	job.Request.TLS = secure
	argv := c.command
	if len(argv) == 0 {
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program to start it as a client process: %w", err)
		}
		argv = []string{program, WorkerArgument}
	}
	return b.startProcesses(ctx, argv, task{
		Job: job, Peer: to.peer, Socket: to.socket, Clients: b.each, Processes: b.processes, Requests: b.arena.spans,
	})
}

// distinct is how many payloads a job can send: all if they are drawn, otherwise no
// more than there are requests.
func distinct(job load.Job, source load.Source) int {
	if job.Request.Pick == wire.PickRandom {
		return source.Count
	}
	return min(source.Count, job.Load.Requests)
}

// build puts every distinct request into the arena.
func (b *batch) build(ctx context.Context, job load.Job, to target, source load.Source) error {
	builder := newRequestBuilder(to.host, job.Request, job.Load.KeepAlive)
	if source.Count == 0 {
		bare := builder.bare()
		return b.arena.add("", int64(len(bare)), bytes.NewReader(bare))
	}
	for i := range distinct(job, source) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		payload, err := source.Payload(i)
		if err != nil {
			return err
		}
		if err := b.store(builder, payload); err != nil {
			return fmt.Errorf("%s: %w", payload.Name, err)
		}
	}
	// The kernel does not have to write while the batch is measured.
	if err := b.arena.file.Sync(); err != nil {
		return fmt.Errorf("store the batch's requests on disk: %w", err)
	}
	return nil
}

// store puts the request with a payload into the arena.
func (b *batch) store(builder *requestBuilder, payload load.Payload) error {
	before, after, err := builder.with(payload)
	if err != nil {
		return err
	}
	content, err := payload.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	size := int64(len(before)) + payload.Size + int64(len(after))
	return b.arena.add(payload.Name, size, io.MultiReader(bytes.NewReader(before), content, bytes.NewReader(after)))
}

// Open files of a batch.
const (
	filesOfProcess = 4  // of a client process, here: its three pipes, and what waits for its end
	filesBeside    = 64 // of everything else in a process: the standard ones, the arena, the gun, the poller, the runtime's
)

// checkFiles refuses clients that need more open files than a process may have. They
// would fail within the batch.
func (f formation) checkFiles() error {
	var limit unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) // fails for bad arguments only: getrlimit(2)
	here, each := f.processes*filesOfProcess+filesBeside, f.each+filesBeside
	// Go raises the soft limit to the hard one when a program starts.
	if need := max(here, each); uint64(need) > limit.Max {
		return fmt.Errorf("%d clients need up to %d open files in one process, and its hard limit is %d; "+
			"raise it (ulimit -Hn %d, or LimitNOFILE= of the unit), or use a smaller pool", f.processes*f.each, need, limit.Max, need)
	}
	return nil
}
