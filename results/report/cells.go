package report

import (
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// mostBounds is how many cells the list of bounds has; the formats json and
// csv have all of them.
const mostBounds = 40

// bounds says what each cell was bound by, and by what figures. Nothing is
// said of a run whose cells have no figures to tell by.
func bounds(run results.Run, summaries []verdict.Summary) *Section {
	s := &Section{Title: "Bound by"}
	more := 0
	for _, summary := range summaries {
		if summary.Duration == nil || !Used(summary) {
			continue
		}
		if len(s.Notes) == mostBounds {
			more++
			continue
		}
		bound := verdict.BoundOf(summary, run.Plan, run.Host)
		s.Notes = append(s.Notes, show.Line(fmt.Sprintf("%s: %s (%s)", summary.Name(), bound.By, bound.Why)))
	}
	if more > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("and %s, in the formats json and csv", show.Plural(more, "cell")))
	}
	return s
}

// Used reports whether it is known what a cell used of the machine.
func Used(s verdict.Summary) bool {
	return slices.ContainsFunc(s.Speaking, func(r results.Record) bool {
		return r.CPU.Stack != nil || r.CPU.Client != nil || len(r.GPU.Devices) > 0
	})
}

// OpenLoops tell what the cells of open loops were about. Their duration follows
// from the rate; what they ask is how long answers took at it, whether the client
// kept to it, and which rate a search found.
func OpenLoops(records []results.Record) *Section {
	s := &Section{Title: "Open loops", Table: &Grid{
		Labels: 1,
		Head:   []string{"cell", "asked", "good replies", "p50", "p99", "max", "sent late"},
	}}
	open := slices.DeleteFunc(slices.Clone(records), func(r results.Record) bool {
		return r.Cell.Load.Client != scenarios.ClientOpen || r.Latency == nil || r.Latency.Count() == 0
	})
	slices.SortStableFunc(open, func(a, b results.Record) int {
		return strings.Compare(a.Cell.Name, b.Cell.Name)
	})
	searched := false
	for _, r := range open {
		asked, got, late := "max", words.Missing, words.Missing
		if rate := r.Cell.Load.Rate; rate > 0 {
			asked = words.Plainly(rate) + "/s"
		}
		if found := r.Load.Search; found != nil {
			searched = true
			asked = "none holds"
			if found.Rate > 0 {
				asked = words.Plainly(found.Rate) + "/s (found)"
			}
		}
		if rate := r.Throughput(); rate != nil {
			got = words.Digits(*rate) + "/s"
		}
		if r.Load.Lateness != nil {
			late = fmt.Sprintf("%d of %d", r.Load.Late, r.Replies+r.Errors)
		}
		s.Table.Rows = append(s.Table.Rows, texts(cellAndRepeat(r, records), asked, got, words.InWords(r.Latency.Percentile(50).Seconds()),
			words.InWords(r.Latency.Percentile(99).Seconds()), words.InWords(r.Latency.Max().Seconds()), late))
	}
	if len(open) == 0 {
		return nil
	}
	s.Notes = []string{"Latency counts from the moment at which the schedule had a request; sent late is more than a millisecond after it."}
	if searched {
		s.Notes = append(s.Notes, "Of a search the figures are those of the highest rate within its limit; what it tried is in the format json.")
	}
	return s
}
