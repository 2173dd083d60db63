package words

import (
	"fmt"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
)

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
