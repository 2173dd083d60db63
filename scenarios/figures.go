package scenarios

// A Figure is a name that a threshold can use for what a cell measured, with
// the unit of its values. The figures are those of package results, where they
// are taken from records.
type Figure struct {
	Name string
	Unit string // UnitSeconds, UnitBytes, UnitPerSecond; empty for a plain number
}

// Units of figures.
const (
	UnitSeconds   = "s"
	UnitBytes     = "B"
	UnitPerSecond = "1/s"
)

// Figures lists them.
func Figures() []Figure {
	return []Figure{
		{"duration", UnitSeconds},
		{"throughput", UnitPerSecond},
		{"p50", UnitSeconds},
		{"p90", UnitSeconds},
		{"p99", UnitSeconds},
		{"latency_mean", UnitSeconds},
		{"latency_max", UnitSeconds},
		{"errors", ""},
		{"gpu_peak", UnitBytes},
		{"gpu_stack_peak", UnitBytes},
		{"memory_peak", UnitBytes},
		{"cpu_stack", UnitSeconds},
		{"cpu_client", UnitSeconds},
		{"rate", UnitPerSecond},
	}
}
