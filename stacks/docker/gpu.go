package docker

import (
	"context"
	"errors"
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
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/system"
	"gopkg.in/yaml.v3"

	"stackmeter/stacks"
)

// Device drivers of an engine.
const (
	driverNVIDIA = "nvidia"
	driverCDI    = "cdi"
)

// The environment that keeps GPUs from a container. Without it a container gets
// all of them where nvidia is the engine's default runtime or the image says "all".
const (
	visibleGPUs = "NVIDIA_VISIBLE_DEVICES"
	noGPU       = visibleGPUs + "=void"
)

// cdiKind is the vendor and class under which NVIDIA's toolkit writes its CDI
// specifications.
const cdiKind = "nvidia.com/gpu"

// An offer is what an engine says about how its containers get GPUs.
type offer struct {
	podman  string   // Podman's version; empty for Docker's own engine
	runtime bool     // the runtime nvidia is registered
	cdi     []string // folders of CDI specifications; empty where CDI is off
	devices []string // CDI devices by full name, as far as known
}

// offer asks the engine.
func (r *Runtime) offer(ctx context.Context) (offer, error) {
	info, err := r.Info(ctx)
	if err != nil {
		return offer{}, err
	}
	version, err := r.version(ctx)
	if err != nil {
		return offer{}, err
	}
	o := read(info, version)
	if len(o.devices) == 0 && runtime.GOOS == "linux" && isUnix(r.api.DaemonHost()) {
		o.devices = specified(o.cdi)
	}
	return o, nil
}

// read extracts the offer from an engine's answers.
func read(info system.Info, version types.Version) offer {
	o := offer{cdi: info.CDISpecDirs}
	_, o.runtime = info.Runtimes["nvidia"]
	for _, d := range info.DiscoveredDevices {
		if d.Source == driverCDI {
			o.devices = append(o.devices, d.ID)
		}
	}
	if o.podman = podmanVersion(version); o.podman != "" {
		// Podman does not say where it reads specifications.
		o.cdi = []string{"/etc/cdi", "/var/run/cdi"}
	}
	return o
}

// podmanVersion returns the version of the Podman behind a Docker API, empty for
// another engine.
func podmanVersion(version types.Version) string {
	for _, c := range version.Components {
		if strings.HasPrefix(c.Name, "Podman") {
			return c.Version
		}
	}
	return ""
}

// specified lists the devices of the CDI specifications in some folders. It skips
// what cannot be read, which the engine cannot read either.
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

// sane matches UUIDs as NVIDIA's driver writes them: of a GPU, of a MIG instance,
// and of a MIG instance before driver 470. Nothing else is passed on, because the
// toolkit also understands "all", "none", an index or a list.
var sane = regexp.MustCompile(`^(GPU|MIG|MIG-GPU)(-[0-9A-Za-z]{1,16}){1,8}(/[0-9]{1,3}/[0-9]{1,3})?$`)

// gpuRequests returns the ways in which the engine may give the GPUs to a
// container, the best one first. None sets Count, which contradicts DeviceIDs.
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
			return nil, fmt.Errorf("no CDI specification names %s; write one with nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml", strings.Join(uuids, ", "))
		}
		return []container.DeviceRequest{cdi}, nil
	case len(o.cdi) > 0 && named:
		// With CDI, containers keep their GPUs when systemd reloads its units.
		return []container.DeviceRequest{cdi, nvidia}, nil
	case len(o.cdi) > 0 && len(o.devices) == 0:
		return []container.DeviceRequest{nvidia, cdi}, nil
	}
	return []container.DeviceRequest{nvidia}, nil
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

// words says how the engine gives GPUs to containers. ok is false if it names no
// way that could work.
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

// GPUSupport says how the engine gives GPUs to containers. ok is false if the
// engine names no way. It may then have found the toolkit's hook on its PATH when
// it started, which only a container that asks for a GPU can prove: Prepare
// starts one.
func (r *Runtime) GPUSupport(ctx context.Context) (text string, ok bool) {
	o, err := r.offer(ctx)
	if err != nil {
		return err.Error(), false
	}
	return o.words()
}

// gpuKey identifies what a proof is valid for. The toolkit decides by the image
// too.
func gpuKey(s stacks.Service) string { return strings.Join(s.GPUs, ",") + " " + imageKey(s) }

// mpsFolder is where a container finds the pipes of the MPS control daemon.
const mpsFolder = "/tmp/nvidia-mps"

// checkMPS looks for the MPS control daemon where the containers run.
func (r *Runtime) checkMPS(ctx context.Context) error {
	local, err := r.Local(ctx)
	switch {
	case err != nil:
		return err
	case !local:
		return errors.New("resources.gpu.mps needs an engine whose containers run on this machine itself: their processes talk to the machine's MPS daemon")
	}
	return stacks.CheckMPS(stacks.MPSPipes())
}

// mpsMounts returns the only folders of the machine that a container gets without being
// asked for: the pipes of the MPS daemon, and the shared memory in which a client talks to
// its server. NVIDIA's device plugin for Kubernetes mounts the same two
// (https://github.com/NVIDIA/k8s-device-plugin, docs/mps).
func mpsMounts(s stacks.Service) []mount.Mount {
	if s.MPS == nil {
		return nil
	}
	return []mount.Mount{
		{Type: mount.TypeBind, Source: stacks.MPSPipes(), Target: mpsFolder},
		{Type: mount.TypeBind, Source: "/dev/shm", Target: "/dev/shm"},
	}
}
