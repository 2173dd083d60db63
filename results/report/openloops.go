package report

import (
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// openLoops tell what the cells of open loops were about. Their duration follows
// from the rate; what they ask is how long answers took at it, whether the client
// kept to it, and which rate a search found.
func openLoops(records []results.Record) *section {
	s := &section{title: "Open loops", table: &grid{
		labels: 1,
		head:   []string{"cell", "asked", "good replies", "p50", "p99", "max", "sent late"},
	}}
	open := slices.DeleteFunc(slices.Clone(records), func(r results.Record) bool {
		return r.Cell.Load.Client != scenarios.ClientOpen || r.Latency == nil || r.Latency.Count() == 0
	})
	slices.SortStableFunc(open, func(a, b results.Record) int {
		return strings.Compare(a.Cell.Name, b.Cell.Name)
	})
	searched := false
	for _, r := range open {
		name := r.Cell.Name
		if len(open) > 1 && slices.ContainsFunc(records, func(o results.Record) bool { return o.Cell.Repeat > 1 }) {
			name += fmt.Sprintf(", repeat %d", r.Cell.Repeat)
		}
		asked, got, late := "max", missing, missing
		if rate := r.Cell.Load.Rate; rate > 0 {
			asked = plainly(rate) + "/s"
		}
		if found := r.Load.Search; found != nil {
			searched = true
			asked = "none holds"
			if found.Rate > 0 {
				asked = plainly(found.Rate) + "/s (found)"
			}
		}
		if rate := r.Throughput(); rate != nil {
			got = digits(*rate) + "/s"
		}
		if r.Load.Lateness != nil {
			late = fmt.Sprintf("%d of %d", r.Load.Late, r.Replies+r.Errors)
		}
		s.table.rows = append(s.table.rows, []entry{
			{text: show.Line(name)}, {text: asked}, {text: got},
			{text: inWords(r.Latency.Percentile(50).Seconds())}, {text: inWords(r.Latency.Percentile(99).Seconds())},
			{text: inWords(r.Latency.Max().Seconds())}, {text: late},
		})
	}
	if len(open) == 0 {
		return nil
	}
	s.notes = []string{"Latency counts from the moment at which the schedule had a request; sent late is more than a millisecond after it."}
	if searched {
		s.notes = append(s.notes, "Of a search the figures are those of the highest rate within its limit; what it tried is in the format json.")
	}
	return s
}
