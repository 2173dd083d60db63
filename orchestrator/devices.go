package orchestrator

import (
	"fmt"
	"strconv"
	"strings"

	"stackmeter/orchestrator/gpu"
	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// SelectGPUs chooses the devices of each stack by UUID, from what a scenario
// asks for and what the machine has. none says why there are none of them
// although the scenario would use one; it is what `auto` reports. The error
// wraps stacks.ErrUnavailable when the machine cannot give what is asked for.
func SelectGPUs(want scenarios.GPU, have []gpu.Device, missing string) (uuids []string, none string, err error) {
	if want.Mode == scenarios.GPUOff {
		return nil, "", nil
	}
	if len(have) == 0 {
		if missing == "" {
			missing = "this machine has none"
		}
		if want.Mode == scenarios.GPURequired {
			return nil, "", fmt.Errorf("%w: resources.gpu.mode is required: %s; see stackmeter doctor, or set the mode to auto or off", stacks.ErrUnavailable, missing)
		}
		return nil, missing, nil
	}
	if len(want.Devices) > 0 {
		for _, asked := range want.Devices {
			uuid, ok := find(asked, have)
			if !ok {
				return nil, "", fmt.Errorf("%w: resources.gpu.devices asks for %q; this machine has %s", stacks.ErrUnavailable, asked, list(have))
			}
			uuids = append(uuids, uuid)
		}
		return uuids, "", nil
	}
	// A MIG instance is given only to those who ask for it by name: counted
	// are whole GPUs.
	var whole []gpu.Device
	for _, d := range have {
		if d.Parent == "" {
			whole = append(whole, d)
		}
	}
	count := want.Count
	if count == scenarios.AllGPUs {
		count = len(whole)
	}
	if count > len(whole) {
		return nil, "", fmt.Errorf("%w: resources.gpu.count is %d; this machine has %s", stacks.ErrUnavailable, count, list(whole))
	}
	for _, d := range whole[:count] {
		uuids = append(uuids, d.UUID)
	}
	return uuids, "", nil
}

func find(asked string, have []gpu.Device) (uuid string, ok bool) {
	for _, d := range have {
		if d.UUID == asked || d.Parent == "" && strconv.Itoa(d.Index) == asked {
			return d.UUID, true
		}
	}
	return "", false
}

func list(have []gpu.Device) string {
	var names []string
	for _, d := range have {
		names = append(names, fmt.Sprintf("%d %s (%s)", d.Index, d.UUID, d.Name))
	}
	return strings.Join(names, ", ")
}
