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
			d, ok := find(asked, have)
			switch {
			case !ok:
				return nil, "", fmt.Errorf("%w: resources.gpu.devices asks for %q; this machine has %s", stacks.ErrUnavailable, asked, list(have))
			case d.MIG:
				return nil, "", fmt.Errorf("%w: resources.gpu.devices asks for %q, which is divided into MIG instances, so that nothing can compute on the whole of it; name one of them: %s", stacks.ErrUnavailable, asked, list(have))
			}
			uuids = append(uuids, d.UUID)
		}
		return uuids, "", nil
	}
	// A MIG instance is given only to those who ask for it by name: counted
	// are whole GPUs, which those are not that are divided.
	var whole []gpu.Device
	divided := ""
	for _, d := range have {
		switch {
		case d.MIG:
			divided = "; GPUs that are divided into MIG instances do not count, name their instances in resources.gpu.devices"
		case d.Parent == "":
			whole = append(whole, d)
		}
	}
	if len(whole) == 0 && want.Mode == scenarios.GPUAuto {
		return nil, "this machine has " + list(have) + divided, nil
	}
	count := want.Count
	if count == scenarios.AllGPUs {
		count = max(1, len(whole))
	}
	if count > len(whole) {
		return nil, "", fmt.Errorf("%w: resources.gpu.count is %d; this machine has %s%s", stacks.ErrUnavailable, count, list(have), divided)
	}
	for _, d := range whole[:count] {
		uuids = append(uuids, d.UUID)
	}
	return uuids, "", nil
}

func find(asked string, have []gpu.Device) (found gpu.Device, ok bool) {
	for _, d := range have {
		if d.UUID == asked || d.Parent == "" && strconv.Itoa(d.Index) == asked {
			return d, true
		}
	}
	return gpu.Device{}, false
}

func list(have []gpu.Device) string {
	var names []string
	for _, d := range have {
		names = append(names, fmt.Sprintf("%d %s (%s)", d.Index, d.UUID, d.Name))
	}
	return strings.Join(names, ", ")
}
