package report

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// mostBounds is how many entries the list of bounds has; the formats json and
// csv have those of all cells.
const mostBounds = 40

// measured are the figures in a text that differ from cell to cell.
var measured = regexp.MustCompile(`\d+\.\d+|\d+%`)

// bounds says what the cells were bound by, and by what figures: those together that were
// bound alike, with what their figures range over. Nothing is said of a run whose cells
// have no figures to tell by.
func bounds(run results.Run, summaries []verdict.Summary) *Section {
	s := &Section{Title: "Bound by"}
	type bound struct{ name, text string }
	var all []bound
	for _, summary := range summaries {
		if summary.Duration == nil || !Used(summary) {
			continue
		}
		b := verdict.BoundOf(summary, run.Plan, run.Host)
		all = append(all, bound{summary.Name(), fmt.Sprintf("%s (%s)", b.By, b.Why)})
	}
	groups := verdict.GroupBy(all, func(b bound) string { return measured.ReplaceAllString(b.text, "#") })
	for _, alike := range groups[:min(len(groups), mostBounds)] {
		var names, texts []string
		for _, one := range alike {
			names, texts = append(names, one.name), append(texts, one.text)
		}
		who := shortList(names)
		if len(alike) == len(summaries) && len(alike) > 1 {
			who = "all cells"
		}
		s.Notes = append(s.Notes, show.Line(who+": "+ranging(texts)))
	}
	if more := len(groups) - mostBounds; more > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("and %s, in the formats json and csv", show.Plural(more, "more kind")))
	}
	return s
}

// shortList names the first of some cells, and says how many more there are.
func shortList(names []string) string {
	if more := len(names) - mostNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNamed], ", "), more)
	}
	return strings.Join(names, ", ")
}

// ranging is a text that differs in its figures alone, with what each of them ranges over.
func ranging(texts []string) string {
	at := -1
	return measured.ReplaceAllStringFunc(texts[0], func(first string) string {
		at++
		least, most := first, first
		for _, text := range texts {
			figure := measured.FindAllString(text, -1)[at]
			if number(figure) < number(least) {
				least = figure
			}
			if number(figure) > number(most) {
				most = figure
			}
		}
		if least == most {
			return least
		}
		return strings.TrimSuffix(least, "%") + " to " + most
	})
}

// number is a figure of a text.
func number(figure string) float64 {
	value, _ := strconv.ParseFloat(strings.TrimSuffix(figure, "%"), 64) // it is one
	return value
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
	open := byCell(results.Only(records, func(r *results.Record) bool {
		return r.Cell.Load.Client == scenarios.ClientOpen && r.Latency != nil && r.Latency.Count() > 0
	}))
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

// byCell sorts records by the names of their cells.
func byCell(records []results.Record) []results.Record {
	return slices.SortedStableFunc(slices.Values(records), func(a, b results.Record) int { return strings.Compare(a.Cell.Name, b.Cell.Name) })
}
