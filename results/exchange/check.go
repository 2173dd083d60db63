package exchange

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/wire"
)

// mostOf bounds every figure, in its base unit: 888 TiB, or 31 million years.
const mostOf = 1 << 50

// checkRecord reports what cannot be in a record that was read from a file. besides
// are figures by column that the file says of the record too; each is held
// against the record's own.
func checkRecord(r *results.Record, besides ...map[string]float64) error {
	for _, given := range append([]map[string]float64{nil}, besides...) {
		if err := checkFigures(r, given); err != nil {
			return err
		}
	}
	return checkFacts(recordFacts(r))
}

// checkFigures reports a figure that is not a number, below 0, beyond any
// measurement, or at odds with another one.
func checkFigures(r *results.Record, given map[string]float64) error {
	at := map[string]float64{}
	maps.Copy(at, given)
	for _, f := range results.Figures() {
		value, is := given[f.Column]
		if own := f.Of(r); !is && own != nil {
			value, is = *own, true
		}
		switch {
		case !is:
			continue
		case !(value >= 0):
			return fmt.Errorf("%s is %v: it cannot be below 0", f.Column, value)
		case value > mostOf:
			return fmt.Errorf("%s is %v: more than can be measured", f.Column, value)
		case value == 0 && f.Name == results.MetricDuration:
			return fmt.Errorf("%s is 0: what was not measured is left out", f.Column)
		}
		at[f.Column] = value
	}
	const rounding = 1 + 1e-9
	for _, order := range [][]string{
		{"latency_min_s", "latency_p50_s", "latency_p90_s", "latency_p95_s", "latency_p99_s", "latency_max_s"},
		{"latency_min_s", "latency_mean_s", "latency_max_s"},
		{"first_byte_p50_s", "first_byte_p99_s"},
		{"first_event_p50_s", "first_event_p99_s"},
		{"event_gap_p50_s", "event_gap_p99_s"},
		{"round_trip_p50_s", "round_trip_p99_s"},
		{"memory_start_bytes", "memory_peak_bytes"}, // the first sample is one of those that the peak is of
		{"gpu_start_bytes", "gpu_peak_bytes"},
		{"cell_duration_low_s", "cell_duration_median_s", "cell_duration_high_s"},
	} {
		before := ""
		for _, column := range order {
			value, is := at[column]
			if !is {
				continue
			}
			if before != "" && at[before] > value*rounding {
				return fmt.Errorf("%s is %v and %s is %v: the first cannot be above the second", before, at[before], column, value)
			}
			before = column
		}
	}
	for _, f := range results.Figures() {
		value, is := at[f.Column]
		own := f.Of(r)
		switch {
		case !is:
		case own == nil && f.Name == results.MetricThroughput:
			return fmt.Errorf("%s is %v: there is no duration", f.Column, value)
		case own != nil && math.Abs(value-*own) > 1e-6**own+1e-9:
			return fmt.Errorf("%s is %v: by the cell's other figures it is %v", f.Column, value, *own)
		case strings.HasPrefix(f.Column, "latency_") && r.Duration != nil && !searched(r) && value > 1.01**r.Duration+0.001:
			return fmt.Errorf("%s is %v: the cell took %v", f.Column, value, *r.Duration)
		}
	}
	return nil
}

// searched reports whether the record's rate was searched for, with more requests
// than the load names. CSV does not hold what for.
func searched(r *results.Record) bool {
	spec := r.Cell.Load
	return r.Load.Search != nil || spec.Client == scenarios.ClientOpen && spec.Rate == 0 && spec.Arrivals != ""
}

// A fact is one thing that a file says, and whether it cannot be.
type fact struct {
	name  string
	value any
	wrong bool
	rule  string
}

func checkFacts(facts []fact) error {
	for _, f := range facts {
		if f.wrong {
			return fmt.Errorf("%s cannot be %v: %s", f.name, said(f.value), f.rule)
		}
	}
	return nil
}

// said is a value as a message says it.
func said(value any) string {
	if text, is := value.(string); is {
		return strconv.Quote(show.Shorten(show.Line(text), 60))
	}
	return fmt.Sprint(value)
}

// mostTopology is the most workers, threads, replicas or requests at once that a topology
// of a file can have.
const mostTopology = 100_000

// recordFacts are those of a record, and how it has to be sound.
func recordFacts(r *results.Record) []fact {
	spec, ok := r.Cell.Load, r.Status == results.StatusOK
	elsewhere := slices.Contains(r.Flags, results.FlagImported) // such a file says less
	memoryOnly := elsewhere && r.Duration == nil && r.GPU.Peak != nil
	open := spec.Client == scenarios.ClientOpen
	named := r.Cell.Name == r.Topology.Name+"/"+spec.Name() || searched(r) && strings.HasPrefix(r.Cell.Name, r.Topology.Name+"/"+scenarios.ClientOpen)
	finished, kinds, negative := r.Replies+r.Errors, 0, false
	for _, n := range r.ErrorKinds {
		kinds, negative = kinds+n, negative || n < 0
	}
	facts := []fact{
		{"client", spec.Client, !slices.Contains([]string{scenarios.ClientSingle, scenarios.ClientMP, scenarios.ClientMT, scenarios.ClientOpen}, spec.Client), "there is single, mp, mt and open"},
		{"pool", spec.Pool, spec.Pool < 1 && !elsewhere || spec.Pool > 1 && spec.Client == scenarios.ClientSingle, "it is 1 for single, and at least 1"},
		{"workers", r.Topology.Workers, r.Topology.Workers < 0 || r.Topology.Workers > mostTopology, fmt.Sprintf("there are from 1 to %d, or none", mostTopology)},
		{"threads", r.Topology.Threads, r.Topology.Threads < 0 || r.Topology.Threads > mostTopology, fmt.Sprintf("there are from 1 to %d, or none", mostTopology)},
		{"arrivals", spec.Arrivals, spec.Arrivals != "" && !(open && (spec.Arrivals == scenarios.ArrivalsConstant || spec.Arrivals == scenarios.ArrivalsPoisson)), "there is constant and poisson, for the client open"},
		{"cell", r.Cell.Name, !named, fmt.Sprintf("its topology is %q and its load %s", r.Topology.Name, spec.Name())},
		{"gpu_validity", r.GPU.Validity, !slices.Contains([]string{"", gpu.Valid, gpu.Flagged, gpu.Invalid}, r.GPU.Validity), "there is valid, flagged and invalid"},
		{"out_of_memory", r.OutOfMemory, !slices.Contains([]string{"", results.MemoryGPU, results.MemoryMain}, r.OutOfMemory), "there is gpu and main"},
		{"reason", r.Reason, ok != (r.Reason == ""), "a cell has one if it is not ok, and only then"},
		{"replies", r.Replies, ok && r.Replies < 1 && !memoryOnly, "a cell that is ok has at least one"},
		{"duration_s", "", ok && r.Duration == nil && !memoryOnly, "a cell that is ok has one"},
		{"replies and errors", finished, finished > spec.Requests && !searched(r), fmt.Sprintf("there were %d requests", spec.Requests)},
		{"replies and errors", finished, ok && finished < spec.Requests && !searched(r) && !memoryOnly, fmt.Sprintf("a cell that is ok has them for all of its %d requests", spec.Requests)},
		{"errors", r.Errors, ok && r.Errors > 0 && !slices.Contains(r.Flags, results.FlagErrors), "the flag errors is missing, which a cell has that is ok with errors"},
		{"load.events", valueOf(r.Load.Events), r.Load.FirstEvent != nil && valueOf(r.Load.Events) < 1 || r.Load.EventGap != nil && valueOf(r.Load.Events) < 2, "there is a first one, or a gap between two"},
		{"error_kinds", r.ErrorKinds, len(r.ErrorKinds) > 0 && kinds != r.Errors || negative, fmt.Sprintf("errors is %d", r.Errors)},
	}
	for _, axis := range []string{"concurrency", "replicas"} {
		text, given := r.Topology.Axes[axis]
		number, err := strconv.Atoi(text)
		facts = append(facts, fact{"axes." + axis, text, given && (err != nil || number < 1 || number > mostTopology), fmt.Sprintf("it is a number from 1 to %d", mostTopology)})
	}
	for _, flag := range r.AllFlags() {
		facts = append(facts, fact{"flags", flag, !words.KnownFlag(flag), "there is no such flag"})
	}
	return facts
}

// runFacts are those of a run in JSON.
func runFacts(r jsonRun) []fact {
	facts := []fact{
		{"run.outcome", r.Outcome, r.Outcome != "" && !slices.Contains(results.Outcomes(), r.Outcome), "there is " + strings.Join(results.Outcomes(), ", ")},
		{"run.verdict", r.Verdict, r.Verdict != "" && !slices.Contains(results.Verdicts(), r.Verdict), "there is " + strings.Join(results.Verdicts(), ", ")},
		{"run.finished", valueOf(r.Finished), r.Finished != nil && r.Finished.Before(r.Started), fmt.Sprintf("it started at %v", r.Started)},
		{"run.planned", r.Planned, r.Planned < 0, "it cannot be below 0"},
		{"run.measuring_fraction", valueOf(r.MeasuringFraction), !(valueOf(r.MeasuringFraction) >= 0 && valueOf(r.MeasuringFraction) <= 1), "it is from 0 to 1"},
	}
	for phase, seconds := range r.Spent {
		facts = append(facts, fact{"run.spent_s." + phase, seconds, seconds < 0, "it cannot be below 0"})
	}
	return facts
}

// allowed reports more errors in a record that is ok than its run's plan allows.
func allowed(r *results.Record, limit *wire.ErrorLimit) error {
	if r.Status != results.StatusOK || r.Errors == 0 || searched(r) {
		return nil
	}
	if limit == nil {
		return fmt.Errorf("errors cannot be %d in a cell that is ok: the plan has no request.max_errors, which would allow them", r.Errors)
	}
	if r.Errors > limit.Allowed(r.Cell.Load.Requests) {
		return fmt.Errorf("errors cannot be %d in a cell that is ok: request.max_errors allows %s", r.Errors, *limit)
	}
	return nil
}
