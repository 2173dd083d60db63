package orchestrator

import (
	"errors"
	"fmt"
	"testing"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// TestGPUMemoryLines has a line of each program, as people quote them in
// reports of bugs, and lines about other memory.
func TestGPUMemoryLines(t *testing.T) {
	for _, test := range []struct {
		line string
		want bool
	}{
		{"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 146.00 MiB. GPU 0 has a total capacity of 8.00 GiB of which 0 bytes is free.", true},
		{"RuntimeError: CUDA error: out of memory", true},
		{"failed to allocate 7.91G (8491630592 bytes) from device: CUDA_ERROR_OUT_OF_MEMORY: out of memory", true},
		{"OOM when allocating tensor with shape[200,75,75,64] and type float on /job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc", true},
		{"OOM when allocating tensor with shape[200,75,75,64] and type float on /job:localhost/replica:0/task:0/device:CPU:0 by allocator mklcpu", false},
		{"jax.errors.JaxRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 11.95MiB.", true},
		{"cupy.cuda.memory.OutOfMemoryError: Out of memory allocating 1,073,741,824 bytes", true},
		{"ggml_backend_cuda_buffer_type_alloc_buffer: allocating 590.07 MiB on device 0: cudaMalloc failed: out of memory", true},
		{"CUDA failure 2: out of memory ; GPU=0 ; hostname=a ; expr=cudaMalloc((void**)&p, size);", true},
		{"Error Code 1: Cuda Runtime (out of memory)", true},
		{"RuntimeError: CUDA failed with error out of memory", true},
		{"pycuda._driver.MemoryError: cuMemAlloc failed: out of memory", true},
		{"CUDA error: an illegal memory access was encountered", false},
		{"[ERROR] Worker (pid:9) was sent SIGKILL! Perhaps out of memory?", false},
		{"MemoryError: Unable to allocate 7.45 GiB for an array", false},
		{"RuntimeError: [enforce fail at alloc_cpu.cpp:73] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes.", false},
	} {
		if got := len(gpuMemoryLines("app | before\napp | "+test.line+"\nafter\n")) == 1; got != test.want {
			t.Errorf("%t, want %t: %s", got, test.want, test.line)
		}
	}
}

// given is a stack that got devices.
type given struct {
	stacks.Stack
	devices []string
}

func (g given) Devices() []string { return g.devices }

// TestExplained: what a failure is put down to, by what the stack said.
func TestExplained(t *testing.T) {
	const line = "app | torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"
	const other = "app | torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 3.00 GiB.\n"
	failure := errors.New("none of 5 requests was answered as expected")
	for _, test := range []struct {
		name   string
		gpus   []string
		limit  int64
		reason error
		before string
		output string
		flags  []string
		want   string
	}{
		{"its own words", []string{"GPU-1"}, 0, failure, "", line, nil, results.MemoryGPU},
		{"an earlier cell's words", []string{"GPU-1"}, 0, failure, line, line + "app | GET /\n", nil, ""},
		{"its own words after an earlier cell's", []string{"GPU-1"}, 0, failure, line, line + other, nil, results.MemoryGPU},
		{"no such words", []string{"GPU-1"}, 0, failure, "", "app | started\n", nil, ""},
		{"without a GPU", nil, 0, failure, "", line, nil, ""},
		{"beside somebody else's process", []string{"GPU-1"}, 0, failure, "", line, []string{gpu.FlagForeign}, ""},
		{"a GPU that was lost", []string{"GPU-1"}, 0, fmt.Errorf("%w", errLostGPU), "", line, nil, ""},
		{"an engine that went away", []string{"GPU-1"}, 0, fmt.Errorf("%w", stacks.ErrLost), "", line, nil, ""},
		{"killed at its limit", nil, 1 << 30, fmt.Errorf("oom: %w", errOutOfMemory), "", "", nil, results.MemoryMain},
		{"killed at its limit with those words", []string{"GPU-1"}, 1 << 30, fmt.Errorf("%w", stacks.ErrOutOfMemory), "", line, nil, results.MemoryMain},
		{"killed without a limit", nil, 0, fmt.Errorf("oom: %w", errOutOfMemory), "", "", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := &live{stack: given{devices: test.gpus}, lane: &lane{loop: &loop{plan: scenarios.Plan{Resources: scenarios.Resources{Memory: test.limit}}}}}
			reason := l.explained(test.reason, test.before, test.output, gpu.Usage{Flags: test.flags})
			if got := l.outOfMemory(scenarios.Topology{}, reason); got != test.want || !errors.Is(reason, test.reason) {
				t.Errorf("ran out of %q, want %q: %v", got, test.want, reason)
			}
		})
	}
}

func TestGained(t *testing.T) {
	for _, test := range []struct{ name, before, now, want string }{
		{"nothing", "app | 1\napp | 2\n", "app | 1\napp | 2\n", ""},
		{"from the first line on", "", "app | 1\n", "app | 1\n"},
		{"more lines", "app | 1\napp | 2\n", "app | 1\napp | 2\napp | 3\n", "app | 3\n"},
		{"a tail that has moved on", "app | 1\napp | 2\n", "app | 2\napp | 3\n", "app | 3\n"},
		{"a tail that is new", "app | 1\napp | 2\n", "app | 3\napp | 4\n", "app | 3\napp | 4\n"},
		{"each service by itself", "app | 1\nnginx | 1\n", "app | 1\napp | 2\nnginx | 1\nnginx | 2\n", "app | 2\nnginx | 2\n"},
		{"a line that comes again", "app | 1\napp | 1\n", "app | 1\napp | 1\napp | 1\n", "app | 1\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := gained(test.before, test.now); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
