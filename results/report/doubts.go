package report

import (
	"fmt"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
)

// doubtText says which of the metrics of a cell a flag voids; empty where none
// does.
func doubtText(s verdict.Summary, metrics ...results.Metric) string {
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
		for _, side := range sidesOf(cell) {
			if text := doubtText(*side.summary, c.Metrics...); text != "" {
				sides = append(sides, text+" in the "+side.name)
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

// A comparedSide is one run's part of a cell that is compared.
type comparedSide struct {
	name    string
	summary *verdict.Summary
}

// sidesOf are the sides that the cell has.
func sidesOf(cell verdict.CellComparison) []comparedSide {
	var sides []comparedSide
	for _, side := range []comparedSide{{"base", cell.Base}, {"head", cell.Head}} {
		if side.summary != nil {
			sides = append(sides, side)
		}
	}
	return sides
}

// comparisonFlags lists the flags of both sides, with what they mean; nil
// without any.
func comparisonFlags(c verdict.Comparison) *section {
	s := &section{title: "Flags", table: &grid{labels: 1, head: []string{"cell", "base", "head"}}}
	meanings := map[string]bool{}
	for _, cell := range c.Cells {
		row := []entry{{text: show.Line(cell.Name)}, {text: missing}, {text: missing}}
		flagged := false
		for i, side := range []*verdict.Summary{cell.Base, cell.Head} {
			if side == nil || len(side.Flags) == 0 {
				continue
			}
			flagged, row[i+1].text = true, show.Line(strings.Join(side.Flags, ", "))
			for _, flag := range side.Flags {
				meanings[withMeaning(flag)] = true
			}
		}
		if flagged {
			s.table.rows = append(s.table.rows, row)
		}
	}
	if len(s.table.rows) == 0 {
		return nil
	}
	for _, text := range sortedKeys(meanings) {
		s.notes = append(s.notes, show.Line(text))
	}
	return s
}
