// Package remote samples the devices of another machine: a Session is this side, Serve
// the other one, at the other end of a stream. What samples, and finds out whose the
// processes are, is a gpu.Sampler there.
//
// The two speak JSON-RPC. A session is for one stack; the end of its stream ends all
// that the other side does for it.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"time"

	"stackmeter/orchestrator/gpu"
)

// ErrUnsampled marks the error of an agent that cannot sample, or is gone. The devices
// may be as they should.
var ErrUnsampled = errors.New("the agent on the stack's node does not sample its GPU")

// A Task is what a session samples.
type Task struct {
	Version string        // this program's: the other side refuses another
	Devices []string      // by UUID
	Wait    time.Duration // for devices that nobody is on, before the stack and before each cell; 0: look once
	Stays   bool          // the stack stays up for longer than a trial: each cell has one of its own
}

// Names of what is called.
const (
	service     = "Agent"
	callBegin   = service + ".Begin"
	callDevices = service + ".Devices"
	callOwners  = service + ".Owners"
	callPhase   = service + ".Phase"
	callUsed    = service + ".Used"
	callMeasure = service + ".Measure"
	callStop    = service + ".Stop"
	callClose   = service + ".Close"
)

// patience is how long the other side may take beside what it waits for.
const patience = 30 * time.Second

// A Session has the devices of a stack sampled.
type Session struct {
	Devices []gpu.Device // that it samples

	stream io.Closer
	calls  *rpc.Client
	wait   time.Duration
	lost   error // the first call that was not answered
}

// Begin waits until nobody is on the devices, and begins to sample them before the stack
// starts. The error says who holds memory, or wraps ErrUnsampled. Close the session,
// which closes the stream; with an error the stream is closed.
func Begin(ctx context.Context, stream io.ReadWriteCloser, t Task) (*Session, error) {
	s := &Session{stream: stream, calls: jsonrpc.NewClient(stream), wait: t.Wait}
	var why string
	err := s.call(ctx, callBegin, t.Wait, t, &why)
	switch {
	case err == nil && why != "":
		err = fmt.Errorf("%w: %s", ErrUnsampled, why)
	case err == nil:
		err = s.call(ctx, callDevices, 0, false, &s.Devices)
	}
	if err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return s, nil
}

// call asks the other side, which may wait for something meanwhile.
func (s *Session) call(ctx context.Context, name string, wait time.Duration, question, answer any) error {
	if s.lost != nil {
		return s.lost
	}
	limit := time.NewTimer(wait + patience)
	defer limit.Stop()
	asked := s.calls.Go(name, question, answer, make(chan *rpc.Call, 1))
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-limit.C:
		s.lost = fmt.Errorf("%w: it has not answered for %v", ErrUnsampled, wait+patience)
	case <-asked.Done:
		var said rpc.ServerError
		if asked.Error == nil {
			return nil
		} else if errors.As(asked.Error, &said) {
			return errors.New(said.Error())
		}
		s.lost = fmt.Errorf("%w: its stream ended: %w", ErrUnsampled, asked.Error)
	}
	return s.lost
}

// Owners says which processes belong to the stack.
func (s *Session) Owners(owners []gpu.Owner) {
	_ = s.call(context.Background(), callOwners, 0, owners, new(bool)) // the next cell says that it is gone
}

// Phase marks the beginning of a phase, see gpu.Trial.
func (s *Session) Phase(name string) {
	_ = s.call(context.Background(), callPhase, 0, name, new(bool)) // the next cell says that it is gone
}

// Used is the memory in use on the devices, nil if that is not known.
func (s *Session) Used(ctx context.Context) *int64 {
	var used *int64
	if s.call(ctx, callUsed, 0, false, &used) != nil {
		return nil
	}
	return used
}

// Measure waits until only the stack is on its devices, and begins a measurement. The
// error says who else holds memory, or wraps ErrUnsampled.
func (s *Session) Measure(ctx context.Context) error {
	return s.call(ctx, callMeasure, s.wait, false, new(bool))
}

// Stop ends a measurement.
func (s *Session) Stop() gpu.Usage {
	var used gpu.Usage
	if err := s.call(context.Background(), callStop, 0, false, &used); err != nil {
		return gpu.Usage{Validity: gpu.Invalid, Reason: err.Error()}
	}
	return used
}

// Close ends the session when the stack is gone: it waits for its memory to come back,
// until ctx ends at most, and closes the stream.
func (s *Session) Close(ctx context.Context) (gpu.Aftermath, error) {
	wait := gpu.DefaultSettle
	if deadline, ok := ctx.Deadline(); ok {
		wait = max(0, min(wait, time.Until(deadline)))
	}
	var after gpu.Aftermath
	if err := s.call(ctx, callClose, wait, wait, &after); err != nil {
		after = gpu.Aftermath{Reason: err.Error()}
	}
	return after, s.stream.Close()
}
