package words

import (
	"fmt"
	"strings"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
)

// meanings say what the flags mean to whoever reads the figures.
func meanings() map[string]string {
	return map[string]string{
		results.FlagInherited:    "the cell began above the stack's own warmed-up memory: an earlier cell's memory may be counted in",
		results.FlagErrors:       "some answers were not as expected; the cell is never among the conditions worth having",
		results.FlagNoGPU:        "no GPU was used",
		results.FlagNoAgent:      "no agent could run on the stack's node: memory is what the stack itself can see, or not known where it sees none",
		results.FlagPublished:    "the client went through a published port: the engine's proxy is part of what was measured",
		results.FlagUnsettled:    "the stack was still busy by itself when the cell began",
		results.FlagRepeated:     "an earlier measurement of the cell was void for a reason outside of the stack, and it was measured again",
		results.FlagRecycled:     "a server replaced worker processes during the cell, as it was told to (max_requests) or for a reason that it did not tell: starting them is part of the figures",
		results.FlagUnwatched:    "the stack's memory was not sampled for more than half a second: stackmeter was halted or had too little CPU, and a peak may have been missed",
		results.FlagUnverified:   "a fact of the stack could not be read back, so it was not compared with what was asked for: the report says which under What ran",
		results.FlagClientBeside: "the client was on the stack's node, because no other node of the cluster took its Pod: what it used, the stack did not have",
		results.FlagNeighbour:    "another stack of the run, which should have been idle, used the CPU or the GPU during the cell, and again when the cell was measured again: it shared the machine with what was measured",
		results.FlagReused:       "measured by another run, and not again by this one (--reuse): the heading and the column reused of CSV and JSON say by which",
		results.FlagImported:     "read from a file of figures from elsewhere; how they were measured is not known here",
		verdict.FlagUnstable:     fmt.Sprintf("the durations of the repeats vary by more than %.0f%% (coefficient of variation): something disturbed them, or the stack does not behave the same each time", 100*verdict.VariationLimit),
		verdict.FlagDrift:        fmt.Sprintf("the durations went one way over the run, by more than %.0f%%: the machine, or what the stack works on, changed meanwhile", 100*verdict.DriftLimit),
		verdict.FlagErrorsDiffer: "the repeats differ in their numbers of errors",
		load.FlagClientBound:     "the client used nearly all the CPU that it could get, in a search at the rate found or at the lowest one that did not hold: the figures are its limit, not the server's. Give it cores of its own, or keep connections",
		load.FlagClientStarved:   "for a tenth of the cell or more the client was ready to run and had no core, while other programs used as much CPU: it sent and read later than it would have. Keep them off the machine, or give the client cores of its own (client.cpuset)",
		load.FlagClientLate:      "the client fell behind its schedule, in a search at the rate found or at the lowest one that did not hold: more than one request in a hundred was sent late, so the server did not meet the arrivals that were asked for. It had too little CPU, or as many requests under way as its pool allows; latency still counts from the intended moments",
		load.FlagInsecure:        "the server's certificate was not verified (request.tls.insecure): whoever answered was measured",
		load.FlagNoRate:          "no rate was found that stays within the limit: the figures are those of the lowest one that was tried",
		load.FlagLittle:          "throughput × mean latency ÷ clients is more than 5% away from 1, where Little's law puts it: clients spent time neither sending nor waiting, so the server had less to do than that many clients would give it",
		gpu.FlagForeign:          "another process held memory on the GPU",
		gpu.FlagOthers:           "the memory that the run's idle stacks hold on the GPU changed during the cell: it was not all taken off the figure, or too much",
		gpu.FlagUnowned:          "GPU memory rose that no listed process holds",
		gpu.FlagGap:              "the GPU's memory went unwatched for longer than five sampling intervals",
		gpu.FlagFewSamples:       "too few samples of the GPU's memory to trust the peak",
		gpu.FlagSum:              "the processes' GPU memory adds up to more than the device's",
		gpu.FlagThrottled:        "the GPU's clocks were held down by heat or power",
		gpu.FlagNoClaim:          "whose GPU memory it was cannot be said",
		gpu.FlagPartSight:        "GPU processes outside this PID namespace cannot be seen",
		gpu.FlagUnused:           "the stack did not use the GPU",
		gpu.FlagReadErrors:       "some readings of the GPU failed",
		gpu.FlagGarbageList:      "the driver's process list held impossible entries and was not used",
		gpu.FlagMissedPeak:       "the driver's accounting saw more GPU memory than the samples",
		gpu.FlagNotMPS:           "MPS was asked for, and none of the stack's processes was among its clients: they may have run without it",
		gpu.FlagFakeDriver:       "measured on the fake driver of the tests, not on a GPU",
	}
}

// KnownFlag reports whether a record or a cell can have the flag.
func KnownFlag(flag string) bool { return meanings()[flag] != "" }

// WithMeaning is a flag with what it means.
func WithMeaning(flag string) string {
	if words := meanings()[flag]; words != "" {
		return flag + ": " + words
	}
	return flag
}

// Unmeasured stands in for the figure of a cell without an ok repeat.
func Unmeasured(s verdict.Summary) string {
	if s.Spared() {
		return results.StatusPruned
	}
	return results.StatusFailed
}

// NotOK is how many repeats of a cell are not ok.
func NotOK(s verdict.Summary) string {
	var parts []string
	for _, of := range []struct {
		n      int
		status string
	}{{s.Failed, results.StatusFailed}, {s.Pruned, results.StatusPruned}} {
		if of.n > 0 {
			parts = append(parts, fmt.Sprintf("%d of %s %s", of.n, show.Plural(s.Repeats(), "repeat"), of.status))
		}
	}
	return strings.Join(parts, ", ")
}

// mostNamed is how many cells a sentence names.
const mostNamed = 5

// Doubt says which of the metrics of a cell a flag voids; empty where none
// does.
func Doubt(s verdict.Summary, metrics ...results.Figure) string {
	var parts []string
	for _, m := range metrics {
		if doubts := s.Doubts(m); len(doubts) > 0 {
			parts = append(parts, fmt.Sprintf("%s (%s)", m.Title, strings.Join(doubts, ", ")))
		}
	}
	return show.Line(strings.Join(parts, ", "))
}

// comparisonDoubts are warnings about the cells of a comparison that have a
// side whose figures a flag voids.
func comparisonDoubts(c verdict.Comparison) []string {
	var lines []string
	for _, cell := range c.Cells {
		if len(cell.Changes) == 0 {
			continue
		}
		var sides []string
		for _, side := range SidesOf(cell) {
			if text := Doubt(*side.Summary, c.Metrics...); text != "" {
				sides = append(sides, text+" in the "+side.Name)
			}
		}
		if len(sides) > 0 {
			lines = append(lines, fmt.Sprintf("In doubt, %s: %s.", show.Line(cell.Name), strings.Join(sides, "; ")))
		}
	}
	if more := len(lines) - mostNamed; more > 0 {
		lines = append(lines[:mostNamed], fmt.Sprintf("In doubt, %s more: see the flags.", show.Plural(more, "cell")))
	}
	return lines
}
