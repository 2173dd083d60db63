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
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

// errOutOfGPUMemory marks a failure for which the stack's own words name the
// GPU's memory.
var errOutOfGPUMemory = errors.New("the stack ran out of GPU memory")

// gpuMemoryWords is what programs print when an allocation on a GPU failed.
// Only what names the device's memory is here; a status of 500 while the device
// is nearly full is no proof, and neither is CUBLAS_STATUS_ALLOC_FAILED, which
// NVIDIA says is usually but not always that. They are from:
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
//     shape[…] … device:GPU:0 by allocator GPU_0_bfc"; of a CPU it names a CPU
//   - XLA's allocator for devices, as JAX prints it: "RESOURCE_EXHAUSTED: Out of
//     memory while trying to allocate"
//   - CuPy's cupy.cuda.memory.OutOfMemoryError
var gpuMemoryWords = regexp.MustCompile(`CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation` +
	`|CUDA error: out of memory|CUDA failed with error out of memory|(?:cudaMalloc|cuMemAlloc) failed: out of memory` +
	`|CUDA failure 2: out of memory|Cuda Runtime \(out of memory\)` +
	`|CUDA out of memory|OOM when allocating tensor.*\bGPU\b` +
	`|RESOURCE_EXHAUSTED: Out of memory while trying to allocate|cupy\.cuda\.memory\.OutOfMemoryError`)

// quotedRunes bounds what a reason quotes of a line; the log's tail has it all.
const quotedRunes = 160

// gpuMemoryLines are the lines of a stack's output that say so.
func gpuMemoryLines(output string) []string {
	var lines []string
	for line := range strings.Lines(output) {
		if gpuMemoryWords.MatchString(line) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// outOfMemory says which memory a failure is for the want of, as a Record has
// it; empty where nothing shows it. The machine's own end is not the stack's
// doing: without a limit, other programs may have used it up.
func (l *loop) outOfMemory(reason error) string {
	switch {
	case errors.Is(reason, errOutOfGPUMemory):
		return results.MemoryGPU
	case l.plan.Resources.Memory > 0 && (errors.Is(reason, errOutOfMemory) || errors.Is(reason, stacks.ErrOutOfMemory)):
		return results.MemoryMain
	}
	return ""
}

// gained is what a stack's output has more than it had before. Both are tails
// of it, as Stack.Logs writes them: each line with its service in front.
func gained(before, now string) string {
	earlier, _ := byService(before)
	later, order := byService(now)
	var lines []string
	for _, service := range order {
		lines = append(lines, later[service][overlap(earlier[service], later[service]):]...)
	}
	return strings.Join(lines, "")
}

// byService are the lines of each service, and the services as they come.
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

// overlap is how many lines at the end of a tail are the first of a later one.
func overlap(before, now []string) int {
	for n := min(len(before), len(now)); n > 0; n-- {
		if slices.Equal(before[len(before)-n:], now[:n]) {
			return n
		}
	}
	return 0
}

// explained puts in front of a failure what the stack's output says about the
// GPU's memory since before. What ran out beside somebody else's process says
// nothing about the stack.
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

// killed is the error of a stack whose processes the kernel killed for memory,
// and what followed from that, if anything did.
func (s *live) killed(then error) error {
	limit := "the machine's memory was used up"
	if s.plan.Resources.Memory > 0 {
		limit = fmt.Sprintf("the limit is %d MiB (resources.memory)", s.plan.Resources.Memory>>20)
	}
	return fmt.Errorf("oom: %w; %s%s", errOutOfMemory, limit, andThen(then))
}

// survived does what makes a stack ready, and fails where the kernel killed
// processes of it meanwhile: a server that replaces them would go on for ever.
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
