package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/remote"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// DefaultGPUWait is how long the devices may take to be clean before a stack or a
// cell, unless the user says.
const DefaultGPUWait = time.Minute

// A gpuWatch samples the devices of one stack from before it starts until after it
// is gone. Without a device it only says why there is none.
type gpuWatch struct {
	lane    *lane
	trial   *gpu.Trial // nil without a device
	why     string     // why there is none
	warm    *int64     // bytes in use on the devices once the stack was warm
	records []results.Record
	own     []gpu.Owner     // the services of the stack
	far     *remote.Session // of an agent that samples; nil: none does
	unseen  bool            // there should be one: the stack itself is asked
	inside  *gpu.Inside     // its answer; nil: nothing is measured, or it cannot say
	blind   error           // why it cannot
}

// watchGPU waits until the devices are clean and begins to sample them. The error
// says who holds memory.
func (l *lane) watchGPU(ctx context.Context) (*gpuWatch, error) {
	w := &gpuWatch{lane: l, why: l.noGPU}
	if len(l.gpus) == 0 {
		switch mode := l.plan.Resources.GPU.Mode; {
		case w.why != "":
		case mode == "" || mode == scenarios.GPUOff:
			w.why = "resources.gpu.mode is off"
		case l.Agents != "": // until the stack is placed
			w.why = "no service of the stack asks for a GPU"
		default: // the runtime gives stacks devices that it does not name before
			w.why = l.NoGPU
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

// starter is what starts the stack: where it gets its devices only then, they are sampled
// from before anything of it runs. wait is told why it has no room yet. Beside others of its
// lane it hardly waits: they may have the room, and stay.
func (w *gpuWatch) starter(wait func(why string), beside bool) func(context.Context, stacks.Spec) (stacks.Stack, error) {
	placer, is := w.lane.Runtime.(stacks.Placer)
	if !is {
		return w.lane.Runtime.Start
	}
	placing := stacks.Placing{Waits: wait}
	if beside {
		placing.Patience = besidePatience
	}
	if mode := w.lane.plan.Resources.GPU.Mode; w.lane.Agents != "" && w.lane.noGPU == "" && mode != "" && mode != scenarios.GPUOff {
		placing.Placed = w.placed
	}
	return func(ctx context.Context, spec stacks.Spec) (stacks.Stack, error) {
		return placer.StartPlaced(ctx, spec, placing)
	}
}

// besidePatience is how long a stack beside others waits for room. One that finds none is
// measured alone later, and then waits for what others have.
const besidePatience = 20 * time.Second

// startBound is longer than starting a stack can take: it may wait for a quota, for a node
// and for another one for its client.
func (l *loop) startBound() time.Duration {
	if placer, is := l.Runtime.(stacks.Placer); is {
		return bound(placer.Patience(), placer.Patience(), placer.Patience())
	}
	return boundEngine
}

// placed has an agent sample the devices that the stack will have. Without one the stack
// is measured all the same.
func (w *gpuWatch) placed(ctx context.Context, at stacks.Place) error {
	if len(at.Devices) == 0 {
		w.unsampled(errors.New(at.Unseen))
		return nil
	}
	stream, err := at.Agent(ctx)
	if err == nil {
		w.far, err = remote.Begin(ctx, stream, remote.Task{Version: w.lane.Agents, Devices: at.Devices, Wait: w.lane.GPUWait, Stays: w.lane.stays()})
		if err != nil && !errors.Is(err, remote.ErrUnsampled) && ctx.Err() == nil {
			return fmt.Errorf("not started, because its GPU memory could not be told from others': %w", err)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		w.unsampled(err)
	}
	return nil
}

// unsampled notes why an agent does not sample.
func (w *gpuWatch) unsampled(why error) {
	w.why, w.unseen = why.Error(), true
	w.lane.mu.Lock()
	told := w.lane.unsampled
	w.lane.unsampled = w.why
	w.lane.mu.Unlock()
	if told != w.why {
		w.lane.notify(Event{Kind: EventNote, Message: "no agent samples the GPU, so that the stack itself is asked for its memory: " + w.why})
	}
}

// devices are those of another machine that the stack got, as the agent there knows them,
// or else as the stack itself does.
func (w *gpuWatch) devices(facts stacks.Facts) (devices []gpu.Device) {
	for _, d := range facts.Devices {
		one := gpu.Device{Index: d.Index, UUID: d.UUID, Name: d.Name, Parent: d.Parent}
		if w.far != nil {
			for _, seen := range w.far.Devices {
				if seen.UUID == d.UUID {
					one = seen
				}
			}
		}
		one.Node = facts.Node
		devices = append(devices, one)
	}
	return devices
}

// phase marks the beginning of a phase.
func (w *gpuWatch) phase(name string) {
	if w.far != nil {
		w.far.Phase(name)
		return
	}
	w.trial.Phase(name)
}

// cleanBeside waits until only the stacks that are up are on the devices. The first
// call notes what the devices hold without any.
func (l *lane) cleanBeside(ctx context.Context) error {
	if len(l.gpus) == 0 || l.sampler == nil {
		return nil
	}
	if err := l.sampler.WaitClean(ctx, l.gpus, l.idle, l.GPUWait, owners(l.others(nil))...); err != nil {
		return fmt.Errorf("not started, because its GPU memory could not be told from others': %w", err)
	}
	if l.floor != nil {
		return nil
	}
	trial, err := l.sampler.Trial(ctx, l.gpus)
	if err != nil {
		return err
	}
	l.idle, l.floor = trial.Idle(), trial.Floor()
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

// freeOnGPU is the memory that the devices have left, nil if that cannot be read from
// here: a cluster gives each stack devices of its own.
func (l *lane) freeOnGPU(ctx context.Context) *int64 {
	if l.sampler == nil {
		return nil
	}
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
	if w.far != nil {
		w.far.Owners(owners)
		return
	}
	w.trial.Owners(owners)
}

// warmed notes the devices' memory with the warm stack, at which a cell may begin.
func (w *gpuWatch) warmed(ctx context.Context) {
	switch {
	case w.far != nil:
		w.warm = w.far.Used(ctx)
	case w.trial != nil:
		w.warm = w.lane.used(ctx)
	}
}

// used is the memory in use on the devices, nil if one does not answer.
func (l *lane) used(ctx context.Context) *int64 {
	shots, err := l.sampler.Snapshot(ctx, l.gpus)
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

// askInside has the stack sample its devices itself.
func (w *gpuWatch) askInside(ctx context.Context, s *live) {
	w.dropInside() // the cell before may not have come to its gun
	stack, is := s.stack.(stacks.Streamer)
	i := slices.IndexFunc(s.spec.Services, func(s stacks.Service) bool { return s.GPU })
	if w.blind = nil; !is || i < 0 {
		return
	}
	output, err := stack.Stream(ctx, s.spec.Services[i].Name, gpu.InsideCommand()...)
	if err == nil {
		w.inside, err = gpu.SampleInside(ctx, output)
	}
	w.blind = err
}

// dropInside ends that.
func (w *gpuWatch) dropInside() {
	if w.inside != nil {
		w.inside.Stop("")
		w.inside = nil
	}
}

// cell waits until only the stack is on its devices, and begins a measurement.
func (w *gpuWatch) cell(ctx context.Context, s *live) (*gpu.Cell, error) {
	if w.unseen {
		w.askInside(ctx, s)
		return nil, nil
	}
	if w.far != nil {
		err := w.far.Measure(ctx)
		if err != nil && !errors.Is(err, remote.ErrUnsampled) && ctx.Err() == nil {
			err = fmt.Errorf("not measured, because its GPU memory could not be told from others': %w", err)
		} else if ctx.Err() == nil {
			err = nil // Stop says why there are no figures
		}
		return nil, err
	}
	if w.lane.stays() && len(w.lane.gpus) > 0 && w.lane.sampler != nil {
		beside := owners(s.others(s))
		if err := w.lane.sampler.WaitClean(ctx, w.lane.gpus, nil, w.lane.GPUWait, slices.Concat(w.own, beside)...); err != nil {
			return nil, fmt.Errorf("not measured, because its GPU memory could not be told from others': %w", err)
		}
		w.detach() // the cell before may not have come to its gun
		var err error
		w.trial, err = w.lane.sampler.Attach(ctx, w.lane.gpus, w.lane.floor, w.own, beside)
		return w.trial.Cell(), err
	}
	if err := w.trial.WaitClean(ctx, w.lane.GPUWait); err != nil {
		return nil, fmt.Errorf("not measured, because its GPU memory could not be told from others': %w", err)
	}
	return w.trial.Cell(), nil
}

// answers reports whether the devices answer. It assumes so if they are not sampled.
func (l *lane) answers(ctx context.Context) bool {
	return l.sampler == nil || len(l.gpus) == 0 || l.used(ctx) != nil
}

// usage ends a measurement.
func (w *gpuWatch) usage(cell *gpu.Cell) gpu.Usage {
	if w.far != nil {
		return w.far.Stop()
	}
	if w.inside != nil {
		used := w.inside.Stop(w.why)
		w.inside = nil
		return used
	}
	if cell == nil {
		return gpu.Usage{Reason: w.whyNone()}
	}
	used := cell.Stop()
	if w.lane.stays() {
		w.detach()
		if w.warm == nil {
			w.warm = used.Start // no cell was before this one
		}
	}
	return used
}

// whyNone says why nothing is known of the devices' memory.
func (w *gpuWatch) whyNone() string {
	if w.blind != nil {
		return fmt.Sprintf("%s; and the stack itself cannot say: %v", w.why, w.blind)
	}
	return w.why
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
	if w != nil {
		w.dropInside()
	}
	if w == nil || w.trial == nil && w.far == nil {
		return nil
	}
	if w.lane.stays() && w.far == nil {
		w.detach()
		return nil
	}
	defer w.lane.enter(boundEngine, "wait for the GPU memory of the stack to come back")()
	clean, stop := w.lane.cleanup(ctx)
	defer stop()
	// Without GPUWait too, the stack's own memory takes a moment to come back.
	wait, cancel := context.WithTimeout(clean, cmp.Or(w.lane.GPUWait, gpu.DefaultSettle))
	defer cancel()
	after, err := w.end(wait)
	if err != nil {
		return err
	}
	if w.lane.stays() {
		return nil
	}
	for _, rec := range w.records {
		after.Apply(&rec.GPU)
		if err := w.lane.write(ctx, rec); err != nil {
			return err
		}
	}
	return nil
}

// end ends the sampling.
func (w *gpuWatch) end(ctx context.Context) (gpu.Aftermath, error) {
	if w.far == nil {
		return w.trial.Close(ctx), nil
	}
	far := w.far
	w.far = nil
	after, err := far.Close(ctx)
	if err != nil {
		return after, fmt.Errorf("remove the agent: %w", err)
	}
	return after, nil
}
