package results

import (
	"cmp"
	"slices"

	"stackmeter/scenarios"
)

// Kinds of memory that a table can be about.
const (
	MemoryGPU  = "gpu"  // memory in use on the devices that the stack was given
	MemoryMain = "main" // main memory of the stack
)

// A Summary is one cell over its repeats.
type Summary struct {
	Topology scenarios.Topology
	Load     scenarios.LoadSpec

	OK     int // repeats
	Failed int // repeats
	Pruned int // repeats
	Errors int // answers that were not as expected, over all repeats

	// Figures over the repeats that are ok. Repeats with errors among their
	// answers count only when the cell has no others: an error is often a fast
	// answer. A figure that none of them has is nil.
	Duration   *Sample // seconds
	Throughput *Sample // good replies per second
	GPUPeak    *Sample // bytes
	MainPeak   *Sample // bytes

	GPUReasons  []string // why repeats that are ok have no GPUPeak
	MainReasons []string // why repeats that are ok have no MainPeak

	Flags     []string // of any repeat and of Stability, sorted
	Stability Stability
	Failures  []Record // the failed repeats, in order
	Prunings  []Record // the pruned repeats, in order

	// Speaking are the repeats that the figures come from, in order.
	Speaking []Record
}

// Sample is one metric over the repeats that speak for the cell; nil where
// none of them has it.
func (s Summary) Sample(m Metric) *Sample {
	switch m.Name { // those that are there already: a frontier asks for them again and again
	case MetricDuration:
		return s.Duration
	case MetricThroughput:
		return s.Throughput
	case MetricGPUPeak:
		return s.GPUPeak
	case MetricMemoryPeak:
		return s.MainPeak
	}
	return sampleOf(s.Speaking, m.Of)
}

// Name is the cell's name: nginx+gunicorn-w1-t4/mt10/n100.
func (s Summary) Name() string { return s.Topology.Name + "/" + s.Load.Name() }

// Condition is the cell's name without its number of requests, as tables that
// are about one such number call it: gunicorn-w1-t4/mt10.
func (s Summary) Condition() string { return s.Topology.Name + "/" + modeName(s.Load) }

// Clean reports whether the cell can be recommended: every repeat is ok and
// every answer was as expected.
func (s Summary) Clean() bool { return s.Whole() && s.Errors == 0 }

// CleanRepeat reports whether there is a repeat that is ok and without errors:
// then only such ones are Speaking.
func (s Summary) CleanRepeat() bool { return len(s.Speaking) > 0 && s.Speaking[0].Clean() }

// Whole reports whether every repeat is ok.
func (s Summary) Whole() bool { return s.OK > 0 && s.OK == s.Repeats() }

// Repeats is how many repeats have a record.
func (s Summary) Repeats() int { return s.OK + s.Failed + s.Pruned }

// Spared reports whether the cell was never started: each repeat was pruned.
func (s Summary) Spared() bool { return s.Pruned > 0 && s.Pruned == s.Repeats() }

// Peak is the peak of the given kind of memory in bytes, or nil.
func (s Summary) Peak(memory string) *Sample {
	if memory == MemoryGPU {
		return s.GPUPeak
	}
	return s.MainPeak
}

// PeakReasons is why repeats that are ok lack the given kind of memory.
func (s Summary) PeakReasons(memory string) []string {
	if memory == MemoryGPU {
		return s.GPUReasons
	}
	return s.MainReasons
}

// MemoryKind says which memory a run's tables are about: the devices' when it
// was measured for any record, otherwise the stacks' main memory. It is one
// answer for all cells, because the two cannot be compared with each other.
func MemoryKind(summaries []Summary) string {
	for _, summary := range summaries {
		if summary.GPUPeak != nil {
			return MemoryGPU
		}
	}
	return MemoryMain
}

// Summarise puts the repeats of each cell together. The summaries are ordered
// by number of requests, then by topology, then by client mode and pool,
// whatever the order of the records.
func Summarise(records []Record) []Summary {
	type cell struct{ topology, load string }
	byCell := map[cell][]Record{}
	for _, record := range records {
		key := record.Key()
		at := cell{key.Topology, key.Load}
		byCell[at] = append(byCell[at], record)
	}
	summaries := make([]Summary, 0, len(byCell))
	for _, repeats := range byCell {
		slices.SortStableFunc(repeats, func(a, b Record) int { return cmp.Compare(a.Cell.Repeat, b.Cell.Repeat) })
		summaries = append(summaries, summarise(repeats))
	}
	slices.SortFunc(summaries, compareSummaries)
	return summaries
}

// compareSummaries is the order of Summarise.
func compareSummaries(a, b Summary) int {
	return cmp.Or(
		cmp.Compare(a.Load.Requests, b.Load.Requests),
		compareTopologies(a.Topology, b.Topology),
		compareModes(a.Load, b.Load),
	)
}

// summarise makes the summary of one cell from its repeats, of which there is
// at least one.
func summarise(repeats []Record) Summary {
	summary := Summary{Topology: repeats[0].Topology, Load: repeats[0].Cell.Load}
	for _, record := range repeats {
		summary.Errors += record.Errors
		summary.Flags = append(summary.Flags, record.AllFlags()...)
		switch record.Status {
		case StatusOK:
		case StatusPruned:
			summary.Pruned++
			summary.Prunings = append(summary.Prunings, record)
		default:
			summary.Failed++
			summary.Failures = append(summary.Failures, record)
		}
	}
	ok, speaking := speakers(repeats)
	summary.OK, summary.Speaking = len(ok), speaking
	summary.Stability = stabilityOf(ok, speaking)
	summary.Flags = append(summary.Flags, summary.Stability.Flags...)
	slices.Sort(summary.Flags)
	summary.Flags = slices.Compact(summary.Flags)

	summary.Duration = sampleOf(speaking, func(r Record) *float64 { return r.Duration })
	summary.Throughput = sampleOf(speaking, Record.Throughput)
	summary.GPUPeak = sampleOf(speaking, func(r Record) *float64 { return toFloat(r.GPU.Peak) })
	summary.MainPeak = sampleOf(speaking, func(r Record) *float64 { return toFloat(r.Memory.Peak) })
	for _, record := range ok {
		if record.GPU.Peak == nil {
			summary.GPUReasons = addReason(summary.GPUReasons, record.GPU.Reason)
		}
		if record.Memory.Peak == nil {
			summary.MainReasons = addReason(summary.MainReasons, record.Memory.Reason)
		}
	}
	return summary
}

// speakers are the repeats that are ok, and those of them that speak for their
// cell: the ones without errors where there are any.
func speakers(repeats []Record) (ok, speaking []Record) {
	for _, record := range repeats {
		if record.Status != StatusOK {
			continue
		}
		ok = append(ok, record)
		if record.Clean() {
			speaking = append(speaking, record)
		}
	}
	if len(speaking) == 0 {
		speaking = ok
	}
	return ok, speaking
}

func addReason(reasons []string, reason string) []string {
	if reason == "" || slices.Contains(reasons, reason) {
		return reasons
	}
	return append(reasons, reason)
}

func sampleOf(records []Record, figure func(Record) *float64) *Sample {
	var values []float64
	for _, record := range records {
		if value := figure(record); value != nil {
			values = append(values, *value)
		}
	}
	return NewSample(values)
}

func toFloat(bytes *int64) *float64 {
	if bytes == nil {
		return nil
	}
	value := float64(*bytes)
	return &value
}

// modeName is a load's name without its number of requests.
func modeName(load scenarios.LoadSpec) string {
	if load.KeepAlive {
		return load.Mode() + "/keepalive"
	}
	return load.Mode()
}
