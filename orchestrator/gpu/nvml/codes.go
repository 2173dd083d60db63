//go:build linux && cgo

package nvml

import (
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"stackmeter/orchestrator/gpu"
)

// code is nvml.h's name of an answer, without NVML_ERROR_: short, fixed and
// fit for counting, where nvmlErrorString gives a sentence that changes with
// the driver.
func code(ret nvml.Return) string {
	switch ret {
	case nvml.ERROR_UNINITIALIZED:
		return "UNINITIALIZED"
	case nvml.ERROR_INVALID_ARGUMENT:
		return "INVALID_ARGUMENT"
	case nvml.ERROR_NOT_SUPPORTED:
		return gpu.CodeNotSupported
	case nvml.ERROR_NO_PERMISSION:
		return gpu.CodeNoPermission
	case nvml.ERROR_NOT_FOUND:
		return "NOT_FOUND"
	case nvml.ERROR_INSUFFICIENT_SIZE:
		return "INSUFFICIENT_SIZE"
	case nvml.ERROR_INSUFFICIENT_POWER:
		return "INSUFFICIENT_POWER"
	case nvml.ERROR_DRIVER_NOT_LOADED:
		return "DRIVER_NOT_LOADED"
	case nvml.ERROR_TIMEOUT:
		return gpu.CodeTimeout
	case nvml.ERROR_IRQ_ISSUE:
		return "IRQ_ISSUE"
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return "LIBRARY_NOT_FOUND"
	case nvml.ERROR_FUNCTION_NOT_FOUND:
		return "FUNCTION_NOT_FOUND"
	case nvml.ERROR_GPU_IS_LOST:
		return gpu.CodeGPULost
	case nvml.ERROR_RESET_REQUIRED:
		return "RESET_REQUIRED"
	case nvml.ERROR_OPERATING_SYSTEM:
		return "OPERATING_SYSTEM"
	case nvml.ERROR_LIB_RM_VERSION_MISMATCH:
		return "LIB_RM_VERSION_MISMATCH"
	case nvml.ERROR_IN_USE:
		return "IN_USE"
	case nvml.ERROR_MEMORY:
		return "MEMORY"
	case nvml.ERROR_NO_DATA:
		return "NO_DATA"
	case nvml.ERROR_INSUFFICIENT_RESOURCES:
		return "INSUFFICIENT_RESOURCES"
	case nvml.ERROR_ARGUMENT_VERSION_MISMATCH:
		return "ARGUMENT_VERSION_MISMATCH"
	case nvml.ERROR_DEPRECATED:
		return "DEPRECATED"
	case nvml.ERROR_NOT_READY:
		return "NOT_READY"
	case nvml.ERROR_GPU_NOT_FOUND:
		return "GPU_NOT_FOUND"
	case nvml.ERROR_INVALID_STATE:
		return "INVALID_STATE"
	case nvml.ERROR_UNKNOWN:
		return gpu.CodeUnknown
	}
	return fmt.Sprintf("RETURN_%d", int(ret))
}
