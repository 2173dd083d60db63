package docker

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/system"
)

func TestGPURequests(t *testing.T) {
	nvidia := container.DeviceRequest{Driver: "nvidia", DeviceIDs: []string{gpuA}, Capabilities: [][]string{{"gpu"}}}
	cdi := container.DeviceRequest{Driver: "cdi", DeviceIDs: []string{"nvidia.com/gpu=" + gpuA}}
	dirs := []string{"/etc/cdi", "/var/run/cdi"}
	for _, test := range []struct {
		name  string
		offer offer
		uuid  string
		want  []container.DeviceRequest
		fails string
	}{
		{name: "an engine that says nothing", want: []container.DeviceRequest{nvidia}},
		{name: "the runtime nvidia", offer: offer{runtime: true}, want: []container.DeviceRequest{nvidia}},
		{name: "CDI that names the GPU", offer: offer{cdi: dirs, devices: []string{"nvidia.com/gpu=0", "nvidia.com/gpu=" + gpuA}},
			want: []container.DeviceRequest{cdi, nvidia}},
		{name: "CDI by index only", offer: offer{cdi: dirs, devices: []string{"nvidia.com/gpu=0", "nvidia.com/gpu=all"}},
			want: []container.DeviceRequest{nvidia}},
		{name: "CDI of another vendor", offer: offer{cdi: dirs, devices: []string{"example.com/gpu=" + gpuA}},
			want: []container.DeviceRequest{nvidia}},
		{name: "CDI whose devices cannot be seen from here", offer: offer{cdi: dirs},
			want: []container.DeviceRequest{nvidia, cdi}},
		{name: "specifications, but CDI off", offer: offer{devices: []string{"nvidia.com/gpu=" + gpuA}},
			want: []container.DeviceRequest{nvidia}},
		{name: "Podman", offer: offer{podman: "5.4.0", cdi: dirs}, want: []container.DeviceRequest{cdi}},
		{name: "Podman, a version being made", offer: offer{podman: "6.0.0-dev", cdi: dirs}, want: []container.DeviceRequest{cdi}},
		{name: "Podman that names another GPU", offer: offer{podman: "5.4.0", devices: []string{"nvidia.com/gpu=all"}}, fails: "--device-name-strategy=uuid"},
		{name: "Podman that ignores requests", offer: offer{podman: "5.3.2", cdi: dirs}, fails: "Podman 5.3.2, which ignores"},
		{name: "Podman of Debian 12", offer: offer{podman: "4.3.1", cdi: dirs}, fails: "update it to 5.4"},
		{name: "Podman without a version", offer: offer{podman: "dev"}, fails: "ignores"},
		{name: "all is no UUID", uuid: "all", fails: `"all" is not the UUID`},
		{name: "an index is no UUID", uuid: "0", fails: "is not the UUID"},
		{name: "a list is no UUID", uuid: gpuA + "," + gpuB, fails: "is not the UUID"},
		{name: "a file is no UUID", uuid: "GPU-../../etc", fails: "is not the UUID"},
		{name: "nothing is no UUID", uuid: "GPU-", fails: "is not the UUID"},
	} {
		t.Run(test.name, func(t *testing.T) {
			uuid := test.uuid
			if uuid == "" {
				uuid = gpuA
			}
			got, err := test.offer.gpuRequests([]string{uuid})
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("error %v, want %q in it", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got, test.want, func(a, b container.DeviceRequest) bool {
				return a.Driver == b.Driver && a.Count == 0 && slices.Equal(a.DeviceIDs, b.DeviceIDs) &&
					slices.EqualFunc(a.Capabilities, b.Capabilities, slices.Equal[[]string])
			}) {
				t.Errorf("requests %+v, want %+v", got, test.want)
			}
		})
	}
	for _, uuid := range []string{migA, "MIG-GPU-932bfb2c-849a-2a22-1e84-9eff6bc02b39/1/0", "GPU-932bfb2c-849a-2a22-1e84-9eff6bc02b39"} {
		if _, err := (offer{}).gpuRequests([]string{uuid}); err != nil {
			t.Errorf("%s: %v", uuid, err)
		}
	}
}

func TestOffer(t *testing.T) {
	podman := func(version string) types.Version {
		return types.Version{Components: []types.ComponentVersion{{Name: "Podman Engine", Version: version}, {Name: "Conmon", Version: "2.1.12"}}}
	}
	docker := types.Version{Components: []types.ComponentVersion{{Name: "Engine", Version: "28.3.0"}, {Name: "containerd", Version: "1.7.27"}}}
	for _, test := range []struct {
		name    string
		info    system.Info
		version types.Version
		ok      bool
		words   string
	}{
		{"nothing", system.Info{}, docker, false, "CDI off and no runtime nvidia"},
		{"the runtime", system.Info{Runtimes: map[string]system.RuntimeWithStatus{"nvidia": {}}}, docker, true, "the runtime nvidia"},
		{"CDI without a GPU", system.Info{CDISpecDirs: []string{"/etc/cdi"}, DiscoveredDevices: []system.DeviceInfo{{Source: "cdi", ID: "example.com/net=0"}}}, docker, false, "no specification in /etc/cdi names a GPU"},
		{"CDI", system.Info{CDISpecDirs: []string{"/etc/cdi"}, DiscoveredDevices: []system.DeviceInfo{{Source: "cdi", ID: "nvidia.com/gpu=0"}}}, docker, true, "CDI with nvidia.com/gpu=0"},
		{"old Podman", system.Info{Runtimes: map[string]system.RuntimeWithStatus{"nvidia": {}}}, podman("4.9.3"), false, "Podman 4.9.3, which ignores requests"},
		{"Podman", system.Info{}, podman("5.5.1"), false, "no specification in /etc/cdi, /var/run/cdi names a GPU"},
	} {
		t.Run(test.name, func(t *testing.T) {
			words, ok := read(test.info, test.version).words()
			if ok != test.ok || !strings.Contains(words, test.words) {
				t.Errorf("%q, %v; want %q, %v", words, ok, test.words, test.ok)
			}
		})
	}
}

func TestSpecified(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"nvidia.yaml": "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: \"0\"\n- name: " + gpuA + "\n  containerEdits: {deviceNodes: [{path: /dev/nvidia0}]}\n",
		"again.json":  `{"kind": "nvidia.com/gpu", "devices": [{"name": "0"}]}`,
		"broken.yaml": "kind: [",
		"notes.txt":   "kind: nvidia.com/gpu\ndevices: [{name: no}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := specified([]string{dir, filepath.Join(dir, "missing")})
	want := []string{"nvidia.com/gpu=0", "nvidia.com/gpu=" + gpuA}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestToolkitErrors holds texts as users have reported them.
func TestToolkitErrors(t *testing.T) {
	const (
		runc11 = "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: error running prestart hook #0: exit status 1, stdout: , stderr: Auto-detected mode as 'legacy'\n"
		runc10 = "OCI runtime create failed: container_linux.go:380: starting container process caused: process_linux.go:545: container init caused: Running hook #0:: error running hook: exit status 1, stdout: , stderr: "
	)
	for _, test := range []struct{ name, text, want string }{
		// github.com/infiniflow/ragflow/issues/9573
		{"no toolkit", `could not select device driver "nvidia" with capabilities: [[gpu]]`, "install the NVIDIA Container Toolkit and restart the engine"},
		// github.com/NVIDIA/nvidia-container-toolkit/issues/434
		{"CDI off", `could not select device driver "cdi" with capabilities: []`, "features.cdi"},
		// github.com/devnen/Chatterbox-TTS-Server/issues/5
		{"CDI without the GPU", "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=" + gpuA, "nvidia-ctk cdi generate --device-name-strategy=uuid"},
		// github.com/NVIDIA/nvidia-container-toolkit/issues/146
		{"Podman without the GPU", "error setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all", "no CDI specification names this GPU"},
		// github.com/NVIDIA/nvidia-container-toolkit/issues/885
		{"CDI of an older boot", `setting up CDI devices: failed to inject devices: failed to stat CDI host device "/dev/dri/renderD129": no such file or directory`, "older than the driver"},
		// github.com/NVIDIA/nvidia-docker/issues/1629
		{"driver not loaded", runc10 + "nvidia-container-cli: initialization error: nvml error: driver not loaded: unknown.", "the NVIDIA driver is not loaded"},
		// github.com/NVIDIA/nvidia-container-toolkit/issues/394
		{"driver updated", runc11 + "nvidia-container-cli: initialization error: nvml error: driver/library version mismatch: unknown.", "restart the machine"},
		// github.com/docker/for-win/issues/13835
		{"no driver", runc11 + "nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: no such file or directory: unknown.", "the NVIDIA driver's libraries are not"},
		// github.com/NVIDIA/nvidia-container-toolkit/issues/29
		{"unknown GPU", runc10 + "Auto-detected mode as 'legacy'\nnvidia-container-cli: device error: false: unknown device: unknown.", "does not know this GPU"},
		// github.com/NVIDIA/nvidia-docker/issues/1442
		{"image too new", runc10 + "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=11.0, please update your driver to a newer version, or use an earlier cuda container: unknown.", "update the driver, or use an image"},
		// github.com/SyneRBI/PETRIC2/issues/27
		{"image too new, today's engine", runc11 + "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version, or use an earlier cuda container", "update the driver, or use an image"},
		// github.com/NVIDIA/nvidia-docker/issues/1660
		{"control groups", runc10 + "nvidia-container-cli: container error: cgroup subsystem devices not found: unknown", "control groups (v2)"},
		// github.com/dusty-nv/jetson-containers/issues/1703
		{"Jetson", "error running hook #0: error running hook: exit status 1, stdout: , stderr: Auto-detected mode as 'csv'\ninvoking the NVIDIA Container Runtime Hook directly (e.g. specifying the docker --gpus flag) is not supported. Please use the NVIDIA Container Runtime (e.g. specify the --runtime=nvidia flag) instead.: unknown.", "by CDI only"},
		// github.com/NVIDIA/nvidia-container-toolkit/issues/183
		{"something of the driver's", runc10 + "nvidia-container-cli: initialization error: driver error: failed to process request", "cannot reach the driver"},
		// github.com/NVIDIA/nvidia-container-toolkit/issues/1482
		{"something of the toolkit's", runc11 + "nvidia-container-cli: mount error: failed to add device rules: unable to generate new device filter program from existing programs", "could not give the container its GPU"},
		{"a command that is not there", `exec: "gunicorn": executable file not found in $PATH: unknown`, "the command is not in the image"},
		{"anything else", "no space left on device", "start the container"},
	} {
		t.Run(test.name, func(t *testing.T) {
			engine := errors.New("Error response from daemon: " + test.text)
			err := startError(engine)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v\nwant %q in it", err, test.want)
			}
			if !errors.Is(err, engine) {
				t.Error("the engine's own words are gone")
			}
		})
	}
}
