package results

import (
	"fmt"
	"strings"

	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
)

// A Metric is a figure of a record that a budget, an objective, a threshold, a
// comparison or a chart can name.
type Metric struct {
	Name   string // as it is written in scenarios, flags and files: gpu_peak
	Title  string // as a heading: peak GPU memory
	Unit   units.Unit
	Higher bool // more of it is better; of everything else less is
	Of     func(Record) *float64
}

// Names of the metrics that code asks for by name.
const (
	MetricDuration   = "duration"
	MetricThroughput = "throughput"
	MetricP99        = "p99"
	MetricErrors     = "errors"
	MetricGPUPeak    = "gpu_peak"
	MetricMemoryPeak = "memory_peak"
)

// Metrics are all that there are, in the order in which reports list them. A
// figure that a record does not have is nil, never 0.
func Metrics() []Metric {
	latency := func(percentile float64) func(Record) *float64 {
		return func(r Record) *float64 {
			if r.Latency == nil || r.Latency.Count() == 0 {
				return nil
			}
			seconds := r.Latency.Percentile(percentile).Seconds()
			return &seconds
		}
	}
	return []Metric{
		{Name: MetricDuration, Title: "duration", Unit: units.Seconds, Of: func(r Record) *float64 { return r.Duration }},
		{Name: MetricThroughput, Title: "throughput", Unit: units.PerSecond, Higher: true, Of: Record.Throughput},
		{Name: "p50", Title: "median latency", Unit: units.Seconds, Of: latency(50)},
		{Name: "p90", Title: "90th percentile of latency", Unit: units.Seconds, Of: latency(90)},
		{Name: MetricP99, Title: "99th percentile of latency", Unit: units.Seconds, Of: latency(99)},
		{Name: "latency_mean", Title: "mean latency", Unit: units.Seconds, Of: func(r Record) *float64 {
			if r.Latency == nil || r.Latency.Count() == 0 {
				return nil
			}
			seconds := r.Latency.Mean().Seconds()
			return &seconds
		}},
		{Name: "latency_max", Title: "longest latency", Unit: units.Seconds, Of: latency(100)},
		{Name: MetricErrors, Title: "errors", Unit: units.None, Of: func(r Record) *float64 {
			if !r.Attempted() {
				return nil
			}
			errors := float64(r.Errors)
			return &errors
		}},
		{Name: MetricGPUPeak, Title: "peak GPU memory", Unit: units.Bytes, Of: func(r Record) *float64 { return toFloat(r.GPU.Peak) }},
		{Name: "gpu_stack_peak", Title: "peak GPU memory of the stack's processes", Unit: units.Bytes, Of: func(r Record) *float64 { return toFloat(r.GPU.Stack) }},
		{Name: MetricMemoryPeak, Title: "peak memory", Unit: units.Bytes, Of: func(r Record) *float64 { return toFloat(r.Memory.Peak) }},
		{Name: "cpu_stack", Title: "CPU time of the stack", Unit: units.Seconds, Of: func(r Record) *float64 { return r.CPU.Stack }},
		{Name: "cpu_client", Title: "CPU time of the client", Unit: units.Seconds, Of: func(r Record) *float64 { return r.CPU.Client }},
		{Name: "rate", Title: "rate", Unit: units.PerSecond, Higher: true, Of: func(r Record) *float64 {
			if r.Load.Search != nil && r.Load.Search.Rate > 0 {
				return &r.Load.Search.Rate
			}
			if r.Cell.Load.Client == scenarios.ClientOpen && r.Cell.Load.Rate > 0 {
				return &r.Cell.Load.Rate
			}
			return nil
		}},
	}
}

// FindMetric is the metric of that name. The error lists those that there are.
func FindMetric(name string) (Metric, error) {
	var names []string
	for _, m := range Metrics() {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Metric{}, fmt.Errorf("there is no metric %q; there are %s", name, strings.Join(names, ", "))
}

// PeakMetric is the metric of a kind of memory, MemoryGPU or MemoryMain.
func PeakMetric(memory string) string {
	if memory == MemoryGPU {
		return MetricGPUPeak
	}
	return MetricMemoryPeak
}

func toFloat(bytes *int64) *float64 {
	if bytes == nil {
		return nil
	}
	value := float64(*bytes)
	return &value
}
