// Package verdict draws the conclusions from records. For one run it summarises
// cells over their repeats, compares them with a baseline, says what bound them,
// which conditions are worth having and which one to deploy, and checks
// thresholds. For two runs it says what changed; history looks at more of them.
package verdict

import (
	"cmp"
	"slices"
	"strings"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
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
	// answers count only if the cell has no others, because an error is often a
	// fast answer. A figure that no repeat has is nil.
	Duration   *stats.Sample // seconds
	Throughput *stats.Sample // good replies per second
	GPUPeak    *stats.Sample // bytes
	MainPeak   *stats.Sample // bytes

	GPUReasons  []string // why repeats that are ok lack GPUPeak
	MainReasons []string // why repeats that are ok lack MainPeak

	Flags     []string // of any repeat and of Stability, sorted
	Stability Stability
	Failures  []results.Record // the failed repeats, in order
	Prunings  []results.Record // the pruned repeats, in order

	// Speaking are the repeats that the figures come from, in order.
	Speaking []results.Record

	// Alone is the median of the good replies per second of the same topology's cell
	// of one client: how fast requests are answered that wait for no other. It is nil
	// for that cell, for open loops, and where there is no such cell without errors.
	Alone *float64

	looks stats.Looks // that decided how many repeats there are
}

// Sample is one metric over the repeats that speak for the cell, or nil if none
// of them has it.
func (s Summary) Sample(m results.Figure) *stats.Sample {
	switch m.Name { // those that are there already: a frontier asks for them again and again
	case results.MetricDuration:
		return s.Duration
	case results.MetricThroughput:
		return s.Throughput
	case results.MetricGPUPeak:
		return s.GPUPeak
	case results.MetricMemoryPeak:
		return s.MainPeak
	}
	return sampleOf(m, s.Speaking, s.looks)
}

// Name is the cell's name: nginx+gunicorn-w1-t4/mt10/n100.
func (s Summary) Name() string { return s.Topology.Name + "/" + s.Load.Name() }

// Condition is the cell's name without its number of requests, for tables of one
// such number: gunicorn-w1-t4/mt10.
func (s Summary) Condition() string { return s.Topology.Name + "/" + ModeName(s.Load) }

// Clean reports whether the cell can be recommended: every repeat is ok and
// every answer was as expected.
func (s Summary) Clean() bool { return s.Whole() && s.Errors == 0 }

// CleanRepeat reports whether any repeat is ok and without errors. Then only
// such repeats are Speaking.
func (s Summary) CleanRepeat() bool { return len(s.Speaking) > 0 && s.Speaking[0].Clean() }

// Whole reports whether every repeat is ok.
func (s Summary) Whole() bool { return s.OK > 0 && s.OK == s.Repeats() }

// Repeats is how many repeats have a record.
func (s Summary) Repeats() int { return s.OK + s.Failed + s.Pruned }

// Spared reports whether the cell was never started: every repeat was pruned.
func (s Summary) Spared() bool { return s.Pruned > 0 && s.Pruned == s.Repeats() }

// Peak is the peak of the given kind of memory in bytes, or nil.
func (s Summary) Peak(memory string) *stats.Sample {
	if memory == results.MemoryGPU {
		return s.GPUPeak
	}
	return s.MainPeak
}

// Reasons is why repeats that are ok lack a metric, where they say so: of a peak.
func (s Summary) Reasons(m results.Figure) []string {
	switch m.Name {
	case results.MetricGPUPeak:
		return s.GPUReasons
	case results.MetricMemoryPeak:
		return s.MainReasons
	}
	return nil
}

// MemoryKind says which memory a run's tables show: the devices' if any cell has
// it, otherwise the stacks' main memory. It is the same for all cells, because
// the two cannot be compared with each other.
func MemoryKind(summaries []Summary) string {
	if slices.ContainsFunc(summaries, func(s Summary) bool { return s.GPUPeak != nil }) {
		return results.MemoryGPU
	}
	return results.MemoryMain
}

// Summarise puts the repeats of each cell together. Whatever the order of the
// records, the summaries are ordered by number of requests, topology, client
// mode and pool. Short cells of a search are not among them. The records are those of a
// run: how many cells there are counts for what is said of one, see markUnsteady. How many
// repeats there are was decided before; where it may not have been, use SummariseRun.
func Summarise(records []results.Record) []Summary { return summariseLong(records, stats.Looks{}) }

// SummariseRun is Summarise with intervals that know how the run decided when to stop.
func SummariseRun(run results.Run, records []results.Record) []Summary {
	return summariseLong(records, LooksOf(run.Plan))
}

func summariseLong(records []results.Record, looks stats.Looks) []Summary {
	return summariseAll(results.Only(records, func(r *results.Record) bool { return r.Cell.Load.Of == 0 }), looks)
}

// Unmeasured are summaries of the cells of which a repeat failed or was pruned, a
// search's short ones among them.
func Unmeasured(records []results.Record) []Summary {
	unmeasured := map[cellKey]bool{}
	for i := range records {
		if records[i].Status != results.StatusOK {
			unmeasured[keyOf(records[i])] = true
		}
	}
	return summariseAll(results.Only(records, func(r *results.Record) bool { return unmeasured[keyOf(*r)] }), stats.Looks{})
}

func keyOf(r results.Record) cellKey { return cellKey{r.Topology.Name, r.Cell.Load.Name()} }

func summariseAll(records []results.Record, looks stats.Looks) []Summary {
	var summaries []Summary
	for _, repeats := range GroupBy(records, keyOf) {
		slices.SortStableFunc(repeats, func(a, b results.Record) int { return cmp.Compare(a.Cell.Repeat, b.Cell.Repeat) })
		summaries = append(summaries, summarise(repeats, looks))
	}
	slices.SortFunc(summaries, compareSummaries)
	var all []*Summary
	for i := range summaries {
		all = append(all, &summaries[i])
	}
	markUnsteady(all)
	for _, cells := range GroupBy(all, func(s *Summary) string { return s.Topology.Name }) {
		for _, s := range cells {
			s.Alone = alone(s, cells)
		}
	}
	return summaries
}

// alone looks for a topology's cell of one client, with the same number of requests
// if there is one.
func alone(s *Summary, cells []*Summary) *float64 {
	var found *float64
	for _, other := range cells {
		if s.Load.Pool > 1 && s.Load.Client != scenarios.ClientOpen && other.Load.Client == scenarios.ClientSingle &&
			other.Load.KeepAlive == s.Load.KeepAlive && other.Throughput != nil && other.CleanRepeat() &&
			(found == nil || other.Load.Requests == s.Load.Requests) {
			found = &other.Throughput.Median
		}
	}
	return found
}

// compareSummaries is the order of Summarise.
func compareSummaries(a, b Summary) int {
	return cmp.Or(
		cmp.Compare(a.Load.Requests, b.Load.Requests),
		compareTopologies(a.Topology, b.Topology),
		compareModes(a.Load, b.Load),
	)
}

// summarise summarises one cell from its repeats, of which there is at least
// one.
func summarise(repeats []results.Record, looks stats.Looks) Summary {
	summary := Summary{Topology: repeats[0].Topology, Load: repeats[0].Cell.Load, looks: looks}
	for _, record := range repeats {
		summary.Errors += record.Errors
		summary.Flags = append(summary.Flags, record.AllFlags()...)
		switch record.Status {
		case results.StatusOK:
		case results.StatusPruned:
			summary.Pruned++
			summary.Prunings = append(summary.Prunings, record)
		default:
			summary.Failed++
			summary.Failures = append(summary.Failures, record)
		}
	}
	ok, speaking := results.Speaking(repeats)
	summary.OK, summary.Speaking = len(ok), speaking
	summary.Stability = stabilityOf(ok, speaking)
	summary.Flags = append(summary.Flags, summary.Stability.Flags...)
	slices.Sort(summary.Flags)
	summary.Flags = slices.Compact(summary.Flags)

	sample := func(metric string) *stats.Sample { return sampleOf(results.Metric(metric), speaking, looks) }
	summary.Duration, summary.Throughput = sample(results.MetricDuration), sample(results.MetricThroughput)
	summary.GPUPeak, summary.MainPeak = sample(results.MetricGPUPeak), sample(results.MetricMemoryPeak)
	for _, record := range ok {
		if record.GPU.Peak == nil && !(summary.GPUPeak != nil && record.GPU.Reason == results.LaterRound) {
			summary.GPUReasons = addReason(summary.GPUReasons, record.GPU.Reason)
		}
		if record.Memory.Peak == nil && !(summary.MainPeak != nil && record.Memory.Reason == results.LaterRound) {
			summary.MainReasons = addReason(summary.MainReasons, record.Memory.Reason)
		}
	}
	return summary
}

// sampleOf is a figure over repeats, or nil if none has it. Repeats on the same start
// of a stack have in common what that start was like.
func sampleOf(m results.Figure, repeats []results.Record, looks stats.Looks) *stats.Sample {
	var starts [][]float64
	at := map[int]int{}
	for i := range repeats {
		r := &repeats[i]
		if _, known := at[r.Start]; !known {
			at[r.Start] = len(starts)
			starts = append(starts, nil)
		}
		if value := m.Of(r); value != nil {
			starts[at[r.Start]] = append(starts[at[r.Start]], *value)
		}
	}
	return stats.NewNestedSample(starts, looks)
}

func addReason(reasons []string, reason string) []string {
	if reason == "" || slices.Contains(reasons, reason) {
		return reasons
	}
	return append(reasons, reason)
}

// ModeName is a load's name without its number of requests.
func ModeName(load scenarios.LoadSpec) string {
	if load.KeepAlive {
		return load.Mode() + "/keepalive"
	}
	return load.Mode()
}

// Records come in the order in which they were measured, which is shuffled.
// Summaries are ordered by what was asked for, so that two runs of a scenario
// print the same rows in the same places.

// compareTopologies orders by the server's name, commands and services of the
// scenario's own last, then by class, without a proxy before with one, then by
// workers, threads, concurrency and name.
func compareTopologies(a, b scenarios.Topology) int {
	return cmp.Or(
		cmp.Compare(one(own(a)), one(own(b))),
		cmp.Compare(a.Server, b.Server),
		cmp.Compare(a.Class, b.Class),
		cmp.Compare(a.Proxy, b.Proxy),
		cmp.Compare(a.Workers, b.Workers),
		cmp.Compare(a.Threads, b.Threads),
		cmp.Compare(a.Concurrency, b.Concurrency),
		CompareNatural(a.Name, b.Name),
	)
}

// compareModes orders by client mode (single, mp, mt, open), then by rate, with a
// rate that is searched and max last, then by pool. Kept-alive connections come
// last.
func compareModes(a, b scenarios.LoadSpec) int {
	return cmp.Or(
		cmp.Compare(one(a.KeepAlive), one(b.KeepAlive)),
		cmp.Compare(clientRank(a.Client), clientRank(b.Client)),
		cmp.Compare(a.Client, b.Client),
		cmp.Compare(one(a.Searches()), one(b.Searches())),
		cmp.Compare(one(a.Rate == 0), one(b.Rate == 0)),
		cmp.Compare(a.Rate, b.Rate),
		cmp.Compare(a.P99, b.P99),
		cmp.Compare(a.Arrivals, b.Arrivals),
		cmp.Compare(a.Pool, b.Pool),
	)
}

// own reports whether a topology's server is the scenario's own.
func own(t scenarios.Topology) bool {
	return t.Server == scenarios.ServerCommand || t.Server == scenarios.ServerServices
}

// clientRank orders the clients; open comes last.
func clientRank(client string) int {
	return -slices.Index([]string{scenarios.ClientMT, scenarios.ClientMP, scenarios.ClientSingle}, client)
}

// CompareNatural compares the numbers in names as numbers: waitress-t8 comes
// before waitress-t16.
func CompareNatural(a, b string) int {
	restA, restB := a, b
	for restA != "" && restB != "" {
		numA, tailA := leadingDigits(restA)
		numB, tailB := leadingDigits(restB)
		if numA != "" && numB != "" {
			trimA, trimB := strings.TrimLeft(numA, "0"), strings.TrimLeft(numB, "0")
			if c := cmp.Or(cmp.Compare(len(trimA), len(trimB)), cmp.Compare(trimA, trimB)); c != 0 {
				return c
			}
			restA, restB = tailA, tailB
			continue
		}
		if c := cmp.Compare(restA[0], restB[0]); c != 0 {
			return c
		}
		restA, restB = restA[1:], restB[1:]
	}
	return cmp.Or(cmp.Compare(len(restA), len(restB)), cmp.Compare(a, b))
}

func leadingDigits(s string) (digits, rest string) {
	rest = strings.TrimLeft(s, "0123456789")
	return s[:len(s)-len(rest)], rest
}

// Doubts returns the flags of the cell that void a metric: the client, a
// disturbance or another process was measured instead of the stack. Other flags
// leave the figure usable. A metric that was not measured has no doubts.
func (s Summary) Doubts(m results.Figure) []string {
	if s.Sample(m) == nil {
		return nil
	}
	var voiding []string
	switch {
	case m.Name == results.MetricMemoryPeak:
		voiding = []string{results.FlagInherited, results.FlagUnwatched}
	case m.Unit == units.Bytes:
		voiding = []string{results.FlagInherited, gpu.FlagForeign, gpu.FlagOthers, gpu.FlagSum}
	case m.Unit != units.None:
		voiding = []string{load.FlagClientBound, load.FlagClientStarved, load.FlagClientLate, results.FlagNeighbour, FlagUnstable, gpu.FlagThrottled}
		if m.Unit == units.Joules {
			voiding = append(voiding, gpu.FlagForeign)
		}
	}
	return slices.DeleteFunc(slices.Clone(s.Flags), func(flag string) bool { return !slices.Contains(voiding, flag) })
}
