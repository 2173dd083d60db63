package gpu

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What a Sampler does where its fields are zero.
const (
	// defaultInterval between two readings of the memory: they cost
	// microseconds, and autotuning takes and frees gigabytes within tens of
	// milliseconds.
	defaultInterval = 20 * time.Millisecond

	// defaultProcessInterval between two readings of the process lists: they
	// take milliseconds under a lock of the driver's.
	defaultProcessInterval = 500 * time.Millisecond

	// defaultTelemetryInterval: power is an average over a second anyway.
	defaultTelemetryInterval = time.Second

	// defaultTimeout is how long the driver may take to answer where somebody
	// waits for it.
	defaultTimeout = 2 * time.Second

	// DefaultSettle is how long Close waits for the idle baseline to come
	// back: drivers take a second or two to clear up after a process.
	DefaultSettle = 10 * time.Second

	// defaultBaselineSamples make the idle baseline of a trial.
	defaultBaselineSamples = 15

	// DefaultPoints is how many points of a series are kept for a chart.
	DefaultPoints = 240
)

// A Sampler measures trials. A zero duration, size or count stands for its
// default. A nil *Sampler is a machine without a GPU: it may be used, its
// trials measure nothing, and their usages are empty.
type Sampler struct {
	Driver Driver
	Proc   string // where the kernel shows processes; empty: /proc

	Interval          time.Duration // of the memory
	ProcessInterval   time.Duration // of the process lists
	TelemetryInterval time.Duration
	Timeout           time.Duration // of one answer of the driver
	Settle            time.Duration // the longest wait for the idle baseline after teardown
	Tolerance         int64         // bytes above the idle baseline that still count as back
	BaselineSamples   int
	Points            int // of a series; negative: no series

	// MPS says that the stack's processes reach the device through NVIDIA's
	// Multi-Process Service: its server is then nobody's foreign process.
	MPS bool
}

// filled returns the sampler with its defaults filled in.
func (s Sampler) filled() Sampler {
	fill(&s.Proc, "/proc")
	fill(&s.Interval, defaultInterval)
	fill(&s.ProcessInterval, defaultProcessInterval)
	fill(&s.TelemetryInterval, defaultTelemetryInterval)
	fill(&s.Timeout, defaultTimeout)
	fill(&s.Settle, DefaultSettle)
	fill(&s.Tolerance, DefaultTolerance)
	fill(&s.BaselineSamples, defaultBaselineSamples)
	fill(&s.Points, DefaultPoints)
	return s
}

// fill sets a zero value to its default.
func fill[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Trial begins to sample the devices, given by UUID or index, and returns when
// it has their idle baseline: the stack must not have been started yet. It
// fails when a device does not exist, the driver does not open it in time or
// ctx ends; devices that answer with
// errors are no failure of it, since the durations of the trial's cells count
// all the same. Every trial has to be closed.
func (s *Sampler) Trial(ctx context.Context, devices []string) (*Trial, error) {
	if s == nil || len(devices) == 0 {
		return nil, nil
	}
	f := s.filled()
	readers, err := Aside(ctx, f.Timeout, func() ([]Reader, error) { return f.readers(devices) })
	if err != nil {
		return nil, err
	}
	t := newTrial(f, readers)
	t.start()
	if err := t.baseline(ctx); err != nil {
		t.abandon()
		return nil, fmt.Errorf("idle baseline of the GPU: %w", err)
	}
	return t, nil
}

// readers opens devices, each once.
func (s *Sampler) readers(devices []string) ([]Reader, error) {
	var readers []Reader
	for _, name := range devices {
		r, err := s.Driver.Reader(name)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(readers, func(o Reader) bool { return o.Device().UUID == r.Device().UUID }) {
			return nil, fmt.Errorf("GPU %s is listed twice", name)
		}
		readers = append(readers, r)
	}
	return readers, nil
}

// Snapshot looks at devices once, with who holds memory on them. With no
// devices it looks at all of them. It fails when a device does not exist or
// the driver does not answer in time.
func (s *Sampler) Snapshot(ctx context.Context, devices []string) ([]Snapshot, error) {
	if s == nil {
		return nil, nil
	}
	f := s.filled()
	return f.snapshot(ctx, devices, newAttribution(procRoot(f.Proc), f.MPS))
}

// snapshot is Snapshot with the knowledge of whose processes are whose.
func (s *Sampler) snapshot(ctx context.Context, devices []string, a *attribution) ([]Snapshot, error) {
	return Aside(ctx, s.Timeout, func() ([]Snapshot, error) { return s.look(devices, a) })
}

// look reads devices once.
func (s *Sampler) look(devices []string, a *attribution) ([]Snapshot, error) {
	if len(devices) == 0 {
		all, err := s.Driver.Devices()
		if err != nil {
			return nil, err
		}
		for _, d := range all {
			devices = append(devices, d.UUID)
		}
	}
	readers, err := s.readers(devices)
	if err != nil {
		return nil, err
	}
	sight, why := s.Driver.Sight()
	shots := make([]Snapshot, 0, len(readers))
	for _, r := range readers {
		shot := Snapshot{Device: r.Device(), Sight: sight, ProcessReason: why}
		if m, err := r.Memory(); err != nil {
			shot.Err = err
		} else {
			shot.Memory = &m
		}
		if sight != SightNone {
			l := readList(r, a)
			if l.fault != "" {
				shot.ProcessReason = l.fault
			}
			shot.Holders = l.holders(r.Device().UUID)
		}
		shots = append(shots, shot)
	}
	return shots, nil
}

// WaitClean returns when nobody is on the devices and their memory is back at
// the idle baseline (by UUID; may be nil before the first trial), or fails
// after limit with who holds what, or why they could not be looked at.
func (s *Sampler) WaitClean(ctx context.Context, devices []string, idle map[string]int64, limit time.Duration) error {
	if s == nil || len(devices) == 0 {
		return nil
	}
	f := s.filled()
	return f.waitClean(ctx, devices, idle, limit, newAttribution(procRoot(f.Proc), f.MPS))
}

// waitClean is WaitClean with the knowledge of whose processes are whose.
func (s *Sampler) waitClean(ctx context.Context, devices []string, idle map[string]int64, limit time.Duration, a *attribution) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	again := time.NewTicker(max(s.ProcessInterval/2, time.Millisecond))
	defer again.Stop()
	for {
		shots, unread := s.snapshot(ctx, devices, a) // one answer that is late is no verdict
		dirt := Dirt(shots, idle, s.Tolerance)
		if unread == nil && len(dirt) == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			if unread != nil {
				return fmt.Errorf("the GPU could not be looked at, after %v still: %w; see stackmeter doctor", limit, unread)
			}
			return fmt.Errorf("the GPU is not free after %v: %s; end what holds it, or choose another device with resources.gpu.devices", limit, strings.Join(dirt, "; "))
		}
	}
}
