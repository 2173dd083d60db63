package docker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/system"
	"gopkg.in/yaml.v3"

	"stackmeter/stacks"
)

// Device drivers of an engine.
const (
	driverNVIDIA = "nvidia"
	driverCDI    = "cdi"
)

// The environment of a container that is to have no GPU. Where nvidia is the
// engine's default runtime, or an image says "all", it would have every one.
const (
	visibleGPUs = "NVIDIA_VISIBLE_DEVICES"
	noGPU       = visibleGPUs + "=void"
)

// cdiKind is the vendor and class under which NVIDIA's toolkit writes its CDI
// specifications.
const cdiKind = "nvidia.com/gpu"

// An offer is what an engine says of itself that decides how its containers
// get GPUs.
type offer struct {
	podman  string   // Podman's version; empty for Docker's own engine
	runtime bool     // the runtime nvidia is registered
	cdi     []string // folders of CDI specifications; empty where CDI is off
	devices []string // CDI devices by their full name, as far as it is known
}

// offer asks the engine.
func (r *Runtime) offer(ctx context.Context) (offer, error) {
	info, err := r.Info(ctx)
	if err != nil {
		return offer{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.Limits.call())
	defer cancel()
	version, err := r.api.ServerVersion(ctx)
	if err != nil {
		return offer{}, engineError(err, r.api.DaemonHost())
	}
	o := read(info, version)
	if len(o.devices) == 0 && runtime.GOOS == "linux" && isUnix(r.api.DaemonHost()) {
		o.devices = specified(o.cdi)
	}
	return o, nil
}

// read takes an engine's answers apart.
func read(info system.Info, version types.Version) offer {
	o := offer{cdi: info.CDISpecDirs}
	_, o.runtime = info.Runtimes["nvidia"]
	for _, d := range info.DiscoveredDevices {
		if d.Source == driverCDI {
			o.devices = append(o.devices, d.ID)
		}
	}
	if o.podman = podmanVersion(version); o.podman != "" {
		// Podman does not say where it reads them.
		o.cdi = []string{"/etc/cdi", "/var/run/cdi"}
	}
	return o
}

// podmanVersion is that of the Podman behind a Docker API, empty where there is
// none.
func podmanVersion(version types.Version) string {
	for _, c := range version.Components {
		if strings.HasPrefix(c.Name, "Podman") {
			return c.Version
		}
	}
	return ""
}

// specified lists the devices of the CDI specifications in some folders. What
// cannot be read names no device: the engine does not see it either.
func specified(dirs []string) []string {
	var names []string
	for _, dir := range dirs {
		for _, pattern := range []string{"*.yaml", "*.json"} {
			files, _ := filepath.Glob(filepath.Join(dir, pattern))
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					continue
				}
				var spec struct {
					Kind    string
					Devices []struct{ Name string }
				}
				if yaml.Unmarshal(text, &spec) != nil {
					continue
				}
				for _, d := range spec.Devices {
					names = append(names, spec.Kind+"="+d.Name)
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// uuids are the forms that NVIDIA's driver gives: of a GPU, of a MIG instance,
// and of a MIG instance before driver 470. Nothing else is passed on: "all",
// "none", an index or a list would be understood by the toolkit too.
var sane = regexp.MustCompile(`^(GPU|MIG|MIG-GPU)(-[0-9A-Za-z]{1,16}){1,8}(/[0-9]{1,3}/[0-9]{1,3})?$`)

// gpuRequests are the ways in which the engine may give the GPUs to a
// container, the best one first. None of them sets Count, which contradicts
// DeviceIDs.
func (o offer) gpuRequests(uuids []string) ([]container.DeviceRequest, error) {
	named := true
	names := make([]string, len(uuids))
	for i, uuid := range uuids {
		if !sane.MatchString(uuid) {
			return nil, fmt.Errorf("%q is not the UUID of a GPU or of a MIG instance; nvidia-smi -L lists them", uuid)
		}
		names[i] = cdiKind + "=" + uuid
		named = named && slices.Contains(o.devices, names[i])
	}
	nvidia := container.DeviceRequest{Driver: driverNVIDIA, DeviceIDs: uuids, Capabilities: [][]string{{"gpu"}}}
	cdi := container.DeviceRequest{Driver: driverCDI, DeviceIDs: names}
	switch {
	case o.podman != "":
		if !atLeast(o.podman, 5, 4) {
			// github.com/podman-container-tools/podman/issues/22645
			return nil, fmt.Errorf("the engine is Podman %s, which ignores requests for devices that come through its Docker API; update it to 5.4 or newer, or use Docker's engine", o.podman)
		}
		if len(o.devices) > 0 && !named {
			return nil, errUnnamed(uuids)
		}
		return []container.DeviceRequest{cdi}, nil
	case len(o.cdi) > 0 && named:
		// Containers that got their GPUs through CDI keep them when systemd
		// reloads its units.
		return []container.DeviceRequest{cdi, nvidia}, nil
	case len(o.cdi) > 0 && len(o.devices) == 0:
		return []container.DeviceRequest{nvidia, cdi}, nil
	}
	return []container.DeviceRequest{nvidia}, nil
}

func errUnnamed(uuids []string) error {
	return fmt.Errorf("no CDI specification names %s; write one with nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml", strings.Join(uuids, ", "))
}

// atLeast compares the first two numbers of a version.
func atLeast(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	have, err := strconv.Atoi(parts[0])
	if err != nil || have != major {
		return err == nil && have > major
	}
	have, err = strconv.Atoi(parts[1])
	return err == nil && have >= minor
}

// words say how the engine gives GPUs to containers. ok is false when it
// names no way that could work.
func (o offer) words() (text string, ok bool) {
	if o.podman != "" && !atLeast(o.podman, 5, 4) {
		return fmt.Sprintf("the engine is Podman %s, which ignores requests for devices that come through its Docker API", o.podman), false
	}
	var ways []string
	for _, name := range o.devices {
		if strings.HasPrefix(name, cdiKind+"=") {
			ways = append(ways, name)
		}
	}
	if len(ways) > 0 {
		ways = []string{"CDI with " + strings.Join(ways, ", ")}
	}
	if o.runtime {
		ways = append(ways, "the runtime nvidia")
	}
	switch {
	case len(ways) > 0:
		return strings.Join(ways, "; "), true
	case len(o.cdi) > 0:
		return fmt.Sprintf("the engine has CDI on, but no specification in %s names a GPU, and it has no runtime nvidia", strings.Join(o.cdi, ", ")), false
	}
	return "the engine has CDI off and no runtime nvidia", false
}

// GPUSupport says in words how the engine gives GPUs to containers; ok is
// false when it names no way. An engine that only found the toolkit's hook on
// its PATH when it was started names none either: a container that asks for a
// GPU, which Prepare makes, is then the only proof.
func (r *Runtime) GPUSupport(ctx context.Context) (text string, ok bool) {
	o, err := r.offer(ctx)
	if err != nil {
		return err.Error(), false
	}
	return o.words()
}

// gpuRequest is how a service asks the engine for its GPUs: as Prepare has
// proven, or without that as the engine's own words suggest.
func (r *Runtime) gpuRequest(ctx context.Context, s stacks.Service) ([]container.DeviceRequest, error) {
	if len(s.GPUs) == 0 {
		return nil, nil
	}
	r.mu.Lock()
	proven, ok := r.requests[gpuKey(s)]
	r.mu.Unlock()
	if ok {
		return []container.DeviceRequest{proven}, nil
	}
	o, err := r.offer(ctx)
	if err != nil {
		return nil, err
	}
	ways, err := o.gpuRequests(s.GPUs)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", stacks.ErrNoGPU, err)
	}
	return ways[:1], nil
}

// gpuKey names what a proof is valid for: the toolkit also looks at the image.
func gpuKey(s stacks.Service) string { return strings.Join(s.GPUs, ",") + " " + imageKey(s) }
