// Package gpu measures the memory of the GPUs that a stack uses, and says
// whose memory it was and how far the figures can be trusted.
//
// A Sampler covers a trial from the idle baseline to after teardown. It reads
// the devices through a Driver (orchestrator/gpu/nvml is the one for NVIDIA),
// attributes processes to the stack's services through /proc, and makes a
// Usage of each cell. Everything that decides (ownership, gaps, validity, the
// clean gate) is pure and apart from what touches the machine.
//
// Sizes are bytes. A pointer is nil where nothing was measured, and a reason
// beside it says why: no figure here is ever a zero that was not measured.
package gpu

import (
	"errors"
	"fmt"
)

// ErrNoDriver marks the error of opening a driver on a machine that has none,
// or that has no device. It is no failure: such a machine has no Sampler, and
// the error's text is the sentence that says why.
var ErrNoDriver = errors.New("no GPU can be read")

// A Device is one GPU, or one MIG instance of a GPU.
type Device struct {
	Index  int    `json:"index"`
	UUID   string `json:"uuid"`
	Name   string `json:"name"`
	Memory int64  `json:"memory_bytes"` // 0 where the driver does not say
	Driver string `json:"driver"`

	// Fake is set for a device of the fake driver that tests use. What was
	// measured on it is no measurement of a GPU.
	Fake bool `json:"fake,omitempty"`

	// Parent is the UUID of the GPU that a MIG instance is part of, and MIG
	// says that a GPU is divided: its own figures are then the sums over its
	// instances.
	Parent string `json:"parent,omitempty"`
	MIG    bool   `json:"mig,omitempty"`
}

// Methods by which a figure was obtained.
const (
	MethodNVMLv2 = "nvml-v2" // nvmlDeviceGetMemoryInfo_v2: as nvidia-smi prints it
	MethodNVMLv1 = "nvml-v1" // nvmlDeviceGetMemoryInfo: counts the driver's reserved memory as used
)

// Sight says which processes a driver's process lists can be believed about.
type Sight string

// Kinds of Sight.
const (
	// SightHost: the caller is in the host's PID namespace and sees all.
	SightHost Sight = "host"

	// SightNamespace: the driver translates the list to the caller's PID
	// namespace and silently leaves out whom the caller cannot see. What is in
	// the list is right; that somebody is not in it proves nothing.
	SightNamespace Sight = "namespace"

	// SightNone: the list's PIDs mean nothing here. No claim is made.
	SightNone Sight = "none"
)

// A Driver gives access to a machine's devices. Its methods may be called
// from several goroutines at once.
type Driver interface {
	// Devices lists the GPUs in the driver's order, each followed by its MIG
	// instances where it is divided.
	Devices() ([]Device, error)

	// Reader opens a device by its UUID, or by its index in decimal.
	Reader(device string) (Reader, error)

	// Sight says what the process lists are good for, and where that is less
	// than SightHost, why.
	Sight() (Sight, string)
}

// A Reader reads one device. Its methods may be called from several
// goroutines at once. Their errors are of type *Error where the driver gave
// a code.
type Reader interface {
	Device() Device

	// Memory reads the device's memory: cheap (microseconds).
	Memory() (Memory, error)

	// Processes lists the processes that hold memory on the device, each PID
	// once. It is expensive (milliseconds under a lock of the driver's), so it
	// slows down what is measured when it is called often.
	Processes() ([]Process, error)

	// Telemetry reads what the device does. What the device does not report
	// is nil; an error means that nothing could be read.
	Telemetry() (Telemetry, error)

	// Accounting returns the high-water mark that the driver kept for a
	// process, nil where accounting mode is off (it is never switched on) or
	// the process is unknown to it.
	Accounting(pid int) (*int64, error)
}

// Memory is one reading of a device's memory.
type Memory struct {
	Method   string
	Used     int64
	Total    int64
	Reserved *int64 // by the driver; nil where the method does not tell it apart from Used
}

// A Process is one entry of a device's process lists.
type Process struct {
	PID    int
	Memory *int64   // nil: the driver does not report it (NOT_AVAILABLE)
	Kinds  []string // the lists that it was in
}

// Kinds of processes: the driver's lists of them.
const (
	KindCompute  = "compute"
	KindGraphics = "graphics"
	KindMPS      = "mps" // a client of the Multi-Process Service
)

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

// Codes of the errors that the sampler treats apart. They are NVML's own.
const (
	CodeGPULost      = "GPU_IS_LOST"
	CodeNotSupported = "NOT_SUPPORTED"
	CodeNoPermission = "NO_PERMISSION"
	CodeTimeout      = "TIMEOUT" // also: the driver did not answer within the sampler's limit
	CodeUnknown      = "UNKNOWN"
)

// An Error is what a driver answered instead of a figure.
type Error struct {
	Call   string // the driver's function
	Code   string // as the driver names it
	Device string // UUID
}

// Error names the device, the call and the driver's code.
func (e *Error) Error() string {
	return fmt.Sprintf("GPU %s: %s: %s", e.Device, e.Call, e.Code)
}

// codeOf is the code of a driver's error, for counting.
func codeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeUnknown
}
