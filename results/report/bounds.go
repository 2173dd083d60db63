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
func bounds(run results.Run, summaries []verdict.Summary) *section {
	s := &section{title: "Bound by"}
	more := 0
	for _, summary := range summaries {
		if summary.Duration == nil || !used(summary) {
			continue
		}
		if len(s.notes) == mostBounds {
			more++
			continue
		}
		bound := verdict.BoundOf(summary, run.Plan, run.Host)
		s.notes = append(s.notes, show.Line(fmt.Sprintf("%s: %s (%s)", summary.Name(), bound.By, bound.Why)))
	}
	if len(s.notes) == 0 {
		return nil
	}
	if more > 0 {
		s.notes = append(s.notes, fmt.Sprintf("and %s, in the formats json and csv", show.Plural(more, "cell")))
	}
	return s
}

// used reports whether it is known what a cell used of the machine.
func used(s verdict.Summary) bool {
	for _, r := range s.Speaking {
		if r.CPU.Stack != nil || r.CPU.Client != nil || len(r.GPU.Devices) > 0 {
			return true
		}
	}
	return false
}
