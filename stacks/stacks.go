// Package stacks says what a server stack is and what every runtime that can
// start one has to promise.
//
// A Spec is the plan of one stack: its services, in the order in which they
// start. Package stacks/servers makes it from a scenario's topology. A Runtime
// (stacks/docker, stacks/process, stacks/kubernetes, stacks/existing) turns a Spec into a running
// Stack. Every runtime passes the suite stackstest.
package stacks

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/container"
	"stackmeter/scenarios/show"
)

// ErrUnavailable marks an error that hits every topology of the scenario: the
// machine or the engine lacks something that was asked for. A run that gets it
// starts nothing.
var ErrUnavailable = errors.New("not available on this machine")

// ErrEnded marks an error of Stack.Check that says how a service ended. Any
// other error of Check is the runtime's own.
var ErrEnded = errors.New("ended")

// ErrLost marks an error of an engine that does not answer, is not there, or
// ended a stack by itself, for example because it was restarted. The stack is
// not to blame: what was measured meanwhile is void, and worth another try once
// Runtime.Check passes again.
var ErrLost = errors.New("the engine went away")

// ErrDisturbed marks an error of a stack that somebody else ended, halted or cut off
// a part of. The stack is not to blame.
var ErrDisturbed = errors.New("was disturbed from outside")

// ErrOutOfMemory marks the end of a service that the kernel killed at its
// memory limit.
var ErrOutOfMemory = errors.New("killed for memory (oom)")

// ErrDiffers marks a stack that is not what its topology asks for.
var ErrDiffers = errors.New("the stack is not what was asked for")

// Grace is how long a service has between SIGTERM and SIGKILL. An idle server
// that ends on SIGTERM needs less. A server that takes a second to end
// gracefully has nothing to lose by then, and over a night of trials that second
// would add up to an hour.
const Grace = 50 * time.Millisecond

// A Runtime starts stacks.
type Runtime interface {
	// Check reports whether the prerequisites are there. Its error says what
	// is missing and what to do about it.
	Check(ctx context.Context) error

	// Prepare makes or fetches what a stack of this spec needs (images,
	// programs) and refuses what this machine cannot do. It starts nothing.
	// It may be called again for the same spec, which then costs little. It
	// reports its progress a line at a time.
	Prepare(ctx context.Context, spec Spec, progress func(string)) error

	// Devices returns the devices, by UUID, that stacks which ask for them may
	// get; a run locks them. With none it says why, if the scenario would use
	// one. The error wraps ErrUnavailable when the scenario cannot have what it
	// asks for.
	Devices(ctx context.Context, want scenarios.GPU) (uuids []string, none string, err error)

	// Digest is the content address of the image that Prepare found or made
	// for a service; empty where there is none.
	Digest(s Service) string

	// Start starts the services. It returns once they have started; WaitReady
	// waits until they answer. On error it leaves nothing behind, also when ctx
	// was cancelled.
	Start(ctx context.Context, spec Spec) (Stack, error)

	// Sweep removes what the run left behind and returns the names of what it
	// removed. With an empty run it removes what belongs to runs whose process
	// is gone. It never touches anything else.
	Sweep(ctx context.Context, run string) (removed []string, err error)
}

// A Placer is a Runtime whose stacks get a machine and devices only when they start, and
// may have to wait until others leave them room.
type Placer interface {
	// Room says how many stacks of such needs there can be at once, each with its client.
	Room(ctx context.Context, needs scenarios.Resources, client scenarios.Client) (Room, error)

	// Patience is how long a start waits for room before it fails with ErrNoRoom.
	Patience() time.Duration

	// StartPlaced starts a stack as Start does, and tells how it gets its place.
	StartPlaced(ctx context.Context, spec Spec, p Placing) (Stack, error)
}

// ErrNoRoom marks an error of a stack for which others have left no room. The stack is not
// to blame.
var ErrNoRoom = errors.New("no room")

// A Room is how many stacks there can be at once.
type Room struct {
	Free int    // beside what others have now
	All  int    // without others; 0: not known, and neither is Free
	Why  string // what there is, and who has it
}

// A Placing is how a stack gets its place, and is told of it. Each of its functions may be
// nil.
type Placing struct {
	// Waits is called with the reason for which there is no room yet, whenever that
	// changes, and with none once there is.
	Waits func(why string)

	// Patience is how long the start waits for room, and no longer than Placer.Patience;
	// 0: that long.
	Patience time.Duration

	// Placed is called once a stack with GPUs has a machine, and before anything of it
	// runs there. Its error ends the start.
	Placed func(context.Context, Place) error
}

// A Place is where a stack will run.
type Place struct {
	Devices []string // by UUID
	Unseen  string   // why it is not known which

	// Agent starts a program of stackmeter's own on the machine and returns its standard
	// streams. Closing them removes it.
	Agent func(ctx context.Context) (io.ReadWriteCloser, error)
}

// A Stack is one running instance of a Spec.
type Stack interface {
	// URL is where the entry service listens: scheme, host and port.
	URL() string

	// Devices are those that the stack got, by UUID.
	Devices() []string

	// Check returns nil while every service runs. Otherwise its error names the
	// service, says how it ended, and wraps ErrEnded. It wraps ErrLost or
	// ErrDisturbed where that is known to be the cause, even when every service
	// runs again.
	Check(ctx context.Context) error

	// Inspect reads back what was really started.
	Inspect(ctx context.Context) (Facts, error)

	// Listening returns the address that {host}:{port} stands for in a service's
	// command, and those on which its processes listen for TCP connections. A socket of :: that
	// takes IPv4, too, is listed with both.
	Listening(ctx context.Context, service string) (asked netip.AddrPort, listens []netip.AddrPort, err error)

	// Dial connects to a service where it listens, past the proxy that is in front of it.
	// The stack has one.
	Dial(ctx context.Context, service string) (net.Conn, error)

	// Exec runs argv inside a service and returns both its outputs together. An
	// exit status other than 0 is an error that carries the end of the output, see
	// ExecFailed. More than MaxOutput bytes are ErrOutput. What is given up when ctx
	// ends is killed, where that can be done from here.
	Exec(ctx context.Context, service string, argv ...string) ([]byte, error)

	// Meter starts to measure what the stack uses. Only one meter of a stack
	// runs at a time.
	Meter(ctx context.Context) (Meter, error)

	// CPU is the CPU time that the stack has used so far, user and system. Unlike
	// Meter it samples nothing: it is for stacks that should be idle.
	CPU(ctx context.Context) (time.Duration, error)

	// Logs writes the end of each service's output, at most LogLines and
	// LogBytes of it, as WriteLogs does and without the lines of Spec.Probed. What
	// a service printed that has ended is there to its last line.
	Logs(ctx context.Context, w io.Writer) error

	// Stop removes the stack. It may be called more than once. Its error names
	// what could not be removed.
	Stop(ctx context.Context) error
}

// A Streamer is a Stack in which a command's output can be read while it runs: that of a
// machine where nothing else can look.
type Streamer interface {
	// Stream runs argv inside a service. Closing what it returns ends it, at its next
	// write at the latest; its reader gets the reason why the command could not run.
	Stream(ctx context.Context, service string, argv ...string) (io.ReadCloser, error)
}

// Bounds of what Stack.Logs writes of each service.
const (
	LogLines = 40
	LogBytes = 16 << 10
)

// A Log is the end of what a service printed.
type Log struct {
	Service string
	Ended   time.Time // zero while it runs
	Lines   []string
}

// WriteLogs writes the logs of a stack's services, which are given as in its spec,
// each line with its service in front. Those that ended last are last, and of these the
// one that ended first is at the very end: readers see the end of a log. Of those that
// run, the one that the client connects to says least.
func WriteLogs(w io.Writer, logs []Log) error {
	slices.Reverse(logs)
	slices.SortStableFunc(logs, func(a, b Log) int {
		if a.Ended.IsZero() || b.Ended.IsZero() {
			return a.Ended.Compare(b.Ended)
		}
		return b.Ended.Compare(a.Ended)
	})
	for _, one := range logs {
		for _, line := range one.Lines {
			if _, err := fmt.Fprintf(w, "%s | %s\n", one.Service, line); err != nil {
				return err
			}
		}
	}
	return nil
}

// Exited says how a service's first process ended: by its exit status, which is 128
// and a number where a signal ended it, as a shell has it. oom says that the kernel
// killed a process of the service for memory.
func Exited(status int, oom bool) error {
	text := fmt.Sprintf("exited with status %d", status)
	if n := status - 128; n > 0 && n <= 64 {
		text += fmt.Sprintf(", which is signal %d (%v)", n, syscall.Signal(n))
	}
	if oom {
		return fmt.Errorf("%w: it %s", ErrOutOfMemory, text)
	}
	return errors.New(text)
}

// Limits that every service has unless the scenario sets others: what has no end must
// not take the machine.
const (
	PIDsLimit = 4096                // its processes and threads
	FileLimit = container.FileLimit // bytes of one file; no scenario sets a higher one
)

// Abandon stops a stack whose start failed, within a limit and even if ctx has
// ended. It returns the failure with what was printed, and what could not be removed.
func Abandon(ctx context.Context, stack Stack, limit time.Duration, failed error) error {
	var printed bytes.Buffer
	if !errors.Is(failed, ErrLost) && ctx.Err() == nil && stack.Logs(ctx, &printed) == nil {
		failed = &StartError{Err: failed, Log: printed.String()}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if left := stack.Stop(ctx); left != nil {
		return fmt.Errorf("%w; and then: %w", failed, left)
	}
	return failed
}

// A StartError is the failure of a start of which something ran already, with what
// that printed: the stack is gone, and its logs with it.
type StartError struct {
	Err error
	Log string // as Stack.Logs writes it
}

func (e *StartError) Error() string { return e.Err.Error() }
func (e *StartError) Unwrap() error { return e.Err }

// RandomID returns an id for a stack that no other has.
func RandomID() string {
	var b [6]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// ExecFailed is the error of a command that exited with a status other than 0.
func ExecFailed(program, service string, status int, output []byte) error {
	var end show.Tail
	_, _ = end.Write(output)
	return fmt.Errorf("%s in service %s exited with status %d: %s", program, service, status, &end)
}

// MaxOutput bounds what Stack.Exec keeps of a command's output, in bytes.
const MaxOutput = 1 << 20

// ErrOutput is the error of a command that writes more than MaxOutput.
var ErrOutput = fmt.Errorf("it wrote more than %d bytes, and the rest was not read", MaxOutput)

// An Output keeps what a command inside a service writes, up to MaxOutput. The
// Write that exceeds this keeps what fits, calls Full with ErrOutput unless Full
// is nil, and returns ErrOutput.
type Output struct {
	Full func(error)

	text []byte
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	n := min(len(p), MaxOutput-len(o.text))
	o.text = append(o.text, p[:n]...)
	if n == len(p) {
		return n, nil
	}
	if o.Full != nil {
		o.Full(ErrOutput)
	}
	return n, ErrOutput
}

// Bytes returns what was kept.
func (o *Output) Bytes() []byte { return o.text }

// Facts are what a runtime reads back from a stack after it started.
type Facts struct {
	Route    string // one of the constants below
	GPU      string // which devices, or why there is none
	Apart    bool   // it runs on another machine than the client: what is seen of this one says nothing of it
	Services []ServiceFacts
	Devices  []Device // that it was given, where they are another machine's

	Node       string // of a cluster: where the stack is
	Cores      int    // of that: on which the services behind the proxy may run; 0: not known
	ClientNode string // where the client is that was started with it; empty: none was
	Beside     bool   // the two are the same, though nobody asked for that
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
	GPUs      []string  // UUIDs of the devices that it was given
	Processes []Process // the service's own first one leads
}

// A Process is one process of a service, with its ids as the host sees them.
type Process struct {
	PID     int
	Start   uint64 // when it started, in clock ticks since boot; 0: not known
	Parent  int
	Threads int    // threads of the operating system at this moment
	Signals uint64 // that it handles by functions of its own: bit n-1 is signal n, by Linux's numbers; 0: not known, or none
	Command string
}
