package orchestrator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/stacks"
)

// DefaultGPUWait is how long the devices may take to be clean before a stack or a
// cell, unless the user says.
const DefaultGPUWait = time.Minute

// A gpuWatch samples the devices of one stack from before it starts until after it
// is gone. Without a device it only says why there is none.
type gpuWatch struct {
	loop    *loop
	trial   *gpu.Trial // nil without a device
	why     string     // why there is none
	warm    *int64     // bytes in use on the devices once the stack was warm
	records []results.Record
	own     []gpu.Owner // the services of the stack
}

// watchGPU waits until the devices are clean and begins to sample them. The error
// says who holds memory.
func (l *loop) watchGPU(ctx context.Context) (*gpuWatch, error) {
	w := &gpuWatch{loop: l, why: l.noGPU}
	if len(l.gpus) == 0 {
		if w.why == "" {
			w.why = "resources.gpu.mode is off"
		}
		return w, nil
	}
	if l.sampler == nil {
		w.why = l.NoGPU
		return w, nil
	}
	if l.stays() { // each cell has a trial of its own
		return w, nil
	}
	if err := l.sampler.WaitClean(ctx, l.gpus, l.idle, l.GPUWait); err != nil {
		return nil, fmt.Errorf("not started, because its GPU memory could not be told from others': %w", err)
	}
	trial, err := l.sampler.Trial(ctx, l.gpus)
	if err != nil {
		return nil, err
	}
	if l.idle == nil {
		l.idle = trial.Idle()
	}
	w.trial = trial
	w.trial.Phase(gpu.PhaseStartup)
	return w, nil
}

// cleanBeside waits until only the stacks that are up are on the devices. The first
// call notes what the devices hold without any.
func (l *loop) cleanBeside(ctx context.Context) error {
	if len(l.gpus) == 0 || l.sampler == nil {
		return nil
	}
	if err := l.sampler.WaitClean(ctx, l.gpus, l.idle, l.GPUWait, owners(l.others(nil))...); err != nil {
		return fmt.Errorf("not started, because its GPU memory could not be told from others': %w", err)
	}
	if l.rounds.floor != nil {
		return nil
	}
	trial, err := l.sampler.Trial(ctx, l.gpus)
	if err != nil {
		return err
	}
	l.idle, l.rounds.floor = trial.Idle(), trial.Floor()
	return trial.Detach()
}

// owners are the services of stacks, by the names of the stacks.
func owners(stacks []*live) []gpu.Owner {
	var all []gpu.Owner
	for _, s := range stacks {
		for _, o := range s.gpu.own {
			o.Service = s.spec.Name
			all = append(all, o)
		}
	}
	return all
}

// freeOnGPU is the memory that the devices have left, nil if that cannot be read.
func (l *loop) freeOnGPU(ctx context.Context) *int64 {
	shots, err := l.sampler.Snapshot(ctx, l.gpus)
	if err != nil {
		return nil
	}
	var free int64
	for _, s := range shots {
		if s.Memory == nil {
			return nil
		}
		free += s.Memory.Total - s.Memory.Used
	}
	return &free
}

// owners says which processes are the stack's.
func (w *gpuWatch) owners(facts stacks.Facts, spec stacks.Spec) {
	var owners []gpu.Owner
	for i, s := range facts.Services {
		o := gpu.Owner{Service: s.Service, Role: spec.Services[i].Role, Container: s.Container}
		if o.Container == "" && len(s.Processes) > 0 {
			o.PID = s.Processes[0].PID
		}
		owners = append(owners, o)
	}
	w.own = owners
	w.trial.Owners(owners)
}

// warmed notes the devices' memory with the warm stack, at which a cell may begin.
func (w *gpuWatch) warmed(ctx context.Context) {
	if w.trial != nil {
		w.warm = w.used(ctx)
	}
}

// used is the memory in use on the devices, nil if one does not answer.
func (w *gpuWatch) used(ctx context.Context) *int64 {
	shots, err := w.loop.sampler.Snapshot(ctx, w.loop.gpus)
	if err != nil {
		return nil
	}
	var sum int64
	for _, s := range shots {
		if s.Memory == nil {
			return nil
		}
		sum += s.Memory.Used
	}
	return &sum
}

// cell waits until only the stack is on its devices, and begins a measurement.
func (w *gpuWatch) cell(ctx context.Context, others []*live) (*gpu.Cell, error) {
	if w.loop.stays() && len(w.loop.gpus) > 0 && w.loop.sampler != nil {
		beside := owners(others)
		if err := w.loop.sampler.WaitClean(ctx, w.loop.gpus, nil, w.loop.GPUWait, slices.Concat(w.own, beside)...); err != nil {
			return nil, fmt.Errorf("not measured, because its GPU memory could not be told from others': %w", err)
		}
		w.detach() // the cell before may not have come to its gun
		var err error
		w.trial, err = w.loop.sampler.Attach(ctx, w.loop.gpus, w.loop.rounds.floor, w.own, beside)
		return w.trial.Cell(), err
	}
	if err := w.trial.WaitClean(ctx, w.loop.GPUWait); err != nil {
		return nil, fmt.Errorf("not measured, because its GPU memory could not be told from others': %w", err)
	}
	return w.trial.Cell(), nil
}

// answers reports whether the devices answer. It assumes so if they are not sampled.
func (w *gpuWatch) answers(ctx context.Context) bool {
	return w.loop.sampler == nil || len(w.loop.gpus) == 0 || w.used(ctx) != nil
}

// usage ends a measurement.
func (w *gpuWatch) usage(cell *gpu.Cell) gpu.Usage {
	if cell == nil {
		return gpu.Usage{Reason: w.why}
	}
	used := cell.Stop()
	if w.loop.stays() {
		w.detach()
		if w.warm == nil {
			w.warm = used.Start // no cell was before this one
		}
	}
	return used
}

// detach ends the sampling of a cell on a stack that stays up. A call that hangs in the
// driver is among the cell's errors.
func (w *gpuWatch) detach() {
	_ = w.trial.Detach()
	w.trial = nil
}

// close ends the sampling when the stack is gone. It adds what stayed on the devices
// to the records of the stack.
func (w *gpuWatch) close(ctx context.Context) error {
	if w == nil || w.trial == nil {
		return nil
	}
	if w.loop.stays() {
		w.detach()
		return nil
	}
	defer w.loop.enter(boundEngine, "wait for the GPU memory of the stack to come back")()
	clean, stop := w.loop.cleanup(ctx)
	defer stop()
	// Without GPUWait too, the stack's own memory takes a moment to come back.
	wait, cancel := context.WithTimeout(clean, cmp.Or(w.loop.GPUWait, gpu.DefaultSettle))
	defer cancel()
	after := w.trial.Close(wait)
	for _, rec := range w.records {
		after.Apply(&rec.GPU)
		if err := w.loop.write(ctx, rec); err != nil {
			return err
		}
	}
	return nil
}
