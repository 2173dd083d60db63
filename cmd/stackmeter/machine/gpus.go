package machine

import (
	"context"
	"errors"
	"io"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml"
	"stackmeter/orchestrator/gpu/remote"
	"stackmeter/stacks"
	metering "stackmeter/stacks/cgroup/remote"
)

// GPUs are the GPUs of this machine, as far as they can be read.
type GPUs struct {
	Sampler *gpu.Sampler // nil when there is none
	Devices []gpu.Device
	Reason  string // why there is none
	driver  *nvml.Driver
}

// Limits of the driver. Without persistence mode it initializes each device when it
// is opened, which takes seconds.
const (
	openGPULimit  = time.Minute
	closeGPULimit = 2 * time.Second
)

// OpenGPUs opens the driver, whose library is in a file of its own or, with none,
// where the linker finds it. It fails only when ctx ends: a driver that is missing
// or does not answer becomes the reason why there are no GPUs.
func OpenGPUs(ctx context.Context, file string, sample bool) (GPUs, error) {
	g, err := gpu.Aside(ctx, openGPULimit, func() (GPUs, error) {
		driver, err := nvml.Open(file)
		if err != nil {
			return GPUs{}, err
		}
		devices, err := driver.Devices()
		if err != nil {
			return GPUs{}, errors.Join(err, driver.Close())
		}
		return GPUs{Devices: devices, driver: driver}, nil
	})
	switch {
	case ctx.Err() != nil:
		return GPUs{}, context.Cause(ctx)
	case err != nil:
		return GPUs{Reason: err.Error()}, nil
	}
	if !sample {
		g.Reason = "sampling is off (--gpu-sampler off)"
	} else {
		g.Sampler = &gpu.Sampler{Driver: g.driver}
	}
	return g, nil
}

// Sample samples the GPUs of this machine for a session of an orchestrator elsewhere, at
// the other end of the streams, until that ends.
func Sample(ctx context.Context, from io.Reader, to io.Writer) error {
	g, err := OpenGPUs(ctx, "", true)
	if err != nil {
		return err
	}
	defer g.Close()
	return remote.Serve(streams{from, to}, g.Sampler, g.Reason, Version())
}

// Meter meters containers of this machine for a session of a runtime elsewhere, at the
// other end of the streams, until that ends. root is the folder that has all hierarchies
// of the machine's control groups.
func Meter(root string, from io.Reader, to io.Writer) error {
	return metering.Serve(streams{from, to}, root, Version())
}

// streams are those of a process, which end with it.
type streams struct {
	io.Reader
	io.Writer
}

func (streams) Close() error { return nil }

// Given are the devices as runtimes know them.
func (g GPUs) Given() []stacks.Device {
	var devices []stacks.Device
	for _, d := range g.Devices {
		devices = append(devices, stacks.Device{Index: d.Index, UUID: d.UUID, Name: d.Name, Parent: d.Parent, MIG: d.MIG})
	}
	return devices
}

// Close closes the driver. An error would say nothing about what was measured.
func (g GPUs) Close() {
	if g.driver != nil {
		_, _ = gpu.Aside(context.Background(), closeGPULimit, func() (struct{}, error) { return struct{}{}, g.driver.Close() })
	}
}
