package stacks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"stackmeter/scenarios"
)

// A Device is a GPU, or a MIG instance, that stacks can be given.
type Device struct {
	Index  int
	UUID   string
	Name   string
	Parent string // UUID of the GPU that a MIG instance is part of; empty for a GPU
	MIG    bool   // a GPU that is divided into instances
}

// A Machine holds the devices of the machine whose stacks a runtime starts, and
// chooses among them. The runtimes of one machine embed it.
type Machine struct {
	devices []Device
	missing string
}

// Has tells the runtime which devices there are, and without any why. It is
// called before the first Prepare.
func (m *Machine) Has(devices []Device, missing string) { m.devices, m.missing = devices, missing }

// Devices implements Runtime.Devices: every stack is given the same ones.
func (m *Machine) Devices(_ context.Context, want scenarios.GPU) (uuids []string, none string, err error) {
	if want.Mode == scenarios.GPUOff || want.Mode == "" {
		return nil, "", nil
	}
	if want.MIG != "" {
		return nil, "", fmt.Errorf("%w: resources.gpu.mig is for a cluster (--runtime kubernetes), whose scheduler chooses among instances; name those of this machine in resources.gpu.devices: %s", ErrUnavailable, m.list())
	}
	if len(m.devices) == 0 {
		missing := m.missing
		if missing == "" {
			missing = "this machine has none"
		}
		if want.Product != "" {
			return nil, "", fmt.Errorf("%w: resources.gpu.product is %s: %s; see stackmeter doctor, or leave the product out", ErrUnavailable, want.Product, missing)
		}
		if want.Mode == scenarios.GPURequired {
			return nil, "", fmt.Errorf("%w: resources.gpu.mode is required: %s; see stackmeter doctor, or set the mode to auto or off", ErrUnavailable, missing)
		}
		return nil, missing, nil
	}
	if len(want.Devices) > 0 {
		uuids, err = m.named(want.Devices)
		return uuids, "", err
	}
	return m.counted(want)
}

// named finds the devices that a scenario names.
func (m *Machine) named(names []string) (uuids []string, err error) {
	for _, name := range names {
		i := slices.IndexFunc(m.devices, func(d Device) bool {
			return d.UUID == name || d.Parent == "" && strconv.Itoa(d.Index) == name
		})
		switch {
		case i < 0:
			return nil, fmt.Errorf("%w: resources.gpu.devices asks for %q; this machine has %s", ErrUnavailable, name, m.list())
		case m.devices[i].MIG:
			return nil, fmt.Errorf("%w: resources.gpu.devices asks for %q, which is divided into MIG instances, so that nothing can compute on the whole of it; name one of them: %s", ErrUnavailable, name, m.list())
		}
		uuids = append(uuids, m.devices[i].UUID)
	}
	return uuids, nil
}

// counted takes the first whole GPUs. A scenario gets a MIG instance only by its
// name, and a divided GPU not at all.
func (m *Machine) counted(want scenarios.GPU) (uuids []string, none string, err error) {
	divided := ""
	for _, d := range m.devices {
		switch {
		case d.MIG:
			divided = "; GPUs that are divided into MIG instances do not count, name their instances in resources.gpu.devices"
		case d.Parent == "" && (want.Product == "" || scenarios.ProductName(d.Name) == want.Product):
			uuids = append(uuids, d.UUID)
		}
	}
	if len(uuids) == 0 && want.Product != "" {
		return nil, "", fmt.Errorf("%w: resources.gpu.product is %s; this machine has %s%s", ErrUnavailable, want.Product, m.list(), divided)
	}
	if len(uuids) == 0 && want.Mode == scenarios.GPUAuto {
		return nil, "this machine has " + m.list() + divided, nil
	}
	count := want.Count
	if count == scenarios.AllGPUs {
		count = max(1, len(uuids))
	}
	if count > len(uuids) {
		return nil, "", fmt.Errorf("%w: resources.gpu.count is %d; this machine has %s%s", ErrUnavailable, count, m.list(), divided)
	}
	return uuids[:count], "", nil
}

func (m *Machine) list() string {
	var names []string
	for _, d := range m.devices {
		names = append(names, fmt.Sprintf("%d %s (%s)", d.Index, d.UUID, d.Name))
	}
	return strings.Join(names, ", ")
}

// Give returns the spec with the devices of its services, which a runtime starts.
func (m *Machine) Give(spec Spec) (Spec, error) {
	want, product := spec.GPU, spec.Topology.GPUProduct
	if product != "" { // all stacks of a run get the same devices
		want.Product = ""
	}
	uuids, _, err := m.Devices(context.Background(), want)
	if err == nil && product != "" {
		err = m.are(uuids, product)
	}
	if err != nil || len(uuids) == 0 {
		return spec, err
	}
	spec.Services = slices.Clone(spec.Services)
	for i := range spec.Services {
		if s := &spec.Services[i]; s.GPU {
			s.GPUs, s.MPS = uuids, spec.GPU.MPS
		}
	}
	return spec, nil
}

// are fails unless devices are of a product.
func (m *Machine) are(uuids []string, product string) error {
	same := func(d Device) bool {
		return scenarios.ProductName(d.Name) == product || !slices.Contains(uuids, d.UUID)
	}
	if len(uuids) > 0 && !slices.ContainsFunc(m.devices, func(d Device) bool { return !same(d) }) {
		return nil
	}
	return fmt.Errorf("its resources.gpu.product is %s, and the stacks of this run get others; this machine has %s", product, cmp.Or(m.list(), "no GPU"))
}

// Given returns the devices of a stack that was started from the spec, by UUID.
func (s Spec) Given() []string {
	var uuids []string
	for _, service := range s.Services {
		for _, uuid := range service.GPUs {
			if !slices.Contains(uuids, uuid) {
				uuids = append(uuids, uuid)
			}
		}
	}
	return uuids
}
