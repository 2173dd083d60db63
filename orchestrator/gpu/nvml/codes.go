//go:build linux && cgo

package nvml

import (
	"cmp"
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"stackmeter/orchestrator/gpu"
)

// codes are nvml.h's names of its answers, without NVML_ERROR_. They are short and
// stable, so that they can be counted. nvmlErrorString returns sentences that
// change with the driver.
var codes = map[nvml.Return]string{
	nvml.ERROR_UNINITIALIZED:             "UNINITIALIZED",
	nvml.ERROR_INVALID_ARGUMENT:          "INVALID_ARGUMENT",
	nvml.ERROR_NOT_SUPPORTED:             "NOT_SUPPORTED",
	nvml.ERROR_NO_PERMISSION:             "NO_PERMISSION",
	nvml.ERROR_NOT_FOUND:                 "NOT_FOUND",
	nvml.ERROR_INSUFFICIENT_SIZE:         "INSUFFICIENT_SIZE",
	nvml.ERROR_INSUFFICIENT_POWER:        "INSUFFICIENT_POWER",
	nvml.ERROR_DRIVER_NOT_LOADED:         "DRIVER_NOT_LOADED",
	nvml.ERROR_TIMEOUT:                   gpu.CodeTimeout,
	nvml.ERROR_IRQ_ISSUE:                 "IRQ_ISSUE",
	nvml.ERROR_LIBRARY_NOT_FOUND:         "LIBRARY_NOT_FOUND",
	nvml.ERROR_FUNCTION_NOT_FOUND:        "FUNCTION_NOT_FOUND",
	nvml.ERROR_GPU_IS_LOST:               gpu.CodeGPULost,
	nvml.ERROR_RESET_REQUIRED:            "RESET_REQUIRED",
	nvml.ERROR_OPERATING_SYSTEM:          "OPERATING_SYSTEM",
	nvml.ERROR_LIB_RM_VERSION_MISMATCH:   "LIB_RM_VERSION_MISMATCH",
	nvml.ERROR_IN_USE:                    "IN_USE",
	nvml.ERROR_MEMORY:                    "MEMORY",
	nvml.ERROR_NO_DATA:                   "NO_DATA",
	nvml.ERROR_INSUFFICIENT_RESOURCES:    "INSUFFICIENT_RESOURCES",
	nvml.ERROR_ARGUMENT_VERSION_MISMATCH: "ARGUMENT_VERSION_MISMATCH",
	nvml.ERROR_DEPRECATED:                "DEPRECATED",
	nvml.ERROR_NOT_READY:                 "NOT_READY",
	nvml.ERROR_GPU_NOT_FOUND:             "GPU_NOT_FOUND",
	nvml.ERROR_INVALID_STATE:             "INVALID_STATE",
	nvml.ERROR_UNKNOWN:                   gpu.CodeUnknown,
}

// code is the name of an answer.
func code(ret nvml.Return) string {
	return cmp.Or(codes[ret], fmt.Sprintf("RETURN_%d", int(ret)))
}
