package report

import (
	"fmt"

	"stackmeter/results"
	"stackmeter/results/verdict"
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
	if len(s.Notes) == 0 {
		return nil
	}
	if more > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("and %s, in the formats json and csv", show.Plural(more, "cell")))
	}
	return s
}

// Used reports whether it is known what a cell used of the machine.
func Used(s verdict.Summary) bool {
	for _, r := range s.Speaking {
		if r.CPU.Stack != nil || r.CPU.Client != nil || len(r.GPU.Devices) > 0 {
			return true
		}
	}
	return false
}
