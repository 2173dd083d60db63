package gpu

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Defaults of a Sampler.
const (
	// defaultInterval is between two readings of the memory. They take
	// microseconds, and autotuning takes and frees gigabytes within tens of
	// milliseconds.
	defaultInterval = 20 * time.Millisecond

	// defaultProcessInterval is between two readings of the process lists. They
	// take milliseconds under a lock of the driver.
	defaultProcessInterval = 500 * time.Millisecond

	// defaultTimeout is how long the driver may take to answer a call that
	// something waits for.
	defaultTimeout = 2 * time.Second

	// DefaultSettle is how long Close waits for the idle baseline. Drivers take a
	// second or two to clear up after a process.
	DefaultSettle = 10 * time.Second
)

const (
	telemetryInterval = time.Second // no shorter, because power is an average over a second
	baselineSamples   = 15          // of a trial's idle baseline

	// DefaultPoints is how many points of a series are kept for a chart.
	DefaultPoints = 240
)

// A Sampler measures trials. A zero duration means its default.
type Sampler struct {
	Driver Driver

	Interval        time.Duration // of the memory
	ProcessInterval time.Duration // of the process lists
	Timeout         time.Duration // of one answer of the driver
	Settle          time.Duration // the longest wait for the idle baseline after teardown

	// MPS says that the stack's processes use the device through NVIDIA's
	// Multi-Process Service. Its server then does not count as foreign.
	MPS bool
}

// filled returns the sampler with its defaults filled in.
func (s Sampler) filled() Sampler {
	s.Interval = cmp.Or(s.Interval, defaultInterval)
	s.ProcessInterval = cmp.Or(s.ProcessInterval, defaultProcessInterval)
	s.Timeout = cmp.Or(s.Timeout, defaultTimeout)
	s.Settle = cmp.Or(s.Settle, DefaultSettle)
	return s
}

// Trial begins to sample the devices, given by UUID or index, and returns when it
// has their idle baseline, so the stack must not have started yet. It fails if a
// device does not exist, the driver does not open it in time or ctx ends. A
// device that answers with errors is not a failure: the durations of the trial's
// cells still count. Close every trial.
func (s *Sampler) Trial(ctx context.Context, devices []string) (*Trial, error) {
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
func (s Sampler) readers(devices []string) ([]Reader, error) {
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

// Snapshot looks once at the devices and at who holds memory on them. Without
// devices it looks at all. It fails if a device does not exist or the driver does
// not answer in time.
func (s *Sampler) Snapshot(ctx context.Context, devices []string) ([]Snapshot, error) {
	f := s.filled()
	return Aside(ctx, f.Timeout, func() ([]Snapshot, error) { return f.look(devices, newAttribution("/proc", f.MPS)) })
}

// look is Snapshot with what is known about the processes' owners.
func (s Sampler) look(devices []string, a *attribution) ([]Snapshot, error) {
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
		shot := Snapshot{Device: r.Device(), ProcessReason: why}
		var m Memory
		if m, shot.Err = r.Memory(); shot.Err == nil {
			shot.Memory = &m
		}
		if sight != SightNone {
			l := readList(r, a, "")
			if l.fault != "" {
				shot.ProcessReason = l.fault
			}
			shot.Holders = l.holders(r.Device().UUID)
		}
		shots = append(shots, shot)
	}
	return shots, nil
}

// WaitClean returns when nobody holds memory on the devices and it is back at the
// idle baseline (by UUID; nil before the first trial). The services of a stack may
// hold memory. After limit it fails with who holds what, or why it could not look.
func (s *Sampler) WaitClean(ctx context.Context, devices []string, idle map[string]int64, limit time.Duration, stack ...Owner) error {
	f := s.filled()
	a := newAttribution("/proc", f.MPS)
	a.own(stack)
	deadline := time.After(limit)
	again := time.NewTicker(max(f.ProcessInterval/2, time.Millisecond))
	defer again.Stop()
	for {
		// One late answer decides nothing.
		shots, unread := Aside(ctx, f.Timeout, func() ([]Snapshot, error) { return f.look(devices, a) })
		dirt := Dirt(shots, idle)
		if unread == nil && len(dirt) == 0 {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline:
			if unread != nil {
				return fmt.Errorf("the GPU could not be looked at, after %v still: %w; see stackmeter doctor", limit, unread)
			}
			return fmt.Errorf("the GPU is not free after %v: %s; end what holds it, or choose another device with resources.gpu.devices", limit, strings.Join(dirt, "; "))
		}
	}
}

// Aside asks the driver something and waits for the answer, for limit at most. It
// fails with ctx's cause when ctx ends, and says so if the driver does not answer.
// A driver that hangs cannot be interrupted: the question is left behind.
func Aside[T any](ctx context.Context, limit time.Duration, ask func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1) // buffered: nobody may be waiting any more
	go func() {
		value, err := ask()
		done <- answer{value, err}
	}()
	var none T
	select {
	case got := <-done:
		return got.value, got.err
	case <-time.After(limit):
		return none, fmt.Errorf("the GPU driver did not answer within %v", limit)
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}
