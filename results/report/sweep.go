package report

import (
	"cmp"
	"fmt"

	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// Sweeps say what each axis of the topologies changes, and at which loads a value
// of it pays.
func Sweeps(summaries []verdict.Summary, notes *Notes) []*Section {
	var sections []*Section
	for _, sweep := range verdict.Sweeps(summaries) {
		s := &Section{
			Title: fmt.Sprintf("What %s changes, %s", show.Line(sweep.Axis), show.Plural(sweep.Requests, "request")),
			Text:  []string{"Duration in % of the topology above that has the first value and is otherwise the same."},
			Table: &Grid{Labels: 2, Head: []string{"topology", "value"}},
		}
		for _, column := range sweep.Columns {
			s.Table.Head = append(s.Table.Head, show.Line(column))
		}
		s.Table.Head = append(s.Table.Head, "faster at")
		var durations []*stats.Sample
		tested, untested := false, false
		var ratios []verdict.Relation
		for _, row := range sweep.Rows {
			ratios = append(ratios, row.Ratios...)
			for i, cell := range row.Cells {
				if row.First && cell != nil {
					durations = append(durations, cell.Duration)
				}
				tested = tested || row.Ratios[i].Able
				untested = untested || row.Ratios[i].Ratio != nil && !row.Ratios[i].Able
			}
		}
		for _, row := range sweep.Rows {
			s.Table.Rows = append(s.Table.Rows, sweepRow(sweep, row, words.Seconds().Decimals(durations), notes))
		}
		if tested {
			s.Notes = append(s.Notes, fmt.Sprintf("Faster is what a test shows at %.0f%%, of each ratio by itself.", 100*stats.Confidence))
		}
		if untested {
			s.Notes = append(s.Notes, fmt.Sprintf("Faster is by medians alone, and by more than %.0f%%: no difference could be shown with so few repeats, it takes %d of each.",
				100*verdict.AlikeShare, stats.RepeatsForDifference(1)))
		}
		s.Notes = append(s.Notes, acrossText(ratios...)...)
		sections = append(sections, s)
	}
	return sections
}

// longestValue is how many characters of a value are shown.
const longestValue = 24

func sweepRow(sweep verdict.Sweep, row verdict.SweepRow, decimals int, notes *Notes) []Entry {
	entries := texts(show.Line(row.Topology), show.Line(cmp.Or(show.Shorten(row.Value, longestValue), `""`)))
	for i, cell := range row.Cells {
		e := Entry{}
		switch {
		case cell == nil:
		case cell.Duration == nil:
			e.Text = words.Unmeasured(*cell)
		case row.First:
			e.Text = words.Seconds().Text(cell.Duration, decimals)
		default:
			e.Text = words.Ratio(row.Ratios[i], 0)
			if row.Faster(i) {
				e.Tone = Better
			}
		}
		if cell != nil {
			if marks := notes.Marks(*cell, nil); marks != "" {
				e.Text += " " + marks
			}
		}
		entries = append(entries, e)
	}
	if row.First {
		return append(entries, Entry{})
	}
	return append(entries, Entry{Text: show.Line(cmp.Or(sweep.FasterAt(row), "nowhere"))})
}
