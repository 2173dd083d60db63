package orchestrator

import (
	"errors"
	"slices"
	"testing"

	"stackmeter/orchestrator/gpu"
	"stackmeter/scenarios"
	"stackmeter/stacks"
)

func TestSelectGPUs(t *testing.T) {
	two := []gpu.Device{
		{Index: 0, UUID: "GPU-a"}, {Index: 1, UUID: "GPU-b"},
	}
	divided := []gpu.Device{{Index: 0, UUID: "GPU-a", MIG: true}, {Index: 0, UUID: "MIG-a1", Parent: "GPU-a"}, {Index: 1, UUID: "MIG-a2", Parent: "GPU-a"}}
	type test struct {
		name  string
		want  scenarios.GPU
		have  []gpu.Device
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
		{name: "an undivided one beside", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}, have: append(slices.Clone(divided), gpu.Device{Index: 1, UUID: "GPU-b"}), uuids: []string{"GPU-b"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			uuids, none, err := SelectGPUs(test.want, test.have, "")
			if !slices.Equal(uuids, test.uuids) || (none != "") != test.none || (err != nil) != test.fails {
				t.Errorf("got %v, %q, %v", uuids, none, err)
			}
			if err != nil && !errors.Is(err, stacks.ErrUnavailable) {
				t.Errorf("%v does not say that the machine lacks something", err)
			}
		})
	}
}
