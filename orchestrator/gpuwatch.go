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

// DefaultGPUWait is how long the devices may take to be clean before a trial
// or a cell, where nobody says.
const DefaultGPUWait = time.Minute

// A gpuWatch samples the devices of one stack from before it starts until
// after it is gone. Where the stack has no device it does nothing but say why.
type gpuWatch struct {
	loop    *loop
	trial   *gpu.Trial // nil without a device
	why     string     // why there is none
	warm    *int64     // bytes in use on the devices once the stack was warm
	records []results.Record
}

// watchGPU waits until the devices are clean and begins to sample them. Its
// error names who holds what.
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

// owners says which processes are the stack's.
func (w *gpuWatch) owners(facts stacks.Facts, spec stacks.Spec) {
	if w.trial == nil {
		return
	}
	var owners []gpu.Owner
	for i, s := range facts.Services {
		o := gpu.Owner{Service: s.Service, Role: spec.Services[i].Role, Container: s.Container}
		if o.Container == "" && len(s.Processes) > 0 {
			o.PID = s.Processes[0].PID
		}
		owners = append(owners, o)
	}
	w.trial.Owners(owners)
}

// warmed notes the devices' memory as the level that a cell may begin at.
func (w *gpuWatch) warmed(ctx context.Context) {
	if w.trial == nil {
		return
	}
	shots, err := w.loop.sampler.Snapshot(ctx, w.loop.gpus)
	if err != nil {
		return
	}
	var sum int64
	for _, s := range shots {
		if s.Memory == nil {
			return
		}
		sum += s.Memory.Used
	}
	w.warm = &sum
}

// cell waits until nobody but the stack is on its devices and begins a
// measurement.
func (w *gpuWatch) cell(ctx context.Context) (*gpu.Cell, error) {
	if err := w.trial.WaitClean(ctx, w.loop.GPUWait); err != nil {
		return nil, fmt.Errorf("not measured, because its GPU memory could not be told from others': %w", err)
	}
	return w.trial.Cell(), nil
}

// answers reports whether the devices can be read on this machine. Where
// nobody reads them, nothing speaks against it.
func (w *gpuWatch) answers(ctx context.Context) bool {
	if w.trial == nil {
		return true
	}
	shots, err := w.loop.sampler.Snapshot(ctx, w.loop.gpus)
	return err == nil && !slices.ContainsFunc(shots, func(s gpu.Snapshot) bool { return s.Memory == nil })
}

// usage ends a measurement.
func (w *gpuWatch) usage(cell *gpu.Cell) gpu.Usage {
	if cell == nil {
		return gpu.Usage{Reason: w.why}
	}
	return cell.Stop()
}

// close says what stayed on the devices when the stack was gone, in the
// records that were made on it.
func (w *gpuWatch) close(ctx context.Context) error {
	if w == nil || w.trial == nil {
		return nil
	}
	defer w.loop.enter(boundEngine, "wait for the GPU memory of the stack to come back")()
	clean, stop := w.loop.cleanup(ctx)
	defer stop()
	wait, cancel := context.WithTimeout(clean, cmp.Or(w.loop.GPUWait, gpu.DefaultSettle)) // its own memory takes a moment to come back, also where nobody waits for others
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
