// Package gpu measures the memory of the GPUs that a stack uses. It says whose
// memory it was and how far the figures can be trusted.
//
// A Sampler covers a trial from the idle baseline to after teardown. It reads
// the devices through a Driver (orchestrator/gpu/nvml is NVIDIA's), finds out
// through /proc which processes belong to the stack's services, and makes a
// Usage of each cell. What decides (ownership, gaps, validity, the clean gate)
// is pure. What touches the machine is separate.
//
// Sizes are in bytes. A figure that was not measured is nil, never 0, and a
// reason beside it says why.
package gpu

import (
	"errors"
	"fmt"
)

// ErrNoDriver marks the error of opening a driver on a machine without a driver
// or without a device. That is not a failure: such a machine has no Sampler. The
// error's text says why.
var ErrNoDriver = errors.New("no GPU can be read")

// A Device is one GPU, or one MIG instance of a GPU.
type Device struct {
	Index  int    `json:"index"`
	UUID   string `json:"uuid"`
	Name   string `json:"name"`
	Memory int64  `json:"memory_bytes"` // 0 where the driver does not say
	Driver string `json:"driver"`

	// Fake marks a device of the tests' fake driver. Its figures do not measure a
	// GPU.
	Fake bool `json:"fake,omitempty"`

	// Node is where it is, in a cluster. Of a device there that nothing but the stack
	// could look at, only UUID and Name are known.
	Node string `json:"node,omitempty"`

	// Parent is the UUID of the GPU that a MIG instance is part of. MIG says that
	// a GPU is divided: its own figures are then the sums over its instances.
	Parent string `json:"parent,omitempty"`
	MIG    bool   `json:"mig,omitempty"`
}

// Methods by which a figure was obtained.
const (
	MethodNVMLv2 = "nvml-v2" // nvmlDeviceGetMemoryInfo_v2: as nvidia-smi prints it
	MethodNVMLv1 = "nvml-v1" // nvmlDeviceGetMemoryInfo: memory that the driver reserves counts as used
)

// Sight says which processes a driver's process lists can be trusted about.
type Sight string

// Kinds of Sight.
const (
	// SightHost: the caller is in the host's PID namespace and sees all processes.
	SightHost Sight = "host"

	// SightNamespace: the driver translates PIDs to the caller's PID namespace
	// and silently leaves out processes that the caller cannot see. What the list
	// has is right. What it lacks proves nothing.
	SightNamespace Sight = "namespace"

	// SightNone: the list's PIDs mean nothing here. The list is not used.
	SightNone Sight = "none"
)

// A Driver gives access to a machine's devices. It is safe for concurrent use.
type Driver interface {
	// Devices lists the GPUs in the driver's order. A GPU's MIG instances follow
	// it.
	Devices() ([]Device, error)

	// Reader opens a device by its UUID, or by its index in decimal.
	Reader(device string) (Reader, error)

	// Sight says how far the process lists can be trusted, and why if that is
	// less than SightHost.
	Sight() (Sight, string)
}

// A Reader reads one device. It is safe for concurrent use. An error is an
// *Error if the driver gave a code.
type Reader interface {
	Device() Device

	// Memory reads the device's memory. It takes microseconds.
	Memory() (Memory, error)

	// Processes lists the processes that hold memory on the device, each PID
	// once. It takes milliseconds under a lock of the driver, so frequent calls
	// slow down what is measured.
	Processes() ([]Process, error)

	// Telemetry reads what the device does. A figure that the device does not
	// report is nil. An error means that nothing could be read.
	Telemetry() (Telemetry, error)

	// Busy lists the driver's last samples of what processes computed. There are none
	// if the driver keeps no such samples.
	Busy() ([]Busy, error)

	// Accounting returns the most memory that the driver saw a process use. It is
	// nil if accounting mode is off (nothing here turns it on) or the driver does
	// not know the process.
	Accounting(pid int) (*int64, error)
}

// Memory is one reading of a device's memory.
type Memory struct {
	Method   string
	Used     int64
	Total    int64
	Reserved *int64 // by the driver; nil if the method includes it in Used
}

// A Process is one entry of a device's process lists.
type Process struct {
	PID    int
	Memory *int64 // nil: the driver does not report it (NOT_AVAILABLE)
	MPS    bool   // it is a client of the Multi-Process Service
}

// Busy is a sample of what one process computed.
type Busy struct {
	PID     int
	Percent float64 // of the device's time, over the sixth of a second to a second before
	Stamp   uint64  // of the driver's clock: the larger the later
}

// Telemetry is one reading of what a device does.
type Telemetry struct {
	Utilization *float64 // percent of the time in which a kernel ran
	Power       *float64 // watts, on most data-centre parts an average over a second
	PowerLimit  *float64 // watts
	Energy      *float64 // joules since the driver was loaded, in steps of about 100 ms
	SMClock     *float64 // MHz
	MemoryClock *float64 // MHz
	Temperature *float64 // °C
	Throttle    []string // reasons that slow the clocks down now
}

// Codes of errors that the sampler treats specially. They are NVML's own.
const (
	CodeGPULost = "GPU_IS_LOST"
	codeTimeout = "TIMEOUT" // also used when the driver does not answer within the sampler's limit
	CodeUnknown = "UNKNOWN"
)

// An Error is a driver's answer instead of a figure.
type Error struct {
	Call   string // the driver's function
	Code   string // as the driver names it
	Device string // UUID
}

// Error names the device, the call and the driver's code.
func (e *Error) Error() string {
	return fmt.Sprintf("GPU %s: %s: %s", e.Device, e.Call, e.Code)
}

// codeOf is the driver's code of an error, for counting.
func codeOf(err error) string {
	if e, is := errors.AsType[*Error](err); is {
		return e.Code
	}
	return CodeUnknown
}
