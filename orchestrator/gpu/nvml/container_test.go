//go:build linux && cgo

package nvml

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml/fakedriver"
)

// containerImage only has to have the C library that the test is linked with.
const containerImage = "debian:trixie-slim"

// TestTrialContainer: a process in a container, which does not know its PID on
// the host, is found on the device and belongs to its container.
func TestTrialContainer(t *testing.T) {
	if err := exec.Command("docker", "image", "inspect", containerImage).Run(); err != nil {
		t.Skipf("this test needs Docker and the image %s: %v", containerImage, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := fakedriver.New(t, 1)
	trial := newTrial(t, s)
	idFile := filepath.Join(t.TempDir(), "id")
	cmd := exec.Command("docker", "run", "--rm", "--interactive", "--network=none", "--cidfile="+idFile,
		"--volume="+self+":/app:ro", "--volume="+s.Folder+":/fake-gpu", "--env="+appEnv+"=/fake-gpu", containerImage, "/app")
	w := startWorker(t, cmd)
	w.hold(0, 400*mib, "")
	id, err := os.ReadFile(idFile)
	if err != nil {
		t.Fatal(err)
	}
	container := strings.TrimSpace(string(id))
	trial.Owners([]gpu.Owner{{Service: "app", Role: "app", Container: container}})
	u := trial.Cell().Stop()
	flagged(t, u)
	is(t, "stack", u.Stack, 400*mib)
	if len(u.Processes) != 1 || u.Processes[0].Container != container || u.Processes[0].Service != "app" || u.Processes[0].PID == 1 {
		t.Errorf("processes %+v, want one of container %s, with its PID on the host", u.Processes, container)
	}

	trial.Owners([]gpu.Owner{{Service: "app", Container: strings.Repeat("0", 64)}})
	u = trial.Cell().Stop()
	flagged(t, u, gpu.FlagForeign, gpu.FlagUnused)
	if len(u.Foreign) != 1 || u.Foreign[0].Container != container {
		t.Errorf("foreign %+v, want the process of container %s", u.Foreign, container)
	}
}
