package stacks

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNoGPU marks the error of a runtime that cannot give a stack the GPUs of
// its spec. Runtime.Prepare finds out before anything is measured.
var ErrNoGPU = errors.New("stacks cannot be given a GPU here")

// ListGPUs is the command that lists the GPUs of a container from inside.
// NVIDIA's toolkit puts it there. The environment (NVIDIA_VISIBLE_DEVICES) only
// repeats what was asked for.
func ListGPUs() []string { return []string{"nvidia-smi", "-L"} }

// SeenGPUs looks inside the containers of a running stack for the GPUs that its
// services were given, and returns what it found and how. A stack without them
// would be measured on the CPU, or end at its first request. Local processes,
// which see the machine's own devices, and stacks without GPUs are not looked at:
// the result is then facts.GPU. The error wraps ErrDiffers and says what to do.
func SeenGPUs(ctx context.Context, spec Spec, facts Facts, stack Stack) (string, error) {
	seen := facts.GPU
	for _, s := range facts.Services {
		if len(s.GPUs) == 0 || s.Container == "" {
			continue
		}
		how, err := seenBy(ctx, stack, s)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if err != nil {
			return "", fmt.Errorf("%w: service %s: %w", ErrDiffers, s.Service, err)
		}
		seen = strings.Join(s.GPUs, ", ") + " (" + how + ")"
	}
	if product := spec.GPU.Product; product != "" && len(stack.Devices()) > 0 {
		seen += ", product " + product
	}
	if m := spec.GPU.MPS; m != nil && len(stack.Devices()) > 0 {
		seen += ", " + mpsText(m)
	}
	return seen, nil
}

func seenBy(ctx context.Context, stack Stack, s ServiceFacts) (how string, err error) {
	out, err := stack.Exec(ctx, s.Service, ListGPUs()...)
	switch {
	case err == nil:
		return "listed by nvidia-smi in the container", CompareGPUs(string(out), s.GPUs)
	case !missingProgram(err):
		return "", ExplainNVML(err)
	}
	// An image may ask the toolkit for no tools (NVIDIA_DRIVER_CAPABILITIES).
	out, err = stack.Exec(ctx, s.Service, "ls", "/dev")
	switch {
	case err == nil:
		return "seen by its device node in the container", compareNodes(strings.Fields(string(out)), s.GPUs)
	case missingProgram(err):
		return "not looked for: the image has neither nvidia-smi nor ls", nil
	}
	return "", err
}

// missingProgram tells a program that is not in the image from one that
// failed. Engines say so in the output of the exec.
func missingProgram(err error) bool {
	text := err.Error()
	return strings.Contains(text, "executable file not found") || strings.Contains(text, "no such file or directory")
}

// listedUUID matches the end of a line of nvidia-smi -L. MIG instances are
// indented below their GPU.
var listedUUID = regexp.MustCompile(`\(UUID: ((?:GPU|MIG)-[^)\s]+)\)`)

// CompareGPUs compares what nvidia-smi -L printed inside a container with the
// UUIDs that it was given. The GPU of a MIG instance is listed with it and does
// not count.
func CompareGPUs(listing string, want []string) error {
	have := listedGPUs(listing)
	instances := slices.ContainsFunc(want, isMIG)
	var lacks, more []string
	for _, uuid := range want {
		if !slices.Contains(have, uuid) {
			lacks = append(lacks, uuid)
		}
	}
	for _, uuid := range have {
		if !slices.Contains(want, uuid) && (isMIG(uuid) || !instances) {
			more = append(more, uuid)
		}
	}
	switch {
	case len(have) == 0:
		return fmt.Errorf("its container was given %s and sees no GPU; look with docker logs of the engine whether NVIDIA's toolkit ran", strings.Join(want, ", "))
	case len(lacks) > 0:
		return fmt.Errorf("its container was given %s and does not see %s; it sees %s", strings.Join(want, ", "), strings.Join(lacks, ", "), strings.Join(have, ", "))
	case len(more) > 0:
		return fmt.Errorf("its container was given %s and also sees %s, so that its memory could be on either: a default runtime or an image that sets NVIDIA_VISIBLE_DEVICES gives every container all GPUs", strings.Join(want, ", "), strings.Join(more, ", "))
	}
	return nil
}

func listedGPUs(listing string) (uuids []string) {
	for _, m := range listedUUID.FindAllStringSubmatch(listing, -1) {
		uuids = append(uuids, m[1])
	}
	return uuids
}

// listedDevice matches a line of nvidia-smi -L: of a GPU, or of a MIG instance.
var listedDevice = regexp.MustCompile(`^\s*(?:GPU (\d+): (.*?)|MIG (\S+)\s+Device\s+\d+:) \(UUID: ([^)\s]+)\)`)

// ListedGPUs are the devices that nvidia-smi -L printed: GPUs, or the MIG instances if
// there are any.
func ListedGPUs(listing string) (devices []Device) {
	var parent Device
	var instances []Device
	for line := range strings.Lines(listing) {
		m := listedDevice.FindStringSubmatch(line)
		switch {
		case m == nil || !listedUUID.MatchString(line):
		case m[1] != "":
			parent = Device{Name: m[2], UUID: m[4]}
			parent.Index, _ = strconv.Atoi(m[1])
			devices = append(devices, parent)
		default:
			instances = append(instances, Device{Index: parent.Index, Name: parent.Name + " MIG " + m[3], UUID: m[4], Parent: parent.UUID})
		}
	}
	if len(instances) > 0 {
		return instances
	}
	return devices
}

// UUIDs are those of devices.
func UUIDs(devices []Device) (uuids []string) {
	for _, d := range devices {
		uuids = append(uuids, d.UUID)
	}
	return uuids
}

func isMIG(uuid string) bool { return strings.HasPrefix(uuid, "MIG-") }

var gpuNode = regexp.MustCompile(`^nvidia[0-9]+$`)

// compareNodes looks at the names in a container's /dev. The nodes carry no
// UUID: only their number can be compared. Under WSL 2 one node (dxg) stands for
// all GPUs.
func compareNodes(names, want []string) error {
	if slices.Contains(names, "dxg") {
		return nil
	}
	nodes := 0
	for _, name := range names {
		if gpuNode.MatchString(name) {
			nodes++
		}
	}
	whole := !slices.ContainsFunc(want, isMIG)
	if nodes == 0 || whole && nodes != len(want) {
		return fmt.Errorf("its container was given %s and has %d of the device nodes /dev/nvidia0, /dev/nvidia1 …", strings.Join(want, ", "), nodes)
	}
	return nil
}

// ExplainNVML adds the remedy to the error of an nvidia-smi in a container where
// NVML does not work.
func ExplainNVML(err error) error {
	text := err.Error()
	for _, known := range []struct{ sign, means string }{
		// github.com/NVIDIA/nvidia-container-toolkit/issues/48
		{"Failed to initialize NVML: Unknown Error", "the container has lost its GPU: systemd took the access away when it reloaded its units (systemctl daemon-reload, or an update that does it). The stack has to be made anew; to keep it from happening, let the engine use CDI or the cgroup driver cgroupfs, or create the links in /dev/char (nvidia-ctk system create-dev-char-symlinks --create-all)"},
		// github.com/NVIDIA/nvidia-container-toolkit/issues/171
		{"Driver/library version mismatch", "the NVIDIA driver was updated while the old one is still loaded: restart the machine or load the new module"},
		{"couldn't communicate with the NVIDIA driver", "the NVIDIA driver does not answer in the container: see whether nvidia-smi works on the machine itself"},
		{"No devices were found", "the container sees no GPU: see whether nvidia-smi lists it on the machine itself"},
	} {
		if strings.Contains(text, known.sign) {
			return fmt.Errorf("%s: %w", known.means, err)
		}
	}
	return fmt.Errorf("the GPUs cannot be listed in the container: %w", err)
}
