package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

func headline(run results.Run) string {
	return show.Line(fmt.Sprintf("%s, run %s", run.Scenario, run.ID))
}

// Heading says where, when and how the figures were obtained.
func Heading(run results.Run, records []results.Record, summaries []verdict.Summary, memory string) []Fact {
	var facts []Fact
	add := func(label string, parts ...string) {
		parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
		if len(parts) > 0 {
			facts = append(facts, Fact{label, show.Line(strings.Join(parts, ", "))})
		}
	}
	counts := run.Counts
	if records != nil {
		counts = new(run.Count(records))
	}
	against := ""
	if run.Against != "" {
		against = "held against run " + run.Against
	}
	add("verdict", words.StandingOf(run, counts).String(), against)
	ending := "not finished"
	if run.Outcome != "" {
		ending = "outcome " + run.Outcome
	}
	add("started", run.Started.UTC().Format("2006-01-02 15:04:05 UTC"), ending)
	if run.Imported != "" {
		add("imported", "read from "+run.Imported+"; nothing of this was measured by this store's stackmeter")
	}
	add("reused", words.Reused(records))
	host, cores := run.Host, ""
	if host.Cores > 0 {
		cores = show.Plural(host.Cores, "core")
	}
	add("machine", host.Name, host.CPU, cores, gibibytes(host.Memory), host.OS, host.Kernel)
	add("runtime", run.Runtime, host.Engine)
	add("GPU", gpuText(run, records, memory))
	add("memory", memoryText(records, memory))
	plan, pruned := run.Plan, ""
	if plan.Prune {
		pruned = "pruned where a smaller one ran out of memory"
	}
	add("client", plan.Client.Engine, warmupText(plan), clientPlace(records), roundTrips(records))
	add("stacks", freshText(plan, records), orderText(plan), pruned)
	add("lanes", run.Lanes.String(), confounded(run, records))
	add("figures", FiguresText(summaries))
	return facts
}

// clientPlace says where the client was of a run whose runtime started it.
func clientPlace(records []results.Record) string {
	apart, beside := 0, 0
	for _, r := range records {
		switch {
		case r.Stack == nil || r.Stack.ClientNode == "":
		case r.Stack.ClientNode == r.Stack.Node:
			beside++
		default:
			apart++
		}
	}
	switch {
	case apart > 0 && beside > 0:
		return fmt.Sprintf("in a Pod on another node than the stack, but in %d of %s on the same", beside, show.Plural(apart+beside, "cell"))
	case apart > 0:
		return "in a Pod on another node than the stack"
	case beside > 0:
		return "in a Pod on the stack's node"
	}
	return ""
}

// roundTrips says what the network between client and stack took.
func roundTrips(records []results.Record) string {
	measured := results.Only(records, func(r *results.Record) bool { return r.Load.RoundTrip != nil })
	if len(measured) == 0 {
		return ""
	}
	var medians, tails []float64
	fewest := measured[0].Load.RoundTrip.N
	for _, r := range measured {
		trip := r.Load.RoundTrip
		medians, tails, fewest = append(medians, trip.P50), append(tails, trip.P99), min(fewest, trip.N)
	}
	return fmt.Sprintf("round trip of the network %s in the median and %s in the 99th percentile, which is in every latency (cells' medians; %d or more before each cell)",
		words.InWords(stats.NewSample(medians).Median), words.InWords(stats.NewSample(tails).Median), fewest)
}

// confounded says that a difference between topologies may be one between lanes, where
// each topology was measured on one alone.
func confounded(run results.Run, records []results.Record) string {
	lanes := map[string]int{} // by topology
	several := false
	for _, r := range records {
		before, known := lanes[r.Topology.Name]
		if known && before != r.Lane {
			return ""
		}
		lanes[r.Topology.Name] = r.Lane
		several = several || r.Lane != records[0].Lane
	}
	if !several {
		return ""
	}
	what := "lanes"
	if run.Lanes != nil && len(run.Lanes.Have) > 0 && len(run.Lanes.Have[0].Devices) > 0 {
		what = "devices"
	}
	return "each topology was measured on one of them, so that ratios between topologies of different lanes are also ratios between " + what
}

func gibibytes(bytes int64) string {
	if bytes <= 0 {
		return ""
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

// prefixed is a text with what it is in front of it; empty if there is none.
func prefixed(what, text string) string {
	if text == "" {
		return ""
	}
	return what + text
}

func gpuText(run results.Run, records []results.Record, memory string) string {
	var names []string
	for _, device := range run.GPUDevices {
		known := slices.DeleteFunc([]string{gibibytes(device.Memory), prefixed("driver ", device.Driver), prefixed("on node ", device.Node)}, func(s string) bool { return s == "" })
		names = append(names, fmt.Sprintf("%s (%s)", device.Name, strings.Join(known, ", ")))
	}
	switch {
	case len(names) == 0 && memory == results.MemoryGPU:
		return "not recorded"
	case len(names) == 0:
		return "none"
	case memory == results.MemoryMain:
		names = append(names, "memory not measured"+because(records, func(r results.Record) string { return r.GPU.Reason }))
	}
	return strings.Join(names, ", ")
}

// memoryText says what the memory tables are about and how the figures were
// obtained.
func memoryText(records []results.Record, memory string) string {
	if memory == results.MemoryGPU {
		text := "device memory in use on the GPU, the largest of the samples, which is a lower bound"
		for _, r := range records {
			if r.GPU.Peak != nil && r.GPU.Method == exchange.MethodImported {
				return "device memory in use on the GPU, as the imported file has it"
			}
			if r.GPU.Peak != nil {
				return text + fmt.Sprintf(" (%s, a sample every %s)", r.GPU.Method, r.GPU.Interval)
			}
		}
		return text
	}
	for _, r := range records {
		if r.Memory.Peak != nil {
			text := "the stack's main memory, the largest of the samples over all its services, without page cache"
			if r.Memory.Method != "" {
				text += " (" + r.Memory.Method + ")"
			}
			return text
		}
	}
	return "not measured" + because(records, func(r results.Record) string { return r.Memory.Reason })
}

// because is the first reason that a record gives.
func because(records []results.Record, reason func(results.Record) string) string {
	for _, r := range records {
		if why := reason(r); why != "" {
			return ": " + why
		}
	}
	return ""
}

func warmupText(plan scenarios.Plan) string {
	if plan.Warmup <= 0 {
		return ""
	}
	text := show.Plural(plan.Warmup, "warm-up request")
	if isExisting(plan) {
		return text + " before each repeat"
	}
	return text + " for each worker of a new stack"
}

// isExisting reports whether the plan is about a server that is there already.
func isExisting(plan scenarios.Plan) bool {
	return len(plan.Trials) > 0 && plan.Trials[0].Topology.Server == scenarios.ServerExisting
}

func freshText(plan scenarios.Plan, records []results.Record) string {
	switch {
	case isExisting(plan):
		return "a server that was there already"
	case plan.Fresh == scenarios.FreshTopology:
		return "a new stack for each topology and repeat"
	case plan.Fresh == scenarios.FreshCell:
		return "a new stack for each cell"
	case plan.Search != nil:
		return "a search in rounds over stacks that stay up"
	case plan.Fresh == scenarios.FreshRun:
		return fmt.Sprintf("%s over stacks that stay up, %s", show.Plural(plan.Repeats, "round"), startsText(plan, records))
	}
	return ""
}

// startsText says how often the stacks of rounds were started, more often than was asked
// for where one died or the run was resumed.
func startsText(plan scenarios.Plan, records []results.Record) string {
	least, most := plan.Starts, plan.Starts
	for i, repeats := range verdict.GroupBy(records, func(r results.Record) string { return r.Topology.Name }) {
		starts := 0
		for _, r := range repeats {
			starts = max(starts, r.Start)
		}
		if i == 0 {
			least, most = starts, starts
		}
		least, most = min(least, starts), max(most, starts)
	}
	switch {
	case most <= 1:
		return "one start of each: what another start would change is in no interval"
	case least == most:
		return fmt.Sprintf("%d starts of each: what they change is in the intervals", most)
	}
	return fmt.Sprintf("%d to %d starts of each: what they change is in the intervals", least, most)
}

func orderText(plan scenarios.Plan) string {
	switch plan.Order {
	case scenarios.OrderShuffle:
		return fmt.Sprintf("shuffled by seed %d", plan.Seed)
	case scenarios.OrderListed:
		return "in the order listed"
	}
	return ""
}

// FiguresText says what a printed figure is of its repeats, and of too few
// repeats how many an interval takes.
func FiguresText(summaries []verdict.Summary) string {
	const gun = "duration is from the starting gun to the last reply"
	least, most := 0, 0
	for _, s := range summaries {
		if n := len(s.Speaking); n > 0 {
			if least == 0 || n < least {
				least = n
			}
			most = max(most, n)
		}
	}
	enough := stats.RepeatsForInterval()
	interval := fmt.Sprintf("± the larger distance to an end of its %.0f%% interval", 100*stats.Confidence)
	const halfRange = "± half the distance from the smallest to the largest"
	tooFew := fmt.Sprintf("%s, which is no confidence interval: one of %.0f%% takes %d repeats", halfRange, 100*stats.Confidence, enough)
	switch {
	case most == 0:
		return ""
	case most == 1:
		return fmt.Sprintf("one repeat, so nothing is known about spread (an interval of %.0f%% takes %d); %s", 100*stats.Confidence, enough, gun)
	case least >= enough:
		return fmt.Sprintf("the median of %s %s; %s", fromTo(least, most), interval, gun)
	case most < enough:
		return fmt.Sprintf("the median of %s %s; %s", fromTo(least, most), tooFew, gun)
	}
	return fmt.Sprintf("the median of %s %s, and with fewer than %d repeats %s; %s", fromTo(least, most), interval, enough, halfRange, gun)
}

// fromTo is a number of repeats, or what they range over.
func fromTo(least, most int) string {
	if least == most {
		return show.Plural(most, "repeat")
	}
	return fmt.Sprintf("%d to %d repeats", least, most)
}

// WriteRuns lists runs, one a line.
func WriteRuns(w io.Writer, runs []results.Run) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(w, "The store holds no runs yet; `stackmeter run SCENARIO` makes the first.")
		return err
	}
	g := Grid{Labels: 5, Head: []string{"run", "scenario", "started", "verdict", "cells"}}
	for _, run := range runs {
		outcome := words.StandingOf(run, run.Counts).String()
		if run.Imported != "" {
			outcome += ", imported"
		}
		if len(run.Tags) > 0 {
			outcome += " [" + strings.Join(run.Tags, ", ") + "]"
		}
		g.Rows = append(g.Rows, texts(show.Line(run.ID), show.Line(run.Scenario), run.Started.UTC().Format("2006-01-02 15:04:05 UTC"),
			show.Line(outcome), words.Measured(run.Counts)))
	}
	p := newTerminal(Options{})
	p.line(p.table(g))
	_, err := io.WriteString(w, p.b.String())
	return err
}
