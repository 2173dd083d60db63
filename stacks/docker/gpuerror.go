package docker

import (
	"fmt"
	"strings"
)

// A toolkitFault is a part of what the engine, or NVIDIA's toolkit through it,
// says when a container does not get its GPU, with what it means and what to
// do. The first one that fits holds.
type toolkitFault struct {
	signs []string // all of them occur
	means string
}

// toolkitFaults lists the messages of the issues named beside them.
func toolkitFaults() []toolkitFault {
	const (
		install = "install the NVIDIA Container Toolkit and restart the engine, which looks for it only when it starts, or set resources.gpu.mode to off"
		driver  = "see whether nvidia-smi works on the machine itself"
	)
	return []toolkitFault{
		// github.com/NVIDIA/nvidia-container-toolkit/issues/434
		{[]string{`could not select device driver "cdi"`}, "the engine has CDI switched off: set features.cdi to true in its daemon.json (on by default since Docker 28.2), or " + install},
		// github.com/NVIDIA/nvidia-docker/issues/1034
		{[]string{"could not select device driver"}, "the engine has no GPU support: " + install},
		// github.com/moby/moby/issues/47633
		{[]string{"unresolvable CDI devices"}, "no CDI specification names this GPU: write one with nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml, anew after each change of the driver or of MIG"},
		// github.com/NVIDIA/nvidia-container-toolkit/issues/885
		{[]string{"failed to stat CDI host device"}, "the CDI specification is older than the driver or the devices: write it anew with nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml"},
		// github.com/NVIDIA/nvidia-docker/issues/1442
		{[]string{"requirement error", "unsatisfied condition"}, "the image needs a newer NVIDIA driver than this machine has: update the driver, or use an image made for an older CUDA"},
		// github.com/NVIDIA/nvidia-container-toolkit/issues/394
		{[]string{"driver/library version mismatch"}, "the NVIDIA driver was updated while the old one is still loaded: restart the machine or load the new module"},
		// github.com/NVIDIA/nvidia-docker/issues/1393
		{[]string{"nvml error: driver not loaded"}, "the NVIDIA driver is not loaded on the engine's machine: " + driver},
		// github.com/docker/for-win/issues/13835
		{[]string{"load library failed", "libnvidia-ml.so"}, "the NVIDIA driver's libraries are not on the engine's machine: install the driver; " + driver},
		// github.com/NVIDIA/nvidia-container-toolkit/issues/29 and /203
		{[]string{"device error", "unknown device"}, "NVIDIA's toolkit does not know this GPU: compare resources.gpu.devices with nvidia-smi -L on the engine's machine (MIG instances get new UUIDs when they are made anew)"},
		// github.com/NVIDIA/nvidia-docker/issues/1660
		{[]string{"nvidia-container-cli", "cgroup subsystem devices not found"}, "NVIDIA's toolkit is older than this machine's control groups (v2): update it to 1.8 or newer"},
		// github.com/NVIDIA/nvidia-docker/issues/1671
		{[]string{"Failed to initialize NVML: Unknown Error"}, "the container has lost its GPU and has to be made anew"},
		// github.com/dusty-nv/jetson-containers/issues/1703
		{[]string{"invoking the NVIDIA Container Runtime Hook directly"}, "this kind of machine gives GPUs to containers by CDI only: switch it on in the engine (features.cdi in its daemon.json) and write a specification with nvidia-ctk cdi generate"},
		{[]string{"nvidia-container-cli: initialization error"}, "NVIDIA's toolkit cannot reach the driver: " + driver},
		{[]string{"nvidia-container-cli"}, "NVIDIA's toolkit could not give the container its GPU: " + driver},
	}
}

// toolkitError puts the meaning in front of an error of the engine's or the
// toolkit's about GPUs. It returns nil for any other error.
func toolkitError(err error) error {
	text := err.Error()
faults:
	for _, f := range toolkitFaults() {
		for _, sign := range f.signs {
			if !strings.Contains(text, sign) {
				continue faults
			}
		}
		return fmt.Errorf("%s: %w", f.means, err)
	}
	return nil
}
