package stacks

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// Identifiers as a driver gives them.
const (
	testGPU   = "GPU-932bfb2c-849a-2a22-1e84-9eff6bc02b39"
	otherGPU  = "GPU-e78e68c0-4e6a-737e-f9cc-4223fe50aead"
	testMIG   = "MIG-0929581a-2be6-5dec-bf34-0954c6c529a6"
	otherMIG  = "MIG-3adbed3a-d03d-549f-a016-ba1fd7359f23"
	oldMIG    = "MIG-GPU-932bfb2c-849a-2a22-1e84-9eff6bc02b39/1/0"
	listGPU   = "GPU 0: NVIDIA A100 80GB PCIe (UUID: " + testGPU + ")\n"
	listOther = "GPU 1: Tesla T4 (UUID: " + otherGPU + ")\n"
	listMIG   = "  MIG 3g.40gb     Device  0: (UUID: " + testMIG + ")\n"
)

func TestCompareGPUs(t *testing.T) {
	for _, test := range []struct {
		name    string
		listing string
		want    []string
		fails   string // empty: it is what was asked for
	}{
		{"the GPU", listGPU, []string{testGPU}, ""},
		{"both GPUs, the other way round", listOther + listGPU, []string{testGPU, otherGPU}, ""},
		{"a MIG instance under its GPU", listGPU + listMIG, []string{testMIG}, ""},
		{"a MIG instance of an old driver", listGPU + "  MIG 1g.5gb Device 0: (UUID: " + oldMIG + ")\n", []string{oldMIG}, ""},
		{"a divided GPU that was asked for whole", listGPU + listMIG, []string{testGPU}, "also sees " + testMIG},
		{"two instances for one", listGPU + listMIG + "  MIG 3g.40gb     Device  1: (UUID: " + otherMIG + ")\n", []string{testMIG}, "also sees " + otherMIG},
		{"the other instance", listGPU + listMIG, []string{otherMIG}, "does not see " + otherMIG},
		{"one GPU too many", listGPU + listOther, []string{testGPU}, "also sees " + otherGPU},
		{"one GPU too few", listGPU, []string{testGPU, otherGPU}, "does not see " + otherGPU},
		{"another GPU", listOther, []string{testGPU}, "it sees " + otherGPU},
		{"none", "", []string{testGPU}, "sees no GPU"},
		{"words", "No devices found.\n", []string{testGPU}, "sees no GPU"},
		{"a UUID in a name", "GPU 0: " + testGPU + " (UUID: " + otherGPU + ")\n", []string{testGPU}, "does not see " + testGPU},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := CompareGPUs(test.listing, test.want)
			if (err != nil) != (test.fails != "") || err != nil && !strings.Contains(err.Error(), test.fails) {
				t.Errorf("%v, want %q in it", err, test.fails)
			}
		})
	}
}

// TestListedGPUs: what is listed is what the stack has: its GPUs, or its instances.
func TestListedGPUs(t *testing.T) {
	gpu := Device{UUID: testGPU, Name: "NVIDIA A100 80GB PCIe"}
	for _, test := range []struct {
		listing string
		want    []Device
	}{
		{listGPU, []Device{gpu}},
		{listGPU + listOther, []Device{gpu, {Index: 1, UUID: otherGPU, Name: "Tesla T4"}}},
		{listGPU + listMIG, []Device{{UUID: testMIG, Name: gpu.Name + " MIG 3g.40gb", Parent: testGPU}}},
		{listGPU + "  MIG 1g.5gb Device 0: (UUID: " + oldMIG + ")\n", []Device{{UUID: oldMIG, Name: gpu.Name + " MIG 1g.5gb", Parent: testGPU}}},
		{"GPU 0: " + testGPU + " (UUID: " + otherGPU + ")\n", []Device{{UUID: otherGPU, Name: testGPU}}},
		{"No devices found.\n", nil},
		{"", nil},
	} {
		if got := ListedGPUs(test.listing); !slices.Equal(got, test.want) {
			t.Errorf("%q: %+v, want %+v", test.listing, got, test.want)
		}
	}
}

// An execStack answers commands inside it, by their first word.
type execStack struct {
	Stack
	answers map[string]any // string, or error
}

func (s execStack) Exec(_ context.Context, _ string, argv ...string) ([]byte, error) {
	switch a := s.answers[argv[0]].(type) {
	case string:
		return []byte(a), nil
	case error:
		return nil, a
	}
	// The engine's words where the image lacks a program.
	return nil, errors.New(argv[0] + ` in service app exited with status 126: OCI runtime exec failed: exec failed: unable to start container process: exec: "` + argv[0] + `": executable file not found in $PATH: unknown`)
}

func TestSeenGPUs(t *testing.T) {
	const nodes = "core\nfd\nnull\nnvidia-uvm\nnvidia-uvm-tools\nnvidiactl\n"
	for _, test := range []struct {
		name    string
		gpus    []string
		local   bool
		answers map[string]any
		seen    string
		fails   string
	}{
		{name: "listed", gpus: []string{testGPU}, answers: map[string]any{"nvidia-smi": listGPU}, seen: testGPU + " (listed by nvidia-smi in the container)"},
		{name: "more than its own", gpus: []string{testGPU}, answers: map[string]any{"nvidia-smi": listGPU + listOther}, fails: "also sees"},
		{name: "lost", gpus: []string{testGPU}, answers: map[string]any{"nvidia-smi": errors.New("nvidia-smi in service app exited with status 255: Failed to initialize NVML: Unknown Error")}, fails: "has to be made anew"},
		{name: "driver updated", gpus: []string{testGPU}, answers: map[string]any{"nvidia-smi": errors.New("nvidia-smi in service app exited with status 18: Failed to initialize NVML: Driver/library version mismatch")}, fails: "restart the machine"},
		{name: "an nvidia-smi of the image's own", gpus: []string{testGPU}, answers: map[string]any{"nvidia-smi": errors.New("exited with status 9: NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")}, fails: "does not answer in the container"},
		{name: "device nodes", gpus: []string{testGPU}, answers: map[string]any{"ls": nodes + "nvidia3\n"}, seen: testGPU + " (seen by its device node in the container)"},
		{name: "too many device nodes", gpus: []string{testGPU}, answers: map[string]any{"ls": nodes + "nvidia0\nnvidia1\n"}, fails: "has 2 of the device nodes"},
		{name: "no device node", gpus: []string{testGPU}, answers: map[string]any{"ls": nodes}, fails: "has 0 of the device nodes"},
		{name: "instances share a device node", gpus: []string{testMIG, otherMIG}, answers: map[string]any{"ls": nodes + "nvidia0\n"}, seen: testMIG + ", " + otherMIG + " (seen by its device node in the container)"},
		{name: "WSL 2", gpus: []string{testGPU}, answers: map[string]any{"ls": "dxg\nnull\n"}, seen: testGPU + " (seen by its device node in the container)"},
		{name: "nothing to look with", gpus: []string{testGPU}, seen: testGPU + " (not looked for: the image has neither nvidia-smi nor ls)"},
		{name: "no GPU asked for"},
		{name: "a local process", gpus: []string{testGPU}, local: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := Spec{Services: []Service{{Name: AppService}, {Name: "nginx"}}}
			facts := Facts{Services: []ServiceFacts{{Service: AppService, Container: "0123", GPUs: test.gpus}, {Service: "nginx", Container: "4567"}}}
			if test.local {
				facts.Services[0].Container = ""
			}
			seen, err := SeenGPUs(t.Context(), spec, facts, execStack{answers: test.answers})
			if seen != test.seen {
				t.Errorf("seen %q, want %q", seen, test.seen)
			}
			if (err != nil) != (test.fails != "") || err != nil && (!errors.Is(err, ErrDiffers) || !strings.Contains(err.Error(), test.fails)) {
				t.Errorf("%v, want %q as %v", err, test.fails, ErrDiffers)
			}
		})
	}
}
