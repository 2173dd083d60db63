package changes

import (
	"strings"
	"testing"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/scenarios"
)

func TestMachineChanges(t *testing.T) {
	was := results.Run{Runtime: "docker", Host: results.Host{Name: "a", CPU: "x", Cores: 8, Kernel: "6.1", Engine: "27", Memory: 64 << 30}}
	was.GPUDevices = []gpu.Device{{UUID: "GPU-1", Name: "A100", Driver: "550"}}
	if c := ofMachine(was, was, false); len(c) > 0 {
		t.Errorf("nothing changed: %v", c)
	}
	is := was
	is.Host.Memory += 1 << 20 // another boot
	if c := ofMachine(was, is, false); len(c) > 0 {
		t.Errorf("the kernel took less: %v", c)
	}
	is.Host.Memory, is.Host.Kernel = 32<<30, "6.12"
	is.GPUDevices = []gpu.Device{{UUID: "GPU-1", Name: "A100", Driver: "570"}}
	got := strings.Join(ofMachine(was, is, false), "; ")
	const want = "the kernel: was 6.1, is 6.12; the GPUs: was A100 GPU-1 (driver 550), is A100 GPU-1 (driver 570); the machine's memory: was 65536 MiB, is 32768 MiB"
	if got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := ofMachine(was, is, true); len(got) != 1 || !strings.HasPrefix(got[0], "the GPUs") {
		t.Errorf("its stacks and clients are elsewhere: %v", got)
	}
}

func TestPlanChangesThatAreNotStored(t *testing.T) {
	was := results.Run{Fingerprint: "one", Plan: scenarios.Plan{Scenario: "s"}}
	is := was
	is.Fingerprint = "two"
	if c := ofPlan(was, is); len(c) != 1 || !strings.Contains(c[0], "what the store does not show") {
		t.Errorf("%v", c)
	}
}
