// Package load is what a load client is asked and what it answers. It also has
// what all clients share: payloads, the schedule of an open loop, the judgement
// of answers, and how figures are counted. Packages native and python send.
//
// A Client prepares a Batch: its payloads are ready and its processes wait. A
// starting gun then fires it. The duration of a batch counts from the gun to the
// last reply, on the monotonic clock, so neither reading files nor starting
// processes is part of it.
package load

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

// A Job is one batch of requests to one URL.
type Job struct {
	URL     string // scheme (http or https), host and port; or http+unix:// and a socket's path
	Request wire.Request
	Load    scenarios.LoadSpec

	// GiveUp ends the batch early when nothing works: after this many errors, and
	// at least one for each client, without a single reply. 0: never.
	GiveUp int

	Seed  uint64 // of everything random: arrivals, and payloads with pick: random
	Cores []int  // that the client's processes may use; empty: all that this process may use
}

// HostHeader is what a request to a URL has as its Host. It has no zone, which means
// nothing outside this machine.
func HostHeader(u *url.URL) string {
	address, _, zoned := strings.Cut(u.Host, "%")
	if _, port, _ := strings.Cut(u.Host, "]"); zoned {
		return address + "]" + port
	}
	return u.Host
}

// Addresses are those of a URL's host.
func Addresses(ctx context.Context, u *url.URL) ([]netip.Addr, error) {
	if address, err := netip.ParseAddr(u.Hostname()); err == nil {
		return []netip.Addr{address}, nil
	}
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("URL %q: %w; look at its name, or write the server's address", u, err)
	}
	return addresses, nil
}

// Timeout is how long one request may take, from connecting to the answer's last
// byte.
func (j Job) Timeout() time.Duration { return cmp.Or(j.Request.Timeout, time.Minute) }

// A Client prepares batches of requests.
type Client interface {
	// Image makes the image that the client runs from and returns its content
	// address, or nothing if there is no image. It may be called again and then
	// costs little. It reports what it does to progress, a line at a time.
	Image(ctx context.Context, progress func(string)) (digest string, err error)

	// Prepare does everything that comes before the gun. Close the batch, fired
	// or not. If ctx ends first, Prepare fails and leaves nothing behind. When
	// ctx ends later, the batch goes on.
	Prepare(ctx context.Context, job Job) (Batch, error)
}

// A Batch is one cell's requests, ready to be sent.
type Batch interface {
	// Fire sends the requests and returns when the last reply or error is in. It
	// can be called once. If ctx ends first, Fire returns what was finished until
	// then, with ctx's error.
	Fire(ctx context.Context) (Result, error)

	// Done is how many replies and errors there are so far. It is safe for
	// concurrent use.
	Done() int

	// Close ends the client's processes and releases everything. It may be called
	// more than once. If Fire is running, it fails.
	Close() error
}

// ErrDisturbed marks the error of a batch of which somebody else ended or stopped a
// client process. What was measured until then says nothing about the server.
var ErrDisturbed = errors.New("was disturbed from outside")

// EndedFromOutside reports whether a client process was ended by a signal that none
// sends to itself. ended is what exec.Cmd's Wait returned.
func EndedFromOutside(ended error) bool {
	var exit *exec.ExitError
	if !errors.As(ended, &exit) {
		return false
	}
	switch status, _ := exit.Sys().(syscall.WaitStatus); status.Signal() {
	case syscall.SIGHUP, syscall.SIGINT, syscall.SIGKILL, syscall.SIGTERM:
		return true
	}
	return false
}

// MaxBody is the longest body of an answer, in bytes. A longer one is an error of
// kind protocol, so that no server can hold a client for ever.
const MaxBody = 64 << 20

// How requests are handed to the clients of a batch.
const (
	HandNext   = "next"   // whoever is free takes the next one
	HandSplit  = "split"  // each client is given its share beforehand
	HandChunks = "chunks" // whoever is free takes a quarter of a client's share, rounded up, as Python's multiprocessing does it
)
