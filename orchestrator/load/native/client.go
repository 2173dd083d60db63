//go:build linux

// Package native is stackmeter's own HTTP engine. Its clients run in processes
// of their own, started from the same program: one event loop on one thread each,
// over prepared bytes and plain sockets. It runs on Linux.
package native

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// A Client prepares batches. Its zero value is ready in a program that runs
// Worker when its first argument is load-worker.
//
// The clients of a batch always run in processes of their own, also those of
// single and mt, which share one. The orchestrator's own work meanwhile
// (sampling, progress bars, garbage collection) then neither delays them nor
// counts as their CPU time. The processes share one copy of the requests' bytes.
type Client struct {
	// Command is the argv of a client process; the program itself with the
	// argument load-worker when empty.
	Command []string
}

// Image returns nothing: the clients are processes of this program.
func (*Client) Image(context.Context, func(string)) (string, error) { return "", nil }

// Prepare implements load.Client. For a load whose rate has to be found, the
// Batch is a search, which fires as many batches as it takes.
func (c *Client) Prepare(ctx context.Context, job load.Job) (load.Batch, error) {
	var b load.Batch
	var err error
	if job.Load.Searches() {
		b, err = c.prepareSearch(ctx, job)
	} else {
		b, err = c.prepareBatch(ctx, job)
	}
	if err != nil {
		return nil, err // b may hold a nil pointer
	}
	return b, nil
}

// prepareBatch does everything that comes before the gun: the server's name is
// resolved, the payloads are read or generated, every distinct request is
// built, the client processes are started and have said that they are ready.
// Nothing is connected yet. Close the batch, fired or not. When ctx
// ends, so does Prepare, and nothing is left.
func (c *Client) prepareBatch(ctx context.Context, job load.Job) (*batch, error) {
	if os.Getenv(workerMark) != "" {
		return nil, errors.New("prepare a batch: this is a load worker itself; its program has to call load.Worker")
	}
	if job.Load.Searches() {
		return nil, fmt.Errorf("prepare %s: a rate is searched by prepareSearch", job.Load.Name())
	}
	form, err := formationOf(job.Load)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", job.Load.Name(), err)
	}
	files, err := fileLimit()
	if err != nil {
		return nil, err
	}
	if err := form.checkFiles(files); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", job.Load.Name(), err)
	}
	clock, err := newClock()
	if err != nil {
		return nil, err
	}
	to, err := resolve(ctx, job.URL)
	if err != nil {
		return nil, err
	}
	source, err := load.Payloads(job.Request)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", job.Load.Name(), err)
	}
	a, err := newArena(form.processes, max(1, distinct(job, source)))
	if err != nil {
		return nil, err
	}
	b := &batch{requests: job.Load.Requests, formation: form, arena: a, clock: clock}
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
	open      bool // the clients do not wait for each other's answers; each is how many there may be
	cpus      []int
}

// cores is how many cores the clients can use at most. Every client process
// is one thread.
func (f formation) cores() int {
	there := runtime.GOMAXPROCS(0)
	if len(f.cpus) > 0 {
		there = min(there, len(f.cpus))
	}
	return min(f.processes, there)
}

// formationOf places the clients of a load that can be sent.
func formationOf(l scenarios.LoadSpec) (formation, error) {
	if err := l.Check(); err != nil {
		return formation{}, err
	}
	if l.Client != scenarios.ClientMP {
		return formation{processes: 1, each: max(1, l.Pool), hand: load.HandNext, open: l.Client == scenarios.ClientOpen}, nil
	}
	return formation{processes: l.Pool, each: 1, hand: load.HandSplit}, nil
}

// prepare fills the arena and starts the clients.
func (b *batch) prepare(ctx context.Context, c *Client, job load.Job, to target, source load.Source) error {
	if err := b.build(ctx, job, to, source); err != nil {
		return err
	}
	b.cpus = job.Cores
	o := task{
		Peer: to.peer, Socket: to.socket, Method: cmp.Or(job.Request.Method, http.MethodGet), Expect: job.Request.Expect,
		Cores: job.Cores, Timeout: job.Timeout(), KeepAlive: job.Load.KeepAlive, GiveUp: job.GiveUp,
		Clients: b.each, Last: b.requests, Processes: b.processes, Requests: b.arena.spans,
	}
	if to.secure {
		o.TLS = new(scenarios.TLS)
		if job.Request.TLS != nil {
			*o.TLS = *job.Request.TLS
		}
		o.TLS.ServerName = cmp.Or(o.TLS.ServerName, to.name)
		b.insecure = o.TLS.Insecure
		if _, err := o.TLS.Config(); err != nil {
			return err
		}
	}
	if limit := job.Request.MaxErrors; limit != nil {
		allowed := limit.Allowed(b.requests)
		o.MaxErrors = &allowed
	}
	if job.Request.Pick == scenarios.PickRandom {
		o.Draw = &job.Seed
	}
	if b.open {
		o.Schedule = &schedule{Rate: job.Load.Rate, Arrivals: job.Load.Arrivals, Seed: job.Seed}
	}
	argv := c.Command
	if len(argv) == 0 {
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program to start it as a client process: %w", err)
		}
		argv = []string{program, WorkerArgument}
	}
	return b.startProcesses(ctx, argv, o)
}

// distinct is how many payloads a job can send: all of them where they are
// drawn, otherwise no more than there are requests.
func distinct(job load.Job, source load.Source) int {
	if job.Request.Pick == scenarios.PickRandom {
		return source.Count
	}
	return min(source.Count, job.Load.Requests)
}

// build puts every distinct request into the arena.
func (b *batch) build(ctx context.Context, job load.Job, to target, source load.Source) error {
	builder, err := newRequestBuilder(to.host, job.Request, job.Load.KeepAlive)
	if err != nil {
		return err
	}
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
	return b.arena.settle()
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
	filesOfProcess = 4  // of a client process here: its three pipes, and what waits for its end
	filesBeside    = 64 // of what else a process has open: the standard ones, the arena, the gun, the poller, and the runtime's
)

// checkFiles refuses clients for which a process could not open its files. They
// would fail amid the batch, and count as the server's errors. limit is how many
// a process may have open.
func (f formation) checkFiles(limit uint64) error {
	here, each := f.processes*filesOfProcess+filesBeside, f.each+filesBeside
	if need := max(here, each); uint64(need) > limit {
		return fmt.Errorf("%d clients need up to %d open files in one process, and its hard limit is %d; "+
			"raise it (ulimit -Hn %d, or LimitNOFILE= of the unit), or use a smaller pool", f.processes*f.each, need, limit, need)
	}
	return nil
}

// fileLimit is how many files a process of this user may have open: the hard
// limit, up to which Go raises the soft one when it starts.
func fileLimit() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	return uint64(limit.Max), nil // it is signed on some systems
}
