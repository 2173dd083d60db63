package docker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/docker/enginetest"
	"stackmeter/stacks/servers"
)

const (
	gpuA = "GPU-fa4e0000-0000-0000-0000-00000000000a"
	gpuB = "GPU-fa4e0000-0000-0000-0000-00000000000b"
	migA = "MIG-fa4e0000-0000-0000-0000-00000000000a"
)

// gpuSpec is a stack of one service that waits until it is ended.
func gpuSpec(t *testing.T, uuids ...string) stacks.Spec {
	t.Helper()
	return stacks.Spec{
		Run: "test-gpu-" + filepath.Base(t.TempDir()), Name: "waits",
		Topology: scenarios.Topology{Name: "waits", Server: scenarios.ServerCommand},
		Services: []stacks.Service{{
			Name: stacks.AppService, Role: stacks.RoleApp, Image: enginetest.Guest,
			Command: []string{enginetest.GuestProgram}, Port: 8000, GPUs: uuids,
		}},
	}
}

// fresh is another runtime over the same engine: one that has proven nothing.
func (e *ownEngine) fresh(t *testing.T) *Runtime {
	t.Helper()
	r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func nothingLeft(t *testing.T, r *Runtime, run string) {
	t.Helper()
	if left, err := r.leftovers(context.Background(), run); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestEngineWithHook lets a real engine see real device requests.
func TestEngineWithHook(t *testing.T) {
	e := startEngine(t, true)

	for _, test := range []struct {
		name  string
		uuids []string
		asked string
	}{
		{"two GPUs", []string{gpuA, gpuB}, "NVIDIA_VISIBLE_DEVICES=" + gpuA + "," + gpuB},
		{"a MIG instance", []string{migA}, "NVIDIA_VISIBLE_DEVICES=" + migA},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, spec := e.fresh(t), gpuSpec(t, test.uuids...)
			before := len(e.calls(t))
			for range 2 { // the second time costs nothing
				if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
					t.Fatal(err)
				}
			}
			if n := len(e.calls(t)) - before; n != 1 {
				t.Errorf("%d containers were made to try it, want 1", n)
			}
			nothingLeft(t, r, spec.Run)

			stack, err := r.Start(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			defer stack.Stop(context.Background())
			found, err := servers.Verify(t.Context(), spec, stack)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Join(test.uuids, ", ") + " (listed by nvidia-smi in the container)"
			if found.GPU != want {
				t.Errorf("facts: GPU %q, want %q", found.GPU, want)
			}
			calls := e.calls(t)
			if n := len(calls) - before; n != 2 {
				t.Fatalf("the hook was called %d times, want 2: for the trial container and for the stack", n)
			}
			asked := 0
			for _, c := range calls {
				if slices.Contains(c.Env, test.asked) && slices.Equal(c.Args[1:], []string{"prestart"}) {
					asked++
				}
			}
			if asked != 2 {
				t.Errorf("%d calls of the hook saw %s, want 2: %v", asked, test.asked, calls)
			}
			if err := stack.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			nothingLeft(t, r, spec.Run)
		})
	}

	t.Run("no GPU asked for", func(t *testing.T) {
		r, spec := e.fresh(t), gpuSpec(t)
		before := len(e.calls(t))
		if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
			t.Fatal(err)
		}
		stack, err := r.Start(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		if err := stack.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(e.calls(t)) - before; n != 0 {
			t.Errorf("the hook was called %d times, want 0", n)
		}
	})

	// What NVIDIA's own hook says reaches the user through the engine's and
	// the OCI runtime's wrapping.
	for _, test := range []struct{ name, file, text, want string }{
		{"driver not loaded", hookFails, "nvidia-container-cli: initialization error: nvml error: driver not loaded", "the NVIDIA driver is not loaded"},
		{"image too new", hookFails, "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version, or use an earlier cuda container", "the image needs a newer NVIDIA driver"},
		{"unknown GPU", hookFails, "nvidia-container-cli: device error: " + gpuA + ": unknown device", "does not know this GPU"},
		{"another GPU", hookSays, "GPU 0: FAKE GPU (UUID: " + gpuB + ")\n", "does not see " + gpuA},
		{"more GPUs", hookSays, "GPU 0: FAKE GPU (UUID: " + gpuA + ")\nGPU 1: FAKE GPU (UUID: " + gpuB + ")\n", "also sees " + gpuB},
		{"no GPU", hookSays, "\n", "sees no GPU"},
		{"access lost", hookSays, "Failed to initialize NVML: Unknown Error\n", "has to be made anew"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e.tell(t, test.file, test.text)
			defer os.Remove(filepath.Join(e.hook, test.file))
			r, spec := e.fresh(t), gpuSpec(t, gpuA)
			err := r.Prepare(t.Context(), spec, func(string) {})
			if !errors.Is(err, stacks.ErrNoGPU) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Prepare = %v, want %q as %v", err, test.want, stacks.ErrNoGPU)
			}
			nothingLeft(t, r, spec.Run)
		})
	}

	t.Run("lost while it runs", func(t *testing.T) {
		r, spec := e.fresh(t), gpuSpec(t, gpuA)
		if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
			t.Fatal(err)
		}
		e.tell(t, hookSays, "Failed to initialize NVML: Unknown Error\n")
		defer os.Remove(filepath.Join(e.hook, hookSays))
		stack, err := r.Start(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		defer stack.Stop(context.Background())
		_, err = servers.Verify(t.Context(), spec, stack)
		if !errors.Is(err, stacks.ErrDiffers) || !strings.Contains(err.Error(), "has to be made anew") {
			t.Errorf("Verify = %v", err)
		}
	})

	t.Run("an image without tools", func(t *testing.T) {
		e.tell(t, hookBare, "")
		defer os.Remove(filepath.Join(e.hook, hookBare))
		r, spec := e.fresh(t), gpuSpec(t, gpuA)
		if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
			t.Fatal(err)
		}
		stack, err := r.Start(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		defer stack.Stop(context.Background())
		found, err := servers.Verify(t.Context(), spec, stack)
		if err != nil || !strings.Contains(found.GPU, "not looked for") {
			t.Errorf("Verify = %q, %v; want that nobody looked", found.GPU, err)
		}
	})

	t.Run("the toolkit breaks after it was tried", func(t *testing.T) {
		r, spec := e.fresh(t), gpuSpec(t, gpuA)
		if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
			t.Fatal(err)
		}
		e.tell(t, hookFails, "nvidia-container-cli: initialization error: nvml error: driver/library version mismatch")
		defer os.Remove(filepath.Join(e.hook, hookFails))
		_, err := r.Start(t.Context(), spec)
		if err == nil || !strings.Contains(err.Error(), "updated while the old one is still loaded") {
			t.Errorf("Start = %v", err)
		}
		nothingLeft(t, r, spec.Run)
	})
}

// TestEngineWithoutHook is the same engine without NVIDIA's toolkit.
func TestEngineWithoutHook(t *testing.T) {
	e := startEngine(t, false)
	spec := gpuSpec(t, gpuA)
	err := e.Prepare(t.Context(), spec, func(string) {})
	if !errors.Is(err, stacks.ErrNoGPU) {
		t.Errorf("Prepare = %v, want %v", err, stacks.ErrNoGPU)
	}
	for _, want := range []string{"could not select device driver", "install the NVIDIA Container Toolkit"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Prepare = %v, want %q in it", err, want)
		}
	}
	if _, err := e.Start(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "install the NVIDIA Container Toolkit") {
		t.Errorf("Start = %v", err)
	}
	nothingLeft(t, e.Runtime, spec.Run)
	if text, ok := e.GPUSupport(t.Context()); ok {
		t.Errorf("GPUSupport = %q, true", text)
	}
}
