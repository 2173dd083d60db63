// Package results holds what was measured: a Run with one Record for each cell
// and repeat, and the table of metrics that a record can be asked for. What
// follows from records is in package verdict.
//
// Everything here is in base units, seconds and bytes; scaling happens when
// printing. A pointer is nil where nothing was measured. A number and its
// validity are separate: a record can have a duration and still be flagged.
package results

import (
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// Statuses of a record.
const (
	StatusOK     = "ok"
	StatusFailed = "failed" // Reason says why
	StatusPruned = "pruned" // not started, because a smaller topology ran out of memory: Reason says which
)

// Flags of a record: doubts that travel with the figures.
const (
	FlagInherited  = "inherited"      // the cell began above the stack's warmed-up memory
	FlagErrors     = "errors"         // some answers were not as expected
	FlagNoGPU      = "no-gpu"         // the scenario says auto and there is none
	FlagPublished  = "published-port" // the engine's proxy is part of what was measured
	FlagUnsettled  = "unsettled"      // the stack was still busy by itself when the cell began
	FlagRepeated   = "repeated"       // an earlier measurement of the cell was void, for a reason outside of the stack
	FlagUnverified = "unverified"     // a fact of the stack could not be read back, so it was not compared with what was asked
	FlagImported   = "imported"       // read from a file of figures from elsewhere; nothing about how they were measured is known
)

// A Run is one execution of a plan.
type Run struct {
	ID         string            `json:"id"`
	Scenario   string            `json:"scenario"`
	File       string            `json:"file"`
	Started    time.Time         `json:"started"`
	Finished   *time.Time        `json:"finished"` // nil while it runs, and after a kill
	Outcome    string            `json:"outcome"`  // "", "ok", "failed", "interrupted", "infrastructure"
	Runtime    string            `json:"runtime"`
	Host       Host              `json:"host"`
	GPUDevices []gpu.Device      `json:"gpu_devices"`
	Images     map[string]string `json:"images,omitempty"` // content addresses that it began with, by TOPOLOGY/SERVICE, and of a "load client" in a container
	Plan       scenarios.Plan    `json:"plan"`             // redacted
	// Fingerprint is that of the plan before it was redacted: a run is resumed
	// only with a plan that has the same.
	Fingerprint string             `json:"fingerprint"`
	Owner       string             `json:"-"`                  // the process that executes it, as stacks.Owner writes it
	Imported    string             `json:"imported,omitempty"` // the file that it was read from; empty for a run of this store's own
	Verdict     string             `json:"verdict,omitempty"`  // of its thresholds, see the Verdict constants
	Against     string             `json:"against,omitempty"`  // the run that its thresholds were held against
	Checks      []Check            `json:"checks,omitempty"`   // of its thresholds, cell by cell
	Tags        []string           `json:"tags,omitempty"`     // that name it, sorted
	Spent       map[string]float64 `json:"spent_s"`            // wall seconds by phase, see the Phase constants
	Planned     int                `json:"planned"`            // cells to measure, each repeat counted by itself, without those that turned out to be needless
	Counts      *Counts            `json:"-"`                  // of its cells, where a store counted them
}

// Phases that a run's wall time is spent on. What is left is overhead.
const (
	PhaseImages  = "images"
	PhaseStart   = "start"
	PhaseReady   = "ready"
	PhaseVerify  = "verify" // reading back what runs, and waiting until it has settled
	PhaseWarmup  = "warmup"
	PhasePrepare = "prepare" // of the cells' clients; looking after the stack and at its logs
	PhaseMeasure = "measure" // the cells' durations
	PhaseStop    = "stop"
	PhaseOther   = "other"
)

// Host is the machine that a run ran on.
type Host struct {
	Name       string `json:"name"`
	OS         string `json:"os"`
	Kernel     string `json:"kernel"`
	CPU        string `json:"cpu"`
	Cores      int    `json:"cores"`
	Memory     int64  `json:"memory"`
	Engine     string `json:"engine"` // of the runtime, with its version
	Stackmeter string `json:"stackmeter"`
	Go         string `json:"go"`
}

// A Record is one cell of one repeat.
type Record struct {
	Run      string
	Topology scenarios.Topology
	Cell     scenarios.Cell
	Started  time.Time

	Status  string
	Reason  string // why it failed or was pruned; what to do next
	LogTail string // of the stack's services, when it failed
	Flags   []string

	// OutOfMemory is which memory the stack ran out of, when that is why it
	// failed: MemoryGPU or MemoryMain.
	OutOfMemory string

	Duration    *float64 // seconds, from gun to last reply
	Replies     int
	Errors      int
	ErrorKinds  map[string]int
	FirstErrors map[string]string
	Latency     *load.Latency // of the replies
	Load        LoadFacts
	Memory      Memory
	CPU         CPU
	GPU         gpu.Usage
	Stack       *Stack // what really ran
}

// LoadFacts say how the load was sent.
type LoadFacts struct {
	Hand       string  `json:"hand"`          // next or split
	StartDelay float64 `json:"start_delay_s"` // gun to the last client's first request
	BytesSent  int64   `json:"bytes_sent"`
	BytesRead  int64   `json:"bytes_read"`

	Retries   int          `json:"retries"`             // requests that a kept connection was made anew for, because the server had closed it
	Little    *float64     `json:"little"`              // closed loops: throughput × mean latency, pickup included, ÷ active clients; 1 by Little's law
	Connect   *Spread      `json:"connect_s"`           // of new connections
	FirstByte *Spread      `json:"first_byte_s"`        // from the sending to the first byte of the answer
	Service   *Spread      `json:"service_s"`           // open loop: from the sending to the last byte
	Lateness  *Spread      `json:"lateness_s"`          // open loop at a rate: from a request's moment to its sending
	Pickup    *Spread      `json:"pickup_s"`            // from an answer's arrival, where latency ends, to the client's reading it; null where the kernel says of no answer when it arrived: latency then ends with the reading
	Late      int          `json:"late,omitempty"`      // open loop at a rate: sent more than a millisecond late
	InFlight  int          `json:"in_flight,omitempty"` // open loop: the most requests at once
	Pauses    float64      `json:"gc_pauses_s"`         // of the client's processes, added up
	LongPause float64      `json:"gc_longest_s"`        // the longest of them
	Cores     []int        `json:"cores,omitempty"`     // that the client was held to
	Search    *load.Search `json:"search,omitempty"`    // how the rate was found
}

// A Spread is a distribution in three figures, in seconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Memory is the stack's main memory during the cell, in bytes.
type Memory struct {
	Method     string           `json:"method"`
	Peak       *int64           `json:"stack_peak"`
	Start      *int64           `json:"stack_start"`
	KernelPeak *int64           `json:"kernel_peak"` // page cache included
	Services   map[string]int64 `json:"services,omitempty"`
	Samples    int              `json:"samples"`
	MaxGap     float64          `json:"max_gap_s"`
	Series     []gpu.Point      `json:"series,omitempty"` // since the gun; thinned out without losing the peak
	Reason     string           `json:"reason,omitempty"`
}

// CPU is CPU time in seconds during the cell.
type CPU struct {
	Stack  *float64 `json:"stack_s"`
	Client *float64 `json:"client_s"`

	// Machine is what everything on the machine used, these two included.
	Machine *float64 `json:"machine_s"`
}

// Stack is what was really started, read back from the running services.
type Stack struct {
	Route    string    `json:"route"`
	GPU      string    `json:"gpu"`
	Workers  *int      `json:"workers"`         // worker processes that run; nil: not known, or the server has none
	Threads  *int      `json:"threads"`         // of each worker, from the running command line; nil likewise
	Nginx    string    `json:"nginx,omitempty"` // the configuration that nginx loaded
	Services []Service `json:"services"`

	Interpreters int `json:"interpreters,omitempty"` // Python processes that answer requests; 0: not known
	Slots        int `json:"slots,omitempty"`        // requests that the server works on at once; 0: not known, or not bounded

	StartS  *float64 `json:"start_s"`
	ReadyS  *float64 `json:"ready_s"` // until the ready path was answered
	WarmupS *float64 `json:"warmup_s"`
}

// Service is one service of a Stack.
type Service struct {
	Name      string   `json:"name"`
	Container string   `json:"container,omitempty"`
	Image     string   `json:"image,omitempty"`
	Digest    string   `json:"digest,omitempty"`
	Processes []string `json:"processes"` // command lines
}

// Kinds of memory that a table can be about.
const (
	MemoryGPU  = "gpu"  // memory in use on the devices that the stack was given
	MemoryMain = "main" // main memory of the stack
)
