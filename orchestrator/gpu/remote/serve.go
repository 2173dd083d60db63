package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"net/rpc/jsonrpc"
	"slices"
	"sync"
	"time"

	"stackmeter/orchestrator/gpu"
)

// Serve samples for the session at the other end of the stream until that ends. Without
// a sampler it says why.
func Serve(stream io.ReadWriteCloser, sampler *gpu.Sampler, why, version string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	far := &agent{ctx: ctx, sampler: sampler, why: why, version: version}
	server := rpc.NewServer()
	if err := server.RegisterName(service, far); err != nil {
		return err
	}
	server.ServeCodec(jsonrpc.NewServerCodec(ending{stream, cancel})) // it waits for the calls under way
	far.mu.Lock()
	defer far.mu.Unlock()
	return far.trial.Detach()
}

// ending is a stream whose end is told.
type ending struct {
	io.ReadWriteCloser
	tell func()
}

func (e ending) Read(p []byte) (int, error) {
	n, err := e.ReadWriteCloser.Read(p)
	if err != nil {
		e.tell()
	}
	return n, err
}

// An agent is the other side of one session. Its methods are what the session calls, one
// at a time.
type agent struct {
	ctx     context.Context // ends with the stream
	sampler *gpu.Sampler
	why     string // there is no sampler
	version string

	mu    sync.Mutex
	task  Task
	own   []gpu.Owner
	floor *gpu.Floor // of a stack that stays
	trial *gpu.Trial
	cell  *gpu.Cell
}

// Begin waits for clean devices and takes their idle baseline. why is why it cannot.
func (a *agent) Begin(t Task, why *string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case t.Version != a.version:
		*why = fmt.Sprintf("it is stackmeter %s, and this is %s: make its image anew with stackmeter agent image", a.version, t.Version)
		return nil
	case a.sampler == nil:
		*why = a.why
		return nil
	}
	a.task = t
	if err := a.sampler.WaitClean(a.ctx, t.Devices, nil, t.Wait); err != nil {
		return err
	}
	trial, err := a.sampler.Trial(a.ctx, t.Devices)
	if err != nil {
		return err
	}
	if t.Stays {
		a.floor = trial.Floor()
		return trial.Detach()
	}
	a.trial = trial
	a.trial.Phase(gpu.PhaseStartup)
	return nil
}

// Devices are those of the task.
func (a *agent) Devices(_ bool, devices *[]gpu.Device) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	all, err := a.sampler.Driver.Devices()
	for _, d := range all {
		if slices.Contains(a.task.Devices, d.UUID) {
			*devices = append(*devices, d)
		}
	}
	return err
}

// Owners says which processes belong to the stack.
func (a *agent) Owners(owners []gpu.Owner, _ *bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.own = owners
	a.trial.Owners(owners)
	return nil
}

// Phase marks the beginning of a phase.
func (a *agent) Phase(name string, _ *bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.trial.Phase(name)
	return nil
}

// Used adds up the memory in use.
func (a *agent) Used(_ bool, used **int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	shots, err := a.sampler.Snapshot(a.ctx, a.task.Devices)
	if err != nil {
		return err
	}
	var sum int64
	for _, s := range shots {
		if s.Memory == nil {
			return s.Err
		}
		sum += s.Memory.Used
	}
	*used = &sum
	return nil
}

// Measure waits for devices that the stack is alone on, and begins a measurement.
func (a *agent) Measure(bool, *bool) (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.sampler.WaitClean(a.ctx, a.task.Devices, nil, a.task.Wait, a.own...); err != nil {
		return err
	}
	if a.task.Stays {
		// The cell before may not have come to its gun.
		if err := a.trial.Detach(); err != nil {
			return err
		}
		if a.trial, err = a.sampler.Attach(a.ctx, a.task.Devices, a.floor, a.own, nil); err != nil {
			return err
		}
	}
	a.cell = a.trial.Cell()
	return nil
}

// Stop ends the measurement.
func (a *agent) Stop(_ bool, used *gpu.Usage) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cell == nil {
		return errors.New("nothing is measured")
	}
	*used = a.cell.Stop()
	a.cell = nil
	if a.task.Stays {
		trial := a.trial
		a.trial = nil
		return trial.Detach()
	}
	return nil
}

// Close waits for the devices' idle baseline.
func (a *agent) Close(wait time.Duration, after *gpu.Aftermath) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	ctx, cancel := context.WithTimeout(a.ctx, wait)
	defer cancel()
	if a.task.Stays {
		return nil // its cells had trials of their own
	}
	*after = a.trial.Close(ctx)
	a.trial = nil
	return nil
}
