package scenarios

import "stackmeter/scenarios/units"

// A Figure is a name that a threshold can use for what a cell measured, with
// the unit of its values. The figures are those of package results, where they
// are taken from records.
type Figure struct {
	Name string
	Unit units.Unit
}

// Figures lists them.
func Figures() []Figure {
	return []Figure{
		{"duration", units.Seconds},
		{"throughput", units.PerSecond},
		{"p50", units.Seconds},
		{"p90", units.Seconds},
		{"p99", units.Seconds},
		{"latency_mean", units.Seconds},
		{"latency_max", units.Seconds},
		{"errors", units.None},
		{"gpu_peak", units.Bytes},
		{"gpu_stack_peak", units.Bytes},
		{"memory_peak", units.Bytes},
		{"cpu_stack", units.Seconds},
		{"cpu_client", units.Seconds},
		{"rate", units.PerSecond},
	}
}
