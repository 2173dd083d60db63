package results

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/threshold"
	"stackmeter/scenarios/units"
)

// A Figure is one number of a record. Figures lists them all, and everything
// that handles figures by name goes by that list: the columns of a store and of
// a CSV, JSON, import, thresholds, budgets, objectives and history.
type Figure struct {
	// Name is what scenarios, flags and files call the figure: gpu_peak. A
	// figure with a name is a metric: a threshold, a budget, an objective, a
	// comparison or a chart can be about it.
	Name string

	Column string // in a store and in a CSV: gpu_peak_bytes
	Title  string // of a metric, as a heading: peak GPU memory
	Unit   units.Unit
	Higher bool // more is better; otherwise less is
	value  value
}

// Of is the figure of a record. It is nil, not 0, if it was not measured.
func (f Figure) Of(r *Record) *float64 { return f.value.of(r) }

// Set writes the figure into a record. It does nothing for a figure that
// follows from other parts of a record.
func (f Figure) Set(r *Record, v float64) {
	if f.value.set != nil {
		f.value.set(r, v)
	}
}

// Whole reports whether the figure is a whole number.
func (f Figure) Whole() bool { return f.Unit == units.Bytes || f.Unit == units.None }

// Names of the metrics that code asks for by name.
const (
	MetricDuration   = "duration"
	MetricThroughput = "throughput"
	MetricP99        = "p99"
	MetricErrors     = "errors"
	MetricGPUPeak    = "gpu_peak"
	MetricMemoryPeak = "memory_peak"
)

// Figures are all that there are, in the order in which reports and files list
// them.
func Figures() []Figure { return slices.Clone(figures()) }

// figures makes them once.
var figures = sync.OnceValue(func() []Figure {
	return []Figure{
		{Name: MetricDuration, Column: "duration_s", Title: "duration", Unit: units.Seconds, value: pointer(func(r *Record) **float64 { return &r.Duration })},
		{Name: MetricThroughput, Column: "throughput_rps", Title: "throughput", Unit: units.PerSecond, Higher: true, value: value{of: func(r *Record) *float64 { return r.Throughput() }}},
		{Column: "replies", value: attempted(func(r *Record) *int { return &r.Replies })},
		{Name: MetricErrors, Column: "errors", Title: "errors", value: attempted(func(r *Record) *int { return &r.Errors })},

		{Column: "latency_min_s", Unit: units.Seconds, value: latency((*load.Latency).Min)},
		{Name: "latency_mean", Column: "latency_mean_s", Title: "mean latency", Unit: units.Seconds, value: latency((*load.Latency).Mean)},
		{Name: "p50", Column: "latency_p50_s", Title: "median latency", Unit: units.Seconds, value: percentile(50)},
		{Name: "p90", Column: "latency_p90_s", Title: "90th percentile of latency", Unit: units.Seconds, value: percentile(90)},
		{Name: "p95", Column: "latency_p95_s", Title: "95th percentile of latency", Unit: units.Seconds, value: percentile(95)},
		{Name: MetricP99, Column: "latency_p99_s", Title: "99th percentile of latency", Unit: units.Seconds, value: percentile(99)},
		{Name: "latency_max", Column: "latency_max_s", Title: "longest latency", Unit: units.Seconds, value: latency((*load.Latency).Max)},
		{Name: "first_byte_p50", Column: "first_byte_p50_s", Title: "median time to the first byte", Unit: units.Seconds, value: spreadOf(firstByte, p50)},
		{Name: "first_byte_p99", Column: "first_byte_p99_s", Title: "99th percentile of the time to the first byte", Unit: units.Seconds, value: spreadOf(firstByte, p99)},
		{Name: "first_event_p50", Column: "first_event_p50_s", Title: "median time to the first event", Unit: units.Seconds, value: spreadOf(firstEvent, p50)},
		{Name: "first_event_p99", Column: "first_event_p99_s", Title: "99th percentile of the time to the first event", Unit: units.Seconds, value: spreadOf(firstEvent, p99)},
		{Name: "events", Column: "events", Title: "events", Higher: true, value: pointer(func(r *Record) **int64 { return &r.Load.Events })},
		{Name: "event_gap_p50", Column: "event_gap_p50_s", Title: "median gap between events", Unit: units.Seconds, value: spreadOf(eventGap, p50)},
		{Name: "event_gap_p99", Column: "event_gap_p99_s", Title: "99th percentile of the gap between events", Unit: units.Seconds, value: spreadOf(eventGap, p99)},

		{Name: "round_trip_p50", Column: "round_trip_p50_s", Title: "median round trip of the network", Unit: units.Seconds, value: spreadOf(roundTrip, p50)},
		{Name: "round_trip_p99", Column: "round_trip_p99_s", Title: "99th percentile of the round trip of the network", Unit: units.Seconds, value: spreadOf(roundTrip, p99)},
		{Column: "round_trips", value: value{of: roundTrips}},

		{Column: "gpu_baseline_bytes", Unit: units.Bytes, value: pointer(func(r *Record) **int64 { return &r.GPU.Baseline })},
		{Column: "gpu_start_bytes", Unit: units.Bytes, value: pointer(func(r *Record) **int64 { return &r.GPU.Start })},
		{Name: MetricGPUPeak, Column: "gpu_peak_bytes", Title: "peak GPU memory", Unit: units.Bytes, value: pointer(func(r *Record) **int64 { return &r.GPU.Peak })},
		{Name: "gpu_stack_peak", Column: "gpu_stack_peak_bytes", Title: "peak GPU memory of the stack's processes", Unit: units.Bytes, value: pointer(func(r *Record) **int64 { return &r.GPU.Stack })},
		{Name: "energy", Column: "gpu_energy_j", Title: "GPU energy", Unit: units.Joules, value: value{of: energy}},
		{Name: "energy_per_request", Column: "gpu_energy_per_request_j", Title: "GPU energy for each good reply", Unit: units.Joules, value: value{of: energyPerRequest}},
		{Column: "gpu_samples", value: positive(func(r *Record) *int { return &r.GPU.Samples })},
		{Column: "gpu_interval_s", Unit: units.Seconds, value: elapsed(func(r *Record) *time.Duration { return &r.GPU.Interval })},
		{Column: "gpu_max_gap_s", Unit: units.Seconds, value: elapsed(func(r *Record) *time.Duration { return &r.GPU.MaxGap })},

		{Name: MetricMemoryPeak, Column: "memory_peak_bytes", Title: "peak memory", Unit: units.Bytes, value: pointer(func(r *Record) **int64 { return &r.Memory.Peak })},
		{Column: "memory_start_bytes", Unit: units.Bytes, value: pointer(func(r *Record) **int64 { return &r.Memory.Start })},
		{Column: "memory_kernel_peak_bytes", Unit: units.Bytes, value: pointer(func(r *Record) **int64 { return &r.Memory.KernelPeak })},
		{Column: "memory_samples", value: positive(func(r *Record) *int { return &r.Memory.Samples })},
		{Column: "memory_max_gap_s", Unit: units.Seconds, value: positive(func(r *Record) *float64 { return &r.Memory.MaxGap })},

		{Name: "cpu_stack", Column: "cpu_stack_s", Title: "CPU time of the stack", Unit: units.Seconds, value: pointer(func(r *Record) **float64 { return &r.CPU.Stack })},
		{Name: "cpu_client", Column: "cpu_client_s", Title: "CPU time of the client", Unit: units.Seconds, value: pointer(func(r *Record) **float64 { return &r.CPU.Client })},
		{Column: "cpu_machine_s", Unit: units.Seconds, value: pointer(func(r *Record) **float64 { return &r.CPU.Machine })},

		{Name: "rate", Column: "rate_rps", Title: "rate", Unit: units.PerSecond, Higher: true, value: value{of: offeredRate}},
		{Column: "start", value: positive(func(r *Record) *int { return &r.Start })},
		{Column: "lane", value: positive(func(r *Record) *int { return &r.Lane })},
		{Column: "start_delay_s", Unit: units.Seconds, value: attempted(func(r *Record) *float64 { return &r.Load.StartDelay })},
		{Column: "bytes_sent", Unit: units.Bytes, value: attempted(func(r *Record) *int64 { return &r.Load.BytesSent })},
		{Column: "bytes_read", Unit: units.Bytes, value: attempted(func(r *Record) *int64 { return &r.Load.BytesRead })},
	}
})

// Metrics are the figures that have a name.
func Metrics() []Figure {
	var metrics []Figure
	for _, f := range figures() {
		if f.Name != "" {
			metrics = append(metrics, f)
		}
	}
	return metrics
}

// Vocabulary is the metrics as a scenario names them.
func Vocabulary() threshold.Vocabulary {
	var v threshold.Vocabulary
	for _, m := range Metrics() {
		v = append(v, threshold.Figure{Name: m.Name, Unit: m.Unit})
	}
	return v
}

// FindMetric returns the metric with this name. The error lists all names, the one that
// was probably meant first.
func FindMetric(name string) (Figure, error) {
	var names []string
	for _, m := range figures() {
		if m.Name == name && name != "" {
			return m, nil
		}
	}
	for _, m := range Metrics() {
		names = append(names, m.Name)
	}
	meant := ""
	if near := show.Nearest(name, names); near != "" {
		meant = "did you mean " + near + "? "
	}
	return Figure{}, fmt.Errorf("there is no metric %q; %sthere are %s", name, meant, strings.Join(names, ", "))
}

// Metric returns one of the metrics that have a constant for their name.
func Metric(name string) Figure {
	m, err := FindMetric(name)
	if err != nil {
		panic(err)
	}
	return m
}

// PeakMetric is the metric of a kind of memory, MemoryGPU or MemoryMain.
func PeakMetric(memory string) string {
	if memory == MemoryGPU {
		return MetricGPUPeak
	}
	return MetricMemoryPeak
}

// Values are a figure's values in those records that have it.
func (f Figure) Values(records []Record) []float64 {
	var values []float64
	for i := range records {
		if v := f.Of(&records[i]); v != nil {
			values = append(values, *v)
		}
	}
	return values
}

// A value is how a figure is read from a record, and written to one where it
// does not follow from other parts.
type value struct {
	of  func(*Record) *float64
	set func(*Record, float64)
}

// pointer is a field that is nil where it was not measured.
func pointer[T int64 | float64](field func(*Record) **T) value {
	return value{
		of: func(r *Record) *float64 {
			if *field(r) == nil {
				return nil
			}
			return new(float64(**field(r)))
		},
		set: func(r *Record, v float64) {
			*field(r) = new(T(v))
		},
	}
}

// attempted is a field that was measured if the load was fired.
func attempted[T int | int64 | float64](field func(*Record) *T) value {
	return plain(field, func(r *Record) bool { return r.Attempted() })
}

// positive is a field that is 0 where it was not measured.
func positive[T int | float64](field func(*Record) *T) value {
	return plain(field, func(r *Record) bool { return *field(r) != 0 })
}

func plain[T int | int64 | float64](field func(*Record) *T, measured func(*Record) bool) value {
	return value{
		of: func(r *Record) *float64 {
			if !measured(r) {
				return nil
			}
			return new(float64(*field(r)))
		},
		set: func(r *Record, v float64) { *field(r) = T(v) },
	}
}

// elapsed is a duration that is 0 where it was not measured.
func elapsed(field func(*Record) *time.Duration) value {
	return value{
		of: func(r *Record) *float64 {
			if *field(r) == 0 {
				return nil
			}
			return new(field(r).Seconds())
		},
		set: func(r *Record, v float64) { *field(r) = time.Duration(math.Round(v * 1e9)) },
	}
}

func latency(of func(*load.Latency) time.Duration) value {
	return value{of: func(r *Record) *float64 {
		if r.Latency == nil || r.Latency.Count() == 0 {
			return nil
		}
		return new(of(r.Latency).Seconds())
	}}
}

func percentile(p float64) value {
	return latency(func(l *load.Latency) time.Duration { return l.Percentile(p) })
}

func firstByte(r *Record) *Spread  { return r.Load.FirstByte }
func firstEvent(r *Record) *Spread { return r.Load.FirstEvent }
func eventGap(r *Record) *Spread   { return r.Load.EventGap }

func roundTrip(r *Record) *Spread {
	if r.Load.RoundTrip == nil {
		return nil
	}
	return &r.Load.RoundTrip.Spread
}

func roundTrips(r *Record) *float64 {
	if r.Load.RoundTrip == nil {
		return nil
	}
	return new(float64(r.Load.RoundTrip.N))
}

func p50(s *Spread) *float64 { return &s.P50 }
func p99(s *Spread) *float64 { return &s.P99 }

// spreadOf is a figure of one of the distributions, nil if that was not measured.
func spreadOf(distribution func(*Record) *Spread, figure func(*Spread) *float64) value {
	return value{of: func(r *Record) *float64 {
		s := distribution(r)
		if s == nil {
			return nil
		}
		return figure(s)
	}}
}

// energy is what the stack's devices used, nil if one of them does not say.
func energy(r *Record) *float64 {
	sum := 0.0
	for _, d := range r.GPU.Devices {
		if d.Activity.Energy == nil {
			return nil
		}
		sum += *d.Activity.Energy
	}
	if len(r.GPU.Devices) == 0 {
		return nil
	}
	return &sum
}

func energyPerRequest(r *Record) *float64 {
	joules := energy(r)
	if joules == nil || r.Replies == 0 {
		return nil
	}
	return new(*joules / float64(r.Replies))
}

// offeredRate is the rate of an open loop, or the one that a search found.
func offeredRate(r *Record) *float64 {
	switch {
	case r.Load.Search != nil && r.Load.Search.Rate > 0:
		return &r.Load.Search.Rate
	case r.Cell.Load.Client == scenarios.ClientOpen && r.Cell.Load.Rate > 0:
		return &r.Cell.Load.Rate
	}
	return nil
}
