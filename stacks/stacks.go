// Package stacks says what a server stack is and what every runtime that can
// start one has to promise.
//
// A Spec is the plan of one stack: its services, in the order in which they
// are started. Package stacks/servers makes it from a scenario's topology.
// A Runtime (stacks/docker, stacks/process, stacks/existing) turns a Spec into a
// running Stack, and stackstest is the suite that each of them passes.
package stacks

import (
	"context"
	"errors"
	"io"
	"time"

	"stackmeter/scenarios"
)

// ErrUnavailable marks an error that no topology of the scenario can survive:
// the machine or the engine lacks something that was asked for. A run that
// meets it starts nothing.
var ErrUnavailable = errors.New("not available on this machine")

// ErrEnded marks an error of Stack.Check that says how a service ended; any
// other error of it is the runtime's own.
var ErrEnded = errors.New("ended")

// ErrLost marks an error of an engine that does not answer, is not there, or
// ended a stack by itself, as when it is restarted. It says nothing about the
// stack: what was measured meanwhile is void, and worth another try once
// Runtime.Check passes again.
var ErrLost = errors.New("the engine went away")

// ErrStopped marks an error of a stack of which somebody stopped or removed a
// service through its engine. It says nothing about the stack either.
var ErrStopped = errors.New("was stopped from outside")

// ErrOutOfMemory marks the end of a service that the kernel killed at its
// memory limit.
var ErrOutOfMemory = errors.New("killed for memory (oom)")

// Grace is how long a service has between SIGTERM and SIGKILL. An idle server
// that ends on SIGTERM does so within it; gunicorn, which takes up to a second
// for a graceful end, has nothing to lose by then, and over a night of trials
// that second would be an hour.
const Grace = 50 * time.Millisecond

// ErrDiffers marks a stack that is not what its topology asks for.
var ErrDiffers = errors.New("the stack is not what was asked for")

// AppService is the name of the service that serves the app, where the scenario
// does not name the services itself.
const AppService = "app"

// Roles of a service: what reading it back has to find.
const (
	RoleApp   = "app"   // serves the user's application
	RoleNginx = "nginx" // stackmeter's own reverse proxy
	RoleOther = "other" // anything else in a custom set of services
)

// A Spec describes one stack. Its services start in order; the client
// connects to the last one.
type Spec struct {
	Run      string // the run that owns the stack; every object carries it as a label
	Name     string // the topology's name
	Topology scenarios.Topology
	Services []Service
	Ready    scenarios.Ready
	TLS      *scenarios.TLS // how to verify the entry's certificate; nil: it speaks plain HTTP
}

// Scheme is that of the stack's URL.
func (s Spec) Scheme() string {
	if s.TLS != nil {
		return "https"
	}
	return "http"
}

// Entry is the service that the client connects to.
func (s Spec) Entry() Service { return s.Services[len(s.Services)-1] }

// A Service is one process tree of a stack. In the stack's private network it
// is known by its Name.
type Service struct {
	Name    string
	Role    string
	Image   string           // a reference; empty when Build is set
	Build   *scenarios.Build // made by Runtime.Prepare
	Dir     string           // folder that a local process runs in; empty where only an image will do
	Venv    string           // virtual environment whose programs a local process finds first; may be empty
	Command []string         // argv with placeholders that Argv fills; empty: what the image says
	Module  string           // Python module that is the same program: python -m MODULE; empty for commands of the scenario's own
	WSGI    string           // module:callable that a command with a Module serves
	Env     map[string]string
	Port    int    // the TCP port it listens on, where the runtime leaves it the choice
	Proxy   *Proxy // nginx: what it stands in front of
	CPUs    float64
	Memory  int64 // bytes
	Cores   []int // of the machine, that it may use; any when empty
	GPUs    []string
	MPS     *scenarios.MPS // nil: without; set only where there are GPUs
}

// A Proxy says what an nginx service stands in front of.
type Proxy struct {
	Upstream string        // the service that it passes requests to
	Timeout  time.Duration // the request's time-out, from which nginx's own follow
}

// A Runtime starts stacks.
type Runtime interface {
	// Check reports whether the prerequisites are there. Its error says what
	// is missing and what to do about it.
	Check(ctx context.Context) error

	// Prepare makes or fetches what a stack of this spec needs (images,
	// programs) and refuses what this machine cannot do. It starts nothing
	// and may be called again for the same spec, which then costs little.
	// What it is doing is told to progress, a line at a time.
	Prepare(ctx context.Context, spec Spec, progress func(string)) error

	// Digest is the content address of the image that Prepare found or made
	// for a service; empty where there is none.
	Digest(s Service) string

	// Start starts the services. It returns when they have been started, not
	// when they answer: WaitReady does that. On error it leaves nothing
	// behind, also when ctx was cancelled.
	Start(ctx context.Context, spec Spec) (Stack, error)

	// Sweep removes what the run left behind and returns the names of what it
	// removed. With an empty run it removes what belongs to runs whose
	// process is gone. It never touches anything else.
	Sweep(ctx context.Context, run string) (removed []string, err error)
}

// A Stack is one running instance of a Spec.
type Stack interface {
	// URL is where the entry service listens: scheme, host and port.
	URL() string

	// Check returns nil while every service runs, and otherwise an error that
	// names the service and how it ended, and wraps ErrEnded. It wraps ErrLost
	// or ErrStopped where that is known to be why, also when every service runs
	// again.
	Check(ctx context.Context) error

	// Inspect reads back what was really started.
	Inspect(ctx context.Context) (Facts, error)

	// Exec runs argv inside a service and returns what it wrote to both of
	// its outputs. A status other than 0 is an error that carries the output;
	// more than MaxOutput bytes are ErrOutput.
	Exec(ctx context.Context, service string, argv ...string) ([]byte, error)

	// Meter starts to measure what the stack uses. Only one meter of a stack
	// runs at a time.
	Meter(ctx context.Context) (Meter, error)

	// Logs writes the end of each service's output, at most LogLines and
	// LogBytes of it, each line with its service in front.
	Logs(ctx context.Context, w io.Writer) error

	// Stop removes the stack. It may be called more than once, and when it
	// fails it names what it could not remove.
	Stop(ctx context.Context) error
}

// Bounds of what Stack.Logs writes of each service.
const (
	LogLines = 40
	LogBytes = 16 << 10
)

// A Meter measures a stack between Runtime.Meter and Stop.
type Meter interface {
	// Stop ends the measurement. It may be called more than once and then
	// returns the first result.
	Stop() Usage
}

// Usage is what a stack used while it was metered. A pointer is nil where
// nothing was measured; Reason then says why.
type Usage struct {
	Method     string         // how the memory was obtained
	Memory     *int64         // bytes: peak over the samples of the sum over the services, without page cache
	KernelPeak *int64         // bytes: the sum of the services' high-water marks that the kernel kept, page cache included
	Start      *int64         // bytes: Memory at the first sample
	CPU        *time.Duration // CPU time of all the services, user and system
	OOMKills   int            // processes of the stack that the kernel killed for memory
	Samples    int
	MaxGap     time.Duration // longest time between two samples
	Services   []ServiceUsage
	Series     []Sample // every sample, in the order of time: Memory is the largest of them
	Reason     string
}

// A Sample is the memory of a stack at one moment.
type Sample struct {
	At     time.Duration // since the metering began
	Memory *int64        // bytes: the sum over the services, without page cache; nil where one could not be read
}

// ServiceUsage is one service's part of a Usage.
type ServiceUsage struct {
	Service string
	Memory  *int64 // bytes: the service's own peak
	CPU     *time.Duration
}

// Facts are what a runtime reads back from a stack after it started.
type Facts struct {
	Route    string // one of the constants below
	GPU      string // which devices, or why there is none
	Services []ServiceFacts
}

// Routes from the client to a stack.
const (
	RouteDirect    = "direct"    // to the stack's own address
	RoutePublished = "published" // through a port published on 127.0.0.1, a proxy of the engine's in between
	RouteLoopback  = "loopback"  // a local process
	RouteGiven     = "given"     // to a URL that was given: what lies in between is not known
)

// ServiceFacts are the facts of one service.
type ServiceFacts struct {
	Service   string
	Container string    // the container's full id; empty for a local process
	Image     string    // the reference that was asked for
	Digest    string    // the image's content address; empty for a local process
	Processes []Process // the service's own first one leads
}

// A Process is one process of a service, with its ids as the host sees them.
type Process struct {
	PID     int
	Parent  int
	Threads int // threads of the operating system at this moment
	Command string
}
