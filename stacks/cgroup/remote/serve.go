package remote

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"sync"
	"time"

	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
)

// Serve meters for the session at the other end of the stream until that ends. root is
// the folder that has all hierarchies of this machine's control groups.
func Serve(stream io.ReadWriteCloser, root, version string) error {
	far := &agent{root: root, version: version}
	server := rpc.NewServer()
	if err := server.RegisterName(service, far); err != nil {
		return err
	}
	server.ServeCodec(jsonrpc.NewServerCodec(stream)) // it waits for the calls under way
	far.mu.Lock()
	defer far.mu.Unlock()
	if far.meter != nil {
		far.meter.Stop()
	}
	return nil
}

// An agent is the other side of one session. Its methods are what the session calls.
type agent struct {
	root, version string

	mu       sync.Mutex
	services []cgroup.Service
	meter    stacks.Meter // the last one
}

// Begin finds the control groups of a task.
func (a *agent) Begin(t Task, _ *bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.Version != a.version {
		return fmt.Errorf("the agent is stackmeter %s, and this is %s: make its image anew with stackmeter agent image", a.version, t.Version)
	}
	for _, s := range t.Services {
		group, err := cgroup.In(a.root, s.Container)
		if err != nil {
			return fmt.Errorf("service %s: %w", s.Name, err)
		}
		a.services = append(a.services, cgroup.Service{Name: s.Name, Group: group})
	}
	return nil
}

// Start begins a measurement. One before it, which nobody stopped, ends.
func (a *agent) Start(bool, *bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.meter != nil {
		a.meter.Stop()
	}
	a.meter = cgroup.Start(a.services)
	return nil
}

var errIdle = errors.New("nothing is metered")

// Halted says whether a service was halted meanwhile.
func (a *agent) Halted(_ bool, why *string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.meter == nil {
		return errIdle
	}
	if err := a.meter.Halted(); err != nil {
		*why = err.Error()
	}
	return nil
}

// Stop ends the measurement.
func (a *agent) Stop(_ bool, reading *stacks.Reading) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.meter == nil {
		return errIdle
	}
	*reading = a.meter.Stop()
	return nil
}

// CPU is the CPU time that the services have used.
func (a *agent) CPU(_ bool, used *time.Duration) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	*used, err = cgroup.CPU(a.services)
	return err
}
