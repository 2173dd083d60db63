// Package existing is the runtime of servers that are there already: a stack is
// a URL. It starts, changes and removes nothing, and sees nothing of a stack but
// its answers.
package existing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// Runtime is stacks.Runtime over servers that are there already.
type Runtime struct {
	// URL returns where the stack of a spec answers: http://HOST:PORT,
	// https://HOST:PORT, or http+unix:// and the absolute path of a socket.
	// Start calls it once for each stack and fails with its error. It may be
	// called from several goroutines at a time.
	URL func(stacks.Spec) (string, error)
}

// At is the Runtime.URL of one server that is every stack.
func At(url string) func(stacks.Spec) (string, error) {
	return func(stacks.Spec) (string, error) { return url, nil }
}

// Check returns nil: nothing is needed.
func (*Runtime) Check(context.Context) error { return nil }

// Devices returns none: only what is started can be given devices.
func (*Runtime) Devices(_ context.Context, want scenarios.GPU) (uuids []string, none string, err error) {
	switch want.Mode {
	case scenarios.GPURequired:
		return nil, "", fmt.Errorf("%w: resources.gpu.mode is required: %s", stacks.ErrUnavailable, unseen)
	case scenarios.GPUAuto:
		return nil, unseen, nil
	}
	return nil, "", nil
}

// Prepare refuses limits, which only what is started can be given.
func (*Runtime) Prepare(_ context.Context, spec stacks.Spec, _ func(string)) error {
	for _, s := range spec.Services {
		if s.CPUs > 0 || s.Memory > 0 || len(s.Cores) > 0 {
			return fmt.Errorf("%w: limits of CPU, memory or cores for %s, a server that is there already", stacks.ErrUnavailable, spec.Name)
		}
	}
	return nil
}

// Digest returns nothing: images are not known.
func (*Runtime) Digest(stacks.Service) string { return "" }

// Start returns the stack without asking it anything.
func (r *Runtime) Start(ctx context.Context, spec stacks.Spec) (stacks.Stack, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	url, err := r.URL(spec)
	if err != nil {
		return nil, err
	}
	return &stack{url: url}, nil
}

// Sweep finds nothing: no run leaves anything behind.
func (*Runtime) Sweep(context.Context, string) ([]string, error) { return nil, nil }

// unseen is why nothing is known of a stack.
const unseen = "the server was there already, and only its answers are seen"

var errUnseen = errors.New(unseen)

type stack struct {
	url     string
	stopped atomic.Bool
}

// URL implements stacks.Stack.
func (s *stack) URL() string { return s.url }

// Check returns nil until the stack is stopped. A connection just to see
// whether the server still listens would disturb what is measured, and a server
// that refuses one may be restarting: what does not answer is an error of the
// load.
func (s *stack) Check(context.Context) error {
	if s.stopped.Load() {
		return fmt.Errorf("the server at %s %w for this run: the stack was stopped", s.url, stacks.ErrEnded)
	}
	return nil
}

// Devices returns none: which ones the server uses is not known.
func (*stack) Devices() []string { return nil }

// Inspect returns no services: which ones there are is not known.
func (s *stack) Inspect(ctx context.Context) (stacks.Facts, error) {
	return stacks.Facts{Route: stacks.RouteGiven, GPU: "not known: " + unseen}, s.Check(ctx)
}

// Listening fails: where the server listens is not seen.
func (*stack) Listening(context.Context, string) (asked netip.AddrPort, listens []netip.AddrPort, err error) {
	return asked, nil, errUnseen
}

// Dial fails: what stands behind the server is not seen.
func (*stack) Dial(context.Context, string) (net.Conn, error) { return nil, errUnseen }

// Exec fails: commands cannot be run there.
func (s *stack) Exec(_ context.Context, service string, argv ...string) ([]byte, error) {
	return nil, fmt.Errorf("run %q in service %s: %w", argv, service, errUnseen)
}

// Meter implements stacks.Stack. It measures nothing.
func (s *stack) Meter(context.Context) (stacks.Meter, error) { return meter{}, nil }

// CPU fails: what the server uses is not seen.
func (s *stack) CPU(context.Context) (time.Duration, error) { return 0, errUnseen }

// Logs writes nothing: there is no output to be read.
func (s *stack) Logs(context.Context, io.Writer) error { return nil }

// Stop leaves the server alone.
func (s *stack) Stop(context.Context) error {
	s.stopped.Store(true)
	return nil
}

type meter struct{}

// Stop implements stacks.Meter.
func (meter) Stop() stacks.Reading { return stacks.Reading{Reason: unseen} }

// Halted implements stacks.Meter. Nobody would notice.
func (meter) Halted() error { return nil }
