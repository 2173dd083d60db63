package report

import (
	"maps"
	"slices"
	"strings"

	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// ComparisonFlags lists the flags of both sides, with what they mean; nil
// without any.
func ComparisonFlags(c verdict.Comparison) *Section {
	s := &Section{Title: "Flags", Table: &Grid{Labels: 1, Head: []string{"cell", "base", "head"}}}
	meanings := map[string]bool{}
	for _, cell := range c.Cells {
		row := []Entry{{Text: show.Line(cell.Name)}, {Text: words.Missing}, {Text: words.Missing}}
		flagged := false
		for i, side := range []*verdict.Summary{cell.Base, cell.Head} {
			if side == nil || len(side.Flags) == 0 {
				continue
			}
			flagged, row[i+1].Text = true, show.Line(strings.Join(side.Flags, ", "))
			for _, flag := range side.Flags {
				meanings[words.WithMeaning(flag)] = true
			}
		}
		if flagged {
			s.Table.Rows = append(s.Table.Rows, row)
		}
	}
	if len(s.Table.Rows) == 0 {
		return nil
	}
	for _, text := range slices.Sorted(maps.Keys(meanings)) {
		s.Notes = append(s.Notes, show.Line(text))
	}
	return s
}
