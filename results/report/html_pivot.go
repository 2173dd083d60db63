package report

import (
	"fmt"
	"strings"

	"stackmeter/results/stats"
	"stackmeter/results/verdict"
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
	Value                 string // that it sorts by; "" where it was not measured
	Class                 string // its tint
	Tone                  string // best or failed
	Title                 string
	Href                  string
	Marks                 []string
}

// tints is the number of steps between the smallest and the largest figure.
const tints = 7

// newPivot lays a table out as the other formats do, section is theirs.
func (b *builder) newPivot(pivot verdict.Pivot, s section, f figure) pivotView {
	view := pivotView{Title: s.title, Text: s.text, Head: pivot.Head}
	if s.table == nil {
		return view
	}
	for _, column := range pivot.Columns {
		view.Columns = append(view.Columns, show.Line(column))
	}
	var samples []*stats.Sample
	var low, high *stats.Sample
	for _, row := range pivot.Rows {
		for _, cell := range row.Cells {
			if cell == nil || f.sample(*cell) == nil {
				continue
			}
			sample := f.sample(*cell)
			samples = append(samples, sample)
			if low == nil || sample.Median < low.Median {
				low = sample
			}
			if high == nil || sample.Median > high.Median {
				high = sample
			}
		}
	}
	decimals := f.unit.decimals(samples)
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
			if sample := f.sample(*cell); sample != nil && high.Median > low.Median {
				step := int((sample.Median - low.Median) / (high.Median - low.Median) * tints)
				view.Class = fmt.Sprintf("h%d", min(step, tints-1))
			}
			switch s.table.rows[r][len(row.Labels)+c].tone {
			case best:
				view.Tone = "best"
			case bad:
				view.Tone = "failed"
			}
			line.Cells = append(line.Cells, view)
		}
		view.Rows = append(view.Rows, line)
	}
	return view
}

func (b *builder) newPivotCell(cell verdict.Summary, f figure, decimals int) *pivotCell {
	view := &pivotCell{Figure: missing, Href: b.href(cell)}
	if marks := b.notes.marks(cell, f.why(cell)); marks != "" {
		view.Marks = strings.Split(strings.Trim(marks, "[]"), ",")
	}
	sample := f.sample(cell)
	switch {
	case cell.OK == 0:
		view.Figure = unmeasuredText(cell)
	case sample != nil:
		text := strings.TrimSuffix(f.unit.text(sample, decimals), " "+f.unit.name)
		view.Figure, view.Spread, _ = strings.Cut(text, " ")
		view.Spread, view.Value = strings.TrimSpace(view.Spread), exact(sample.Median)
		view.Title = spreadText(sample, f.unit, decimals)
		if ratio := f.ratio(cell); ratio != nil {
			view.Ratio = percentText(ratio, 1)
		}
	}
	return view
}

// spreadText says in words what is known of a figure.
func spreadText(s *stats.Sample, u unit, decimals int) string {
	text := u.number(s.Median, decimals) + " " + u.name
	switch {
	case s.Interval != nil:
		text += fmt.Sprintf(", median of %d repeats; its %.0f%% interval is %s to %s %s", s.N, 100*stats.Confidence,
			u.number(s.Interval.Low, decimals), u.number(s.Interval.High, decimals), u.name)
	case s.N > 1:
		text += fmt.Sprintf(", median of %d repeats from %s to %s %s", s.N, u.number(s.Min, decimals), u.number(s.Max, decimals), u.name)
	}
	return text
}
