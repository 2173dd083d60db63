// Package gpu says what is known about the GPUs of a machine and what a
// measurement of their memory holds. orchestrator/gpu/nvml fills it in.
//
// Sizes are bytes. A pointer is nil where nothing was measured, and Reason
// then says why: no figure here is ever a zero that was not measured.
package gpu

import "time"

// A Device is one GPU.
type Device struct {
	Index  int    `json:"index"`
	UUID   string `json:"uuid"`
	Name   string `json:"name"`
	Memory int64  `json:"memory_bytes"`
	Driver string `json:"driver"`
}

// Methods by which a figure was obtained.
const (
	MethodNVMLv2 = "nvml-v2" // nvmlDeviceGetMemoryInfo_v2: as nvidia-smi prints it
	MethodNVMLv1 = "nvml-v1" // nvmlDeviceGetMemoryInfo: counts the driver's reserved memory as used
)

// Usage is the GPU memory of one measurement, summed over the devices that
// the stack was given.
type Usage struct {
	Method   string        `json:"method,omitempty"`
	Baseline *int64        `json:"device_used_baseline"` // device memory in use before the stack started
	Start    *int64        `json:"device_used_start"`    // when the measurement began
	Peak     *int64        `json:"device_used_peak"`     // a lower bound: the largest sample
	Stack    *int64        `json:"stack_peak"`           // of the processes that belong to the stack
	Interval time.Duration `json:"interval"`             // target between two samples
	Samples  int           `json:"samples"`
	MaxGap   time.Duration `json:"max_gap"` // longest time between two samples
	P99Gap   time.Duration `json:"p99_gap"`
	Flags    []string      `json:"flags,omitempty"`
	Reason   string        `json:"reason,omitempty"` // why a figure is missing
}
