package gpu

import "time"

// Validity of a Usage. Empty means that no GPU was sampled.
const (
	Valid   = "valid"
	Flagged = "flagged" // the figures stand, with the doubts that Flags name
	Invalid = "invalid" // the peaks are nil, and Reason says why
)

// Flags of a Usage: doubts that travel with the figures.
const (
	FlagForeign     = "foreign-process"    // a process that is not the stack's held memory on the device
	FlagUnowned     = "unowned-memory"     // memory rose that no listed process holds
	FlagGap         = "sample-gap"         // the longest gap is over five target intervals
	FlagFewSamples  = "few-samples"        // fewer than minSamples
	FlagSum         = "sum-exceeds-device" // the processes' figures add up to more than the device's
	FlagThrottled   = "throttled"          // the clocks were held down by heat or power
	FlagNoClaim     = "no-process-claim"   // whose memory it was cannot be said, see ProcessReason
	FlagPartSight   = "foreign-unseen"     // processes outside the PID namespace cannot be seen
	FlagUnused      = "gpu-unused"         // no process of the stack was on the device, nor did its memory rise
	FlagReadErrors  = "read-errors"        // some readings failed, see Errors
	FlagGarbageList = "garbage-in-list"    // a process list held impossible entries and was thrown away
	FlagMissedPeak  = "missed-peak"        // the driver's accounting saw more than the samples
	FlagNotMPS      = "mps-unseen"         // MPS was asked for, and no process of the stack was among its clients
	FlagFakeDriver  = "fake-driver"        // not a GPU: the fake driver of the tests
)

// minSamples is the number of samples under which a peak is flagged.
const minSamples = 20

// maxGapIntervals is how many target intervals the longest gap may last
// before the peak is flagged.
const maxGapIntervals = 5

// Usage is the GPU memory of one cell, summed over the devices that the stack
// was given. Every sampled peak is a lower bound; MaxGap says how coarse.
type Usage struct {
	Validity string   `json:"validity,omitempty"`
	Flags    []string `json:"flags,omitempty"`
	Reason   string   `json:"reason,omitempty"` // why a figure is missing
	Method   string   `json:"method,omitempty"`
	Fake     bool     `json:"fake,omitempty"` // measured on the fake driver of the tests, not on a GPU

	// Memory of the devices, by phase of the trial.
	Baseline       *int64 `json:"device_used_baseline"`        // idle, before the stack started: the median
	BaselineSpread *int64 `json:"device_used_baseline_spread"` // largest less smallest of the idle samples
	Startup        *int64 `json:"device_used_startup_peak"`    // while the stack started
	Warmup         *int64 `json:"device_used_warmup_peak"`
	Start          *int64 `json:"device_used_start"` // when the measurement began
	Peak           *int64 `json:"device_used_peak"`  // of the measurement: the largest sample
	After          *int64 `json:"device_used_after"` // when the cell had ended
	Teardown       *int64 `json:"device_used_after_teardown"`
	Reserved       *int64 `json:"device_reserved"` // by the driver; in v2 no part of what is used
	Total          *int64 `json:"device_total"`

	// Memory of the stack during the measurement. Stack, Services and the
	// processes' peaks come from the process lists, which are read far less
	// often than the device: over a short spike OverBaseline sees more.
	OverBaseline  *int64        `json:"stack_over_baseline"` // Peak less Baseline
	Stack         *int64        `json:"stack_peak"`          // peak of the sum over the processes that belong to the stack
	Services      []ServicePeak `json:"services,omitempty"`
	Processes     []ProcessPeak `json:"processes,omitempty"`   // the stack's, each with its own peak
	Servers       []ProcessPeak `json:"mps_servers,omitempty"` // of the MPS that the stack uses
	Foreign       []ProcessPeak `json:"foreign,omitempty"`     // everybody else's
	ForeignPeak   *int64        `json:"foreign_peak"`          // peak of the sum over them
	Unowned       *int64        `json:"unowned_peak"`          // rise over the baseline that no listed process explains
	Sight         Sight         `json:"process_sight,omitempty"`
	ProcessReason string        `json:"process_reason,omitempty"` // why there are no figures of processes

	// How it was sampled.
	Interval         time.Duration  `json:"interval"` // target between two samples of the memory
	Samples          int            `json:"samples"`
	MaxGap           time.Duration  `json:"max_gap"` // longest time between two samples, the cell's edges included
	P99Gap           time.Duration  `json:"p99_gap"`
	ProcessInterval  time.Duration  `json:"process_interval"`
	ProcessSamples   int            `json:"process_samples"`
	TelemetrySamples int            `json:"telemetry_samples"`
	Errors           map[string]int `json:"errors,omitempty"` // failed readings by the driver's code

	Devices []DeviceUsage `json:"devices,omitempty"`

	// For charts, thinned out without losing a peak: the memory of the devices
	// during the measurement, and during the whole trial with its phases. The
	// trial's are known when its stack is gone.
	Series []Point `json:"series,omitempty"`
	Began  float64 `json:"began_s"` // when the measurement began: seconds since the trial did
	Trial  []Point `json:"trial_series,omitempty"`
	Marks  []Mark  `json:"trial_phases,omitempty"`
}

// A ServicePeak is the peak of the sum over one service's processes.
type ServicePeak struct {
	Service string `json:"service"`
	Role    string `json:"role,omitempty"`
	Peak    *int64 `json:"peak"`
}

// A ProcessPeak is the largest memory that one process was seen with. PID and
// Start together name the process: PIDs alone are used again.
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
	Accounting *int64 `json:"accounting"`    // the driver's own mark since the process started, where it keeps one
}

// DeviceUsage is one device's part of a Usage, and what it did meanwhile.
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
	Energy          *float64 `json:"energy_j"` // nil for cells under a second: the counter is too coarse
	SMClockMin      *float64 `json:"sm_clock_min_mhz"`
	SMClockMax      *float64 `json:"sm_clock_max_mhz"`
	MemoryClockMin  *float64 `json:"memory_clock_min_mhz"`
	MemoryClockMax  *float64 `json:"memory_clock_max_mhz"`
	TemperatureMax  *float64 `json:"temperature_max_c"`
	Throttle        []string `json:"throttle,omitempty"`
}

// A Point of a series of memory, of the devices (the sum over them) or of the
// stack (the sum over its services).
type Point struct {
	At   float64 `json:"at_s"` // seconds since the cell, or the trial, began
	Used *int64  `json:"used"` // bytes; nil: the reading failed
}

// A Mark says when a phase of a trial began.
type Mark struct {
	At    float64 `json:"at_s"` // since the trial began
	Phase string  `json:"phase"`
}

// An Aftermath is what is known when a trial's stack is gone.
type Aftermath struct {
	Baseline *int64   `json:"device_used_baseline"`
	Used     *int64   `json:"device_used_after_teardown"`
	Back     bool     `json:"back_at_baseline"`
	Holders  []Holder `json:"holders,omitempty"` // who holds memory, when it is not back
	Reason   string   `json:"reason,omitempty"`  // why it is not back, or could not be read
	Series   []Point  `json:"series,omitempty"`  // of the whole trial
	Marks    []Mark   `json:"marks,omitempty"`
}

// Apply adds what is known after the trial to a usage that was made during
// it. Memory that never came back makes the trial's figures invalid: it cannot
// be told what part of the peak was the stack's.
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

// invalidate takes the peaks away and says why. The first reason stays.
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
