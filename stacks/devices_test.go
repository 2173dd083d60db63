package stacks

import (
	"errors"
	"slices"
	"testing"

	"stackmeter/scenarios"
)

func TestDevices(t *testing.T) {
	two := []Device{
		{Index: 0, UUID: "GPU-a"}, {Index: 1, UUID: "GPU-b"},
	}
	kinds := []Device{{Index: 0, UUID: "GPU-a", Name: "NVIDIA L40S"}, {Index: 1, UUID: "GPU-b", Name: "NVIDIA H100 80GB HBM3"}}
	divided := []Device{{Index: 0, UUID: "GPU-a", MIG: true}, {Index: 0, UUID: "MIG-a1", Parent: "GPU-a"}, {Index: 1, UUID: "MIG-a2", Parent: "GPU-a"}}
	type test struct {
		name  string
		want  scenarios.GPU
		have  []Device
		uuids []string
		none  bool // that a reason is given
		fails bool
	}
	tests := []test{
		{name: "off", want: scenarios.GPU{Mode: scenarios.GPUOff}, have: two},
		{name: "auto without one", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}, none: true},
		{name: "required without one", want: scenarios.GPU{Mode: scenarios.GPURequired, Count: 1}, fails: true},
		{name: "the first one", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}, have: two, uuids: []string{"GPU-a"}},
		{name: "all", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: scenarios.AllGPUs}, have: two, uuids: []string{"GPU-a", "GPU-b"}},
		{name: "more than there are", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 3}, have: two, fails: true},
		{name: "by index and UUID", want: scenarios.GPU{Mode: scenarios.GPURequired, Devices: []string{"1", "GPU-a"}}, have: two, uuids: []string{"GPU-b", "GPU-a"}},
		{name: "one that is not there", want: scenarios.GPU{Mode: scenarios.GPUAuto, Devices: []string{"2"}}, have: two, fails: true},
		{name: "an instance", want: scenarios.GPU{Mode: scenarios.GPURequired, Devices: []string{"MIG-a2"}}, have: divided, uuids: []string{"MIG-a2"}},
		{name: "a divided GPU", want: scenarios.GPU{Mode: scenarios.GPURequired, Devices: []string{"0"}}, have: divided, fails: true},
		{name: "any of divided GPUs", want: scenarios.GPU{Mode: scenarios.GPURequired, Count: 1}, have: divided, fails: true},
		{name: "all of divided GPUs", want: scenarios.GPU{Mode: scenarios.GPURequired, Count: scenarios.AllGPUs}, have: divided, fails: true},
		{name: "auto with divided GPUs", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}, have: divided, none: true},
		{name: "those of a product", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: scenarios.AllGPUs, Product: "NVIDIA-H100-80GB-HBM3"}, have: kinds, uuids: []string{"GPU-b"}},
		{name: "more of a product than there are", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 2, Product: "NVIDIA-L40S"}, have: kinds, fails: true},
		{name: "a product that is not there", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1, Product: "NVIDIA-H100"}, have: kinds, fails: true},
		{name: "a product without a GPU", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1, Product: "NVIDIA-H100"}, fails: true},
		{name: "instances by their profile", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1, MIG: "1g.10gb"}, have: divided, fails: true},
		{name: "an undivided one beside", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}, have: append(slices.Clone(divided), Device{Index: 1, UUID: "GPU-b"}), uuids: []string{"GPU-b"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			uuids, none, err := (&Machine{devices: test.have}).Devices(t.Context(), test.want)
			if !slices.Equal(uuids, test.uuids) || (none != "") != test.none || (err != nil) != test.fails {
				t.Errorf("got %v, %q, %v", uuids, none, err)
			}
			if err != nil && !errors.Is(err, ErrUnavailable) {
				t.Errorf("%v does not say that the machine lacks something", err)
			}
		})
	}
}

// TestGive: only the services that serve the app get devices, and MPS with them.
func TestGive(t *testing.T) {
	mps := &scenarios.MPS{ActiveThreads: 33.3}
	m := &Machine{devices: []Device{{UUID: "GPU-a"}}}
	asked := Spec{GPU: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1, MPS: mps}, Services: []Service{{GPU: true}, {Name: "nginx"}}}
	given, err := m.Give(asked)
	if err != nil {
		t.Fatal(err)
	}
	if app, nginx := given.Services[0], given.Services[1]; !slices.Equal(app.GPUs, []string{"GPU-a"}) || app.MPS != mps || nginx.GPUs != nil || nginx.MPS != nil {
		t.Errorf("given %+v", given.Services)
	}
	if got := given.Given(); !slices.Equal(got, []string{"GPU-a"}) {
		t.Errorf("the stack got %v", got)
	}
	if asked.Services[0].GPUs != nil {
		t.Error("the spec that was asked for has changed")
	}
	for product, gets := range map[string]bool{"NVIDIA-L40S": true, "NVIDIA-T4": false} { // of a topology alone
		asked.Topology.GPUProduct, asked.GPU.Product = product, product
		given, err := (&Machine{devices: []Device{{UUID: "GPU-a", Name: "NVIDIA L40S"}}}).Give(asked)
		if (err == nil) != gets || gets && !slices.Equal(given.Given(), []string{"GPU-a"}) || errors.Is(err, ErrUnavailable) {
			t.Errorf("a topology on %s: %v, %v", product, given.Given(), err)
		}
	}
	asked.Topology.GPUProduct, asked.GPU.Product = "", ""
	without, err := (&Machine{}).Give(asked)
	if err != nil || without.Given() != nil || without.Services[0].MPS != nil {
		t.Errorf("without devices: %+v, %v", without.Services, err)
	}
}
