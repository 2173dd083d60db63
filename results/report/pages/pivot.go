package pages

import (
	"fmt"
	"strings"

	"stackmeter/results/report"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// A pivotView is a table of one figure, tinted by how large it is.
type pivotView struct {
	Title   string
	Text    []string
	Head    []string
	Columns []string
	Rows    []pivotRow
}

type pivotRow struct {
	Labels []string
	Cells  []*pivotCell // nil where there is no such cell
}

type pivotCell struct {
	Figure, Spread, Ratio string
	Value                 string // sort key; "" if it was not measured
	Class                 string // its tint
	Tone                  string // best or failed
	Title                 string
	Href                  string
	Marks                 []string
}

// tints is the number of steps between the smallest and the largest figure.
const tints = 7

// newPivot lays a table out as the other formats do, section is theirs.
func (b *builder) newPivot(pivot verdict.Pivot, s report.Section, f report.Figure) pivotView {
	view := pivotView{Title: s.Title, Text: s.Text, Head: pivot.Head}
	if s.Table == nil {
		return view
	}
	for _, column := range pivot.Columns {
		view.Columns = append(view.Columns, show.Line(column))
	}
	var samples []*stats.Sample
	var low, high *stats.Sample
	for _, row := range pivot.Rows {
		for _, cell := range row.Cells {
			if cell == nil || f.Sample(*cell) == nil {
				continue
			}
			sample := f.Sample(*cell)
			samples = append(samples, sample)
			if low == nil || sample.Median < low.Median {
				low = sample
			}
			if high == nil || sample.Median > high.Median {
				high = sample
			}
		}
	}
	decimals := f.Unit.Decimals(samples)
	for r, row := range pivot.Rows {
		line := pivotRow{}
		for _, label := range row.Labels {
			line.Labels = append(line.Labels, show.Line(label))
		}
		for c, cell := range row.Cells {
			if cell == nil {
				line.Cells = append(line.Cells, nil)
				continue
			}
			view := b.newPivotCell(*cell, f, decimals)
			if sample := f.Sample(*cell); sample != nil && high.Median > low.Median {
				step := int((sample.Median - low.Median) / (high.Median - low.Median) * tints)
				view.Class = fmt.Sprintf("h%d", min(step, tints-1))
			}
			switch s.Table.Rows[r][len(row.Labels)+c].Tone {
			case report.Best:
				view.Tone = "best"
			case report.Bad:
				view.Tone = "failed"
			}
			line.Cells = append(line.Cells, view)
		}
		view.Rows = append(view.Rows, line)
	}
	return view
}

func (b *builder) newPivotCell(cell verdict.Summary, f report.Figure, decimals int) *pivotCell {
	view := &pivotCell{Figure: words.Missing, Href: b.href(cell)}
	if marks := b.notes.Marks(cell, f.Why(cell)); marks != "" {
		view.Marks = strings.Split(strings.Trim(marks, "[]"), ",")
	}
	sample := f.Sample(cell)
	switch {
	case cell.OK == 0:
		view.Figure = words.Unmeasured(cell)
	case sample != nil:
		text := strings.TrimSuffix(f.Unit.Text(sample, decimals), " "+f.Unit.Name)
		view.Figure, view.Spread, _ = strings.Cut(text, " ")
		view.Spread, view.Value = strings.TrimSpace(view.Spread), exact(sample.Median)
		view.Title = spreadText(sample, f.Unit, decimals)
		if ratio := f.Ratio(cell); ratio != nil {
			view.Ratio = words.Percent(ratio, 1)
		}
	}
	return view
}

// spreadText says in words what is known of a figure.
func spreadText(s *stats.Sample, u words.Unit, decimals int) string {
	text := u.Number(s.Median, decimals) + " " + u.Name
	switch {
	case s.Interval != nil:
		text += fmt.Sprintf(", median of %d repeats; its %.0f%% interval is %s to %s %s", s.N, 100*stats.Confidence,
			u.Number(s.Interval.Low, decimals), u.Number(s.Interval.High, decimals), u.Name)
	case s.N > 1:
		text += fmt.Sprintf(", median of %d repeats from %s to %s %s", s.N, u.Number(s.Min, decimals), u.Number(s.Max, decimals), u.Name)
	}
	return text
}
