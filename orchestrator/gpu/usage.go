package gpu

import (
	"slices"
	"time"
)

// Validity of a Usage. It is empty if no GPU was sampled.
const (
	Valid   = "valid"
	Flagged = "flagged" // the figures count, with the doubts that Flags name
	Invalid = "invalid" // the peaks are nil, and Reason says why
)

// Flags of a Usage are doubts about its figures.
const (
	FlagForeign     = "foreign-process"    // a process outside the stack held memory on the device
	FlagOthers      = "others-changed"     // the memory of the other stacks was not the same throughout
	FlagUnowned     = "unowned-memory"     // memory rose that no listed process holds
	FlagGap         = "sample-gap"         // the longest gap is over maxGapIntervals
	FlagFewSamples  = "few-samples"        // fewer than minSamples
	FlagSum         = "sum-exceeds-device" // the processes' figures add up to more than the device's
	FlagThrottled   = "throttled"          // heat or power limits held the clocks down
	FlagNoClaim     = "no-process-claim"   // it is not known whose memory it was, see ProcessReason
	FlagPartSight   = "foreign-unseen"     // processes outside the PID namespace cannot be seen
	FlagUnused      = "gpu-unused"         // no process of the stack was on the device, and its memory did not rise
	FlagReadErrors  = "read-errors"        // some readings failed, see Errors
	FlagGarbageList = "garbage-in-list"    // a process list had impossible entries and was discarded
	FlagMissedPeak  = "missed-peak"        // the driver's accounting saw more than the samples
	FlagNotMPS      = "mps-unseen"         // MPS was asked for, but no process of the stack was one of its clients
	FlagFakeDriver  = "fake-driver"        // not a GPU: the tests' fake driver
)

// minSamples is the fewest samples that a peak needs; with fewer it is flagged.
const minSamples = 20

// maxGapIntervals is the longest gap between samples, in target intervals, that a
// peak may have; with a longer one it is flagged.
const maxGapIntervals = 5

// Usage is the GPU memory of one cell, summed over the stack's devices. A sampled
// peak is a lower bound; MaxGap says how coarse the sampling was.
type Usage struct {
	Validity string   `json:"validity,omitempty"`
	Flags    []string `json:"flags,omitempty"`
	Reason   string   `json:"reason,omitempty"` // why a figure is missing
	Method   string   `json:"method,omitempty"`
	Fake     bool     `json:"fake,omitempty"` // measured on the tests' fake driver, not on a GPU

	// Memory of the devices, by phase of the trial.
	Baseline       *int64 `json:"device_used_baseline"`        // idle, before the stack started: the median
	BaselineSpread *int64 `json:"device_used_baseline_spread"` // largest idle sample less the smallest
	Startup        *int64 `json:"device_used_startup_peak"`    // while the stack started
	Warmup         *int64 `json:"device_used_warmup_peak"`
	Start          *int64 `json:"device_used_start"` // when the measurement began
	Peak           *int64 `json:"device_used_peak"`  // of the measurement: the largest sample
	After          *int64 `json:"device_used_after"` // when the cell had ended
	Teardown       *int64 `json:"device_used_after_teardown"`
	Reserved       *int64 `json:"device_reserved"` // by the driver; method nvml-v2 does not count it as used
	Total          *int64 `json:"device_total"`

	// Memory of the stack during the measurement. Stack, Services and Processes
	// come from the process lists, which are read far less often than the device:
	// OverBaseline sees more of a short spike.
	OverBaseline  *int64        `json:"stack_over_baseline"` // Peak less Baseline
	Stack         *int64        `json:"stack_peak"`          // peak of the sum over the processes that belong to the stack
	Services      []ServicePeak `json:"services,omitempty"`
	Processes     []ProcessPeak `json:"processes,omitempty"`   // the stack's
	Others        *int64        `json:"others_held,omitempty"` // what the run's other stacks held, which is in none of the figures; nil: none was up
	Busy          []string      `json:"others_busy,omitempty"` // which of them were not idle, in words, where the driver says what processes compute
	Servers       []ProcessPeak `json:"mps_servers,omitempty"` // of the MPS that the stack uses
	Foreign       []ProcessPeak `json:"foreign,omitempty"`     // all others
	ForeignPeak   *int64        `json:"foreign_peak"`          // peak of the sum over Foreign
	Unowned       *int64        `json:"unowned_peak"`          // rise over the baseline that no listed process explains
	Sight         Sight         `json:"process_sight,omitempty"`
	ProcessReason string        `json:"process_reason,omitempty"` // why there are no figures of processes

	// How it was sampled.
	Interval         time.Duration  `json:"interval"` // target between two samples of the memory
	Samples          int            `json:"samples"`
	MaxGap           time.Duration  `json:"max_gap"` // longest time between two samples, including the cell's edges
	P99Gap           time.Duration  `json:"p99_gap"`
	ProcessInterval  time.Duration  `json:"process_interval"`
	ProcessSamples   int            `json:"process_samples"`
	TelemetrySamples int            `json:"telemetry_samples"`
	Errors           map[string]int `json:"errors,omitempty"` // failed readings by the driver's code

	Devices []DeviceUsage `json:"devices,omitempty"`

	// For charts, thinned out without losing a peak: the memory of the devices
	// during the measurement, and during the whole trial with its phases. The
	// trial's series is known when the stack is gone.
	Series []Point `json:"series,omitempty"`
	Began  float64 `json:"began_s"` // seconds from the trial's beginning to the measurement's
	Trial  []Point `json:"trial_series,omitempty"`
	Marks  []Mark  `json:"trial_phases,omitempty"`
}

// A ServicePeak is the peak of the sum over one service's processes.
type ServicePeak struct {
	Service string `json:"service"`
	Role    string `json:"role,omitempty"`
	Peak    *int64 `json:"peak"`
}

// A ProcessPeak is the most memory that one process was seen with. PID and Start
// together name the process: the kernel uses a PID again.
type ProcessPeak struct {
	PID        int    `json:"pid"`
	Start      uint64 `json:"start_ticks"` // clock ticks after boot, from /proc/PID/stat
	Parent     int    `json:"parent"`
	Name       string `json:"name"` // of the program, as the kernel has it
	Service    string `json:"service,omitempty"`
	Role       string `json:"role,omitempty"`
	Container  string `json:"container,omitempty"`
	Peak       *int64 `json:"peak"`          // nil: the driver does not report memory by process
	MPS        bool   `json:"mps,omitempty"` // it was seen as a client of MPS
	Accounting *int64 `json:"accounting"`    // the most that the driver saw since the process started, if it keeps account
}

// DeviceUsage is one device's part of a Usage, and what the device did.
type DeviceUsage struct {
	UUID     string           `json:"uuid"`
	Baseline *int64           `json:"used_baseline"`
	Start    *int64           `json:"used_start"`
	Peak     *int64           `json:"used_peak"`
	After    *int64           `json:"used_after"`
	Reserved *int64           `json:"reserved"`
	Total    *int64           `json:"total"`
	Activity TelemetrySummary `json:"activity"`
}

// TelemetrySummary is what a device did during a cell.
type TelemetrySummary struct {
	UtilizationMean *float64 `json:"utilization_mean"` // percent
	UtilizationMax  *float64 `json:"utilization_max"`
	PowerMean       *float64 `json:"power_mean_w"`
	PowerMax        *float64 `json:"power_max_w"`
	PowerLimit      *float64 `json:"power_limit_w"`
	Energy          *float64 `json:"energy_j"` // nil for a cell under a second: the counter is too coarse
	SMClockMin      *float64 `json:"sm_clock_min_mhz"`
	SMClockMax      *float64 `json:"sm_clock_max_mhz"`
	MemoryClockMin  *float64 `json:"memory_clock_min_mhz"`
	MemoryClockMax  *float64 `json:"memory_clock_max_mhz"`
	TemperatureMax  *float64 `json:"temperature_max_c"`
	Throttle        []string `json:"throttle,omitempty"`
}

// A Point is one point of a series of memory: the sum over the devices, or over
// the stack's services.
type Point struct {
	At   float64 `json:"at_s"` // seconds since the cell, or the trial, began
	Used *int64  `json:"used"` // bytes; nil: the reading failed
}

// A Mark says when a phase of a trial began.
type Mark struct {
	At    float64 `json:"at_s"` // since the trial began
	Phase string  `json:"phase"`
}

// An Aftermath is what is known once a trial's stack is gone.
type Aftermath struct {
	Baseline *int64   `json:"device_used_baseline"`
	Used     *int64   `json:"device_used_after_teardown"`
	Back     bool     `json:"back_at_baseline"`
	Holders  []Holder `json:"holders,omitempty"` // who holds memory
	Reason   string   `json:"reason,omitempty"`  // why it is not back, or could not be read
	Series   []Point  `json:"series,omitempty"`  // of the whole trial
	Marks    []Mark   `json:"marks,omitempty"`
}

// Apply adds what is known after the trial to a usage of one of its cells. If the
// memory never came back, the usage becomes invalid: nobody can tell what part of
// the peak was the stack's.
func (a Aftermath) Apply(u *Usage) {
	if u.Validity == "" {
		return
	}
	u.Teardown = a.Used
	u.Trial, u.Marks = a.Series, a.Marks
	if !a.Back {
		u.invalidate("the device never came back to its idle baseline: " + a.Reason)
	}
}

// Forget removes the figures of memory, with the doubts about them, and says why. What
// the devices did stays.
func (u *Usage) Forget(reason string) {
	if u.Validity == "" || u.Validity == Invalid {
		return
	}
	u.invalidate(reason)
	u.Start, u.After, u.Unowned, u.Series = nil, nil, nil, nil
	for i := range u.Devices {
		u.Devices[i].Start, u.Devices[i].After = nil, nil
	}
	u.Flags = slices.DeleteFunc(slices.Clone(u.Flags), func(flag string) bool {
		return slices.Contains([]string{FlagOthers, FlagUnowned, FlagGap, FlagFewSamples, FlagSum, FlagNoClaim, FlagMissedPeak}, flag)
	})
	u.Validity = Valid
	if len(u.Flags) > 0 {
		u.Validity = Flagged
	}
}

// invalidate removes the peaks and says why. The first reason stays.
func (u *Usage) invalidate(reason string) {
	if u.Validity != Invalid {
		u.Reason = reason
	}
	u.Validity = Invalid
	u.Peak, u.OverBaseline, u.Stack = nil, nil, nil
	u.Services = nil
	for i := range u.Processes {
		u.Processes[i].Peak = nil
	}
	for i := range u.Devices {
		u.Devices[i].Peak = nil
	}
}
