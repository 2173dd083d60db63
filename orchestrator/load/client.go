package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"

	"stackmeter/scenarios"
)

// A Client prepares batches. Its zero value is ready in a program that runs
// Worker when its first argument is load-worker.
//
// The clients of a batch always run in processes of their own, also those of
// single and mt, which share one: what the orchestrator does meanwhile
// (sampling, progress bars, garbage collection) neither delays them nor counts
// as their CPU time. The processes share one copy of the requests' bytes.
type Client struct {
	// Command is the argv of a client process; the program itself with the
	// argument load-worker when empty.
	Command []string
}

// Prepare does everything that comes before the gun: the server's name is
// resolved, the payloads are read or generated, every distinct request is
// built, the client processes are started and have said that they are ready.
// Nothing is connected yet. The batch has to be closed, fired or not. When ctx
// ends, so does Prepare, and nothing is left.
func (c *Client) Prepare(ctx context.Context, job Job) (*Batch, error) {
	if os.Getenv(workerMark) != "" {
		return nil, errors.New("prepare a batch: this is a load worker itself; its program has to call load.Worker")
	}
	if job.Load.Searches() {
		return nil, fmt.Errorf("prepare %s: a rate is searched by Client.Search", job.Load.Name())
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
	source, err := payloadsOf(job.Request)
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", job.Load.Name(), err)
	}
	a, err := newArena(form.processes, max(1, distinct(job, source)))
	if err != nil {
		return nil, err
	}
	b := &Batch{requests: job.Load.Requests, formation: form, arena: a, clock: clock}
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
		return formation{processes: 1, each: max(1, l.Pool), hand: HandNext, open: l.Client == scenarios.ClientOpen}, nil
	}
	return formation{processes: l.Pool, each: 1, hand: HandSplit}, nil
}

// prepare fills the arena and starts the clients.
func (b *Batch) prepare(ctx context.Context, c *Client, job Job, to target, source payloadSource) error {
	if err := b.build(ctx, job, to, source); err != nil {
		return err
	}
	b.cpus = job.Cores
	o := order{
		Peer: to.peer, Socket: to.socket, Method: firstOf(job.Request.Method, http.MethodGet), Expect: job.Request.Expect,
		Cores: job.Cores, Timeout: job.Request.Timeout, KeepAlive: job.Load.KeepAlive, GiveUp: job.GiveUp,
		Clients: b.each, Last: b.requests, Processes: b.processes, Requests: b.arena.spans,
	}
	if to.secure {
		o.TLS = new(scenarios.TLS)
		if job.Request.TLS != nil {
			*o.TLS = *job.Request.TLS
		}
		o.TLS.ServerName = firstOf(o.TLS.ServerName, to.name)
		b.insecure = o.TLS.Insecure
		if _, err := o.TLS.Config(); err != nil {
			return err
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = timeoutDefault
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
func distinct(job Job, source payloadSource) int {
	if job.Request.Pick == scenarios.PickRandom {
		return source.count
	}
	return min(source.count, job.Load.Requests)
}

// build puts every distinct request into the arena.
func (b *Batch) build(ctx context.Context, job Job, to target, source payloadSource) error {
	builder, err := newRequestBuilder(to.host, job.Request, job.Load.KeepAlive)
	if err != nil {
		return err
	}
	if source.count == 0 {
		bare := builder.bare()
		return b.arena.add("", int64(len(bare)), bytes.NewReader(bare))
	}
	for i := range distinct(job, source) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		payload, err := source.payload(i)
		if err != nil {
			return err
		}
		if err := b.store(builder, payload); err != nil {
			return fmt.Errorf("%s: %w", payload.name, err)
		}
	}
	return b.arena.settle()
}

// store puts the request with a payload into the arena.
func (b *Batch) store(builder *requestBuilder, payload unread) error {
	before, after, err := builder.with(payload)
	if err != nil {
		return err
	}
	content, err := payload.open()
	if err != nil {
		return err
	}
	defer content.Close()
	size := int64(len(before)) + payload.size + int64(len(after))
	return b.arena.add(payload.name, size, io.MultiReader(bytes.NewReader(before), content, bytes.NewReader(after)))
}
