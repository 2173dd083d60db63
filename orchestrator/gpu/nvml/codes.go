//go:build linux && cgo

package nvml

import (
	"fmt"
	"strings"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"stackmeter/orchestrator/gpu"
)

// codes are nvml.h's names of its answers from 0 on, without NVML_ERROR_. They are
// short and stable, so that they can be counted. nvmlErrorString returns sentences
// that change with the driver.
var codes = strings.Fields(`SUCCESS UNINITIALIZED INVALID_ARGUMENT NOT_SUPPORTED NO_PERMISSION
	ALREADY_INITIALIZED NOT_FOUND INSUFFICIENT_SIZE INSUFFICIENT_POWER DRIVER_NOT_LOADED
	TIMEOUT IRQ_ISSUE LIBRARY_NOT_FOUND FUNCTION_NOT_FOUND CORRUPTED_INFOROM
	GPU_IS_LOST RESET_REQUIRED OPERATING_SYSTEM LIB_RM_VERSION_MISMATCH IN_USE
	MEMORY NO_DATA VGPU_ECC_NOT_SUPPORTED INSUFFICIENT_RESOURCES FREQ_NOT_SUPPORTED
	ARGUMENT_VERSION_MISMATCH DEPRECATED NOT_READY GPU_NOT_FOUND INVALID_STATE`)

// code is the name of an answer.
func code(ret nvml.Return) string {
	switch {
	case ret == nvml.ERROR_UNKNOWN:
		return gpu.CodeUnknown
	case ret >= 0 && int(ret) < len(codes):
		return codes[ret]
	}
	return fmt.Sprintf("RETURN_%d", int(ret))
}
