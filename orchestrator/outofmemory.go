package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

// errOutOfGPUMemory marks a failure that the stack's output puts down to GPU memory.
var errOutOfGPUMemory = errors.New("the stack ran out of GPU memory")

// gpuMemoryWords is what programs print when an allocation on a GPU fails. It has
// only words that name the device's memory. A status of 500 while the device is
// nearly full proves nothing, and neither does CUBLAS_STATUS_ALLOC_FAILED: NVIDIA
// says that it usually means that, but not always. The words are from:
//
//   - CUDA's driver API, error 2, CUDA_ERROR_OUT_OF_MEMORY, as TensorFlow, XLA,
//     Numba and PyCUDA print it, and its runtime API, cudaErrorMemoryAllocation,
//     whose text is "out of memory": "CUDA error: out of memory" (PyTorch, ggml),
//     "CUDA failed with error out of memory" (CTranslate2), "cudaMalloc failed: out
//     of memory" (ggml), "cuMemAlloc failed: out of memory" (PyCUDA), "CUDA failure
//     2: out of memory" (ONNX Runtime), "Cuda Runtime (out of memory)" (TensorRT)
//   - PyTorch's caching allocator, c10/cuda/CUDACachingAllocator.cpp: "CUDA out
//     of memory. Tried to allocate"
//   - TensorFlow's ResourceExhaustedError: "OOM when allocating tensor with
//     shape[…] … device:GPU:0 by allocator GPU_0_bfc"; for main memory it names a CPU
//   - XLA's allocator for devices, as JAX prints it: "RESOURCE_EXHAUSTED: Out of
//     memory while trying to allocate"
//   - CuPy's cupy.cuda.memory.OutOfMemoryError
var gpuMemoryWords = regexp.MustCompile(`CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation` +
	`|CUDA error: out of memory|CUDA failed with error out of memory|(?:cudaMalloc|cuMemAlloc) failed: out of memory` +
	`|CUDA failure 2: out of memory|Cuda Runtime \(out of memory\)` +
	`|CUDA out of memory|OOM when allocating tensor.*\bGPU\b` +
	`|RESOURCE_EXHAUSTED: Out of memory while trying to allocate|cupy\.cuda\.memory\.OutOfMemoryError`)

// quotedRunes is how much of a line a reason quotes; the log's tail has all of it.
const quotedRunes = 160

// gpuMemoryLines are the lines of a stack's output with such words.
func gpuMemoryLines(output string) []string {
	var lines []string
	for line := range strings.Lines(output) {
		if gpuMemoryWords.MatchString(line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// outOfMemory says which memory ran out, as a Record has it; empty if nothing shows
// that. Without a limit, other programs may have used up the machine's memory, so
// that does not count.
func (l *loop) outOfMemory(t scenarios.Topology, reason error) string {
	switch {
	case errors.Is(reason, errOutOfGPUMemory):
		return results.MemoryGPU
	case l.plan.Resources.Of(t).Memory > 0 && (errors.Is(reason, errOutOfMemory) || errors.Is(reason, stacks.ErrOutOfMemory)):
		return results.MemoryMain
	}
	return ""
}

// gained is what was added to a stack's output since before. Both arguments are
// tails as Stack.Logs writes them, with the service in front of each line.
func gained(before, now string) string {
	earlier, _ := byService(before)
	later, order := byService(now)
	var lines []string
	for _, service := range order {
		lines = append(lines, later[service][overlap(earlier[service], later[service]):]...)
	}
	return strings.Join(lines, "")
}

// byService are the lines of each service, and the services in the order of their
// first lines.
func byService(output string) (lines map[string][]string, order []string) {
	lines = map[string][]string{}
	for line := range strings.Lines(output) {
		service, _, _ := strings.Cut(line, " | ")
		if lines[service] == nil {
			order = append(order, service)
		}
		lines[service] = append(lines[service], line)
	}
	return lines, order
}

// overlap is how many lines at the end of a tail are the first lines of a later one.
func overlap(before, now []string) int {
	for n := min(len(before), len(now)); n > 0; n-- {
		if slices.Equal(before[len(before)-n:], now[:n]) {
			return n
		}
	}
	return 0
}

// explained puts in front of a failure what the stack's output has said since before
// about GPU memory. If another process was on the device, that says nothing about
// the stack.
func (s *live) explained(reason error, before, output string, usage gpu.Usage) error {
	lines := gpuMemoryLines(gained(before, output))
	if len(s.stack.Devices()) == 0 || len(lines) == 0 || slices.Contains(usage.Flags, gpu.FlagForeign) {
		return reason
	}
	if disturbed(reason) || errors.Is(reason, errLostGPU) || errors.Is(reason, errOutOfMemory) || errors.Is(reason, stacks.ErrOutOfMemory) {
		return reason
	}
	return fmt.Errorf("oom: %w (%s): %w", errOutOfGPUMemory, show.Shorten(lines[len(lines)-1], quotedRunes), reason)
}

// killed is the error of a stack whose processes the kernel killed for memory. then
// is what followed from that; nil if nothing did.
func (s *live) killed(then error) error {
	limit := "the machine's memory was used up"
	if memory := s.plan.Resources.Of(s.spec.Topology).Memory; memory > 0 {
		limit = fmt.Sprintf("the limit is %d MiB (resources.memory)", memory>>20)
	}
	if then != nil {
		limit += ": " + then.Error()
	}
	return fmt.Errorf("oom: %w; %s", errOutOfMemory, limit)
}

// survived does a step of making a stack ready. It fails if the kernel killed
// processes of the stack meanwhile: a server that replaces them would go on for
// ever.
func (s *live) survived(ctx context.Context, do func(context.Context) error) error {
	meter, err := s.stack.Meter(ctx)
	if err != nil {
		return err
	}
	err = do(ctx)
	if meter.Stop().OOMKills > 0 && ctx.Err() == nil {
		return s.killed(err)
	}
	return err
}
