package results

import (
	"slices"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
)

// Doubts are the flags of the cell that void a metric: what was measured then
// is the client, a disturbance or another process, and not the stack. Other
// flags leave a figure of use. A metric that was not measured has none.
func (s Summary) Doubts(m Metric) []string {
	if s.Sample(m) == nil {
		return nil
	}
	var voiding []string
	switch {
	case m.Name == MetricMemoryPeak:
		voiding = []string{FlagInherited}
	case m.Unit == UnitBytes:
		voiding = []string{FlagInherited, gpu.FlagForeign, gpu.FlagSum}
	case m.Unit != UnitCount:
		voiding = []string{load.FlagClientBound, load.FlagClientLate, FlagUnstable, gpu.FlagThrottled}
	}
	return slices.DeleteFunc(slices.Clone(s.Flags), func(flag string) bool { return !slices.Contains(voiding, flag) })
}
