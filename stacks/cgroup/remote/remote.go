// Package remote meters containers of another machine: a Session is this side, Serve the
// other one, at the other end of a stream. What samples is package cgroup there, which
// finds the control groups by the ids of the containers.
//
// The two speak JSON-RPC. The end of the stream ends all that the other side does.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"strings"
	"sync"
	"time"

	"stackmeter/stacks"
)

// methodPrefix tells what an agent read from what was read on this machine.
const methodPrefix = "agent-"

// A Task is what a session meters.
type Task struct {
	Version  string // this program's: the other side refuses another
	Services []Service
}

// A Service is one of a stack, by its container.
type Service struct{ Name, Container string }

// Names of what is called.
const (
	service    = "Agent"
	callBegin  = service + ".Begin"
	callStart  = service + ".Start"
	callHalted = service + ".Halted"
	callStop   = service + ".Stop"
	callCPU    = service + ".CPU"
)

// patience is how long the other side may take.
const patience = 30 * time.Second

// A Session meters the services of one stack. It is safe for concurrent use; one meter
// runs at a time.
type Session struct {
	calls *rpc.Client

	mu   sync.Mutex
	lost error // the first call that was not answered
}

// Begin finds the control groups. Close the session, which closes the stream; with an
// error the stream is closed.
func Begin(ctx context.Context, stream io.ReadWriteCloser, t Task) (*Session, error) {
	s := &Session{calls: jsonrpc.NewClient(stream)}
	if err := s.call(ctx, callBegin, t, new(bool)); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// call asks the other side.
func (s *Session) call(ctx context.Context, name string, question, answer any) error {
	if err := s.Lost(); err != nil {
		return err
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	asked := s.calls.Go(name, question, answer, make(chan *rpc.Call, 1))
	var err error
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-limit.C:
		err = fmt.Errorf("the agent on the stack's node has not answered for %v", patience)
	case <-asked.Done:
		var said rpc.ServerError
		if asked.Error == nil {
			return nil
		} else if errors.As(asked.Error, &said) {
			return errors.New(said.Error())
		}
		err = fmt.Errorf("the stream of the agent on the stack's node ended: %w", asked.Error)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = err
	return err
}

// Lost is why the session answers no more; nil while it does.
func (s *Session) Lost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Meter begins a measurement, as cgroup.Start does.
func (s *Session) Meter(ctx context.Context) (stacks.Meter, error) {
	if err := s.call(ctx, callStart, false, new(bool)); err != nil {
		return nil, err
	}
	return &meter{session: s}, nil
}

// CPU is the CPU time that the services have used so far.
func (s *Session) CPU(ctx context.Context) (used time.Duration, err error) {
	err = s.call(ctx, callCPU, false, &used)
	return used, err
}

// Close ends the session.
func (s *Session) Close() error {
	if err := s.calls.Close(); err != nil && !errors.Is(err, rpc.ErrShutdown) {
		return err
	}
	return nil
}

// A meter is one that runs on the other side.
type meter struct {
	session *Session
	once    sync.Once
	reading stacks.Reading
}

// Stop implements stacks.Meter.
func (m *meter) Stop() stacks.Reading {
	m.once.Do(func() {
		if err := m.session.call(context.Background(), callStop, false, &m.reading); err != nil {
			m.reading = stacks.Reading{Reason: err.Error()}
			return
		}
		m.reading.Method = methodPrefix + m.reading.Method
	})
	return m.reading
}

// Halted implements stacks.Meter.
func (m *meter) Halted() error {
	var why string
	if m.session.call(context.Background(), callHalted, false, &why) != nil || why == "" {
		return nil
	}
	before, after, _ := strings.Cut(why, stacks.ErrDisturbed.Error())
	return fmt.Errorf("%s%w%s", before, stacks.ErrDisturbed, after)
}
