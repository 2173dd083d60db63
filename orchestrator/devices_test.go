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
		{Index: 0, UUID: "GPU-a"}, {Index: 0, UUID: "MIG-a1", Parent: "GPU-a"}, {Index: 1, UUID: "GPU-b"},
	}
	tests := []struct {
		name  string
		want  scenarios.GPU
		have  []gpu.Device
		uuids []string
		none  bool // that a reason is given
		fails bool
	}{
		{name: "off", want: scenarios.GPU{Mode: scenarios.GPUOff}, have: two},
		{name: "auto without one", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}, none: true},
		{name: "required without one", want: scenarios.GPU{Mode: scenarios.GPURequired, Count: 1}, fails: true},
		{name: "the first one", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}, have: two, uuids: []string{"GPU-a"}},
		{name: "all, instances apart", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: scenarios.AllGPUs}, have: two, uuids: []string{"GPU-a", "GPU-b"}},
		{name: "more than there are", want: scenarios.GPU{Mode: scenarios.GPUAuto, Count: 3}, have: two, fails: true},
		{name: "by index and UUID", want: scenarios.GPU{Mode: scenarios.GPURequired, Devices: []string{"1", "MIG-a1"}}, have: two, uuids: []string{"GPU-b", "MIG-a1"}},
		{name: "one that is not there", want: scenarios.GPU{Mode: scenarios.GPUAuto, Devices: []string{"2"}}, have: two, fails: true},
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
