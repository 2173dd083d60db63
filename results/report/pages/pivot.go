package pages

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
)

// A pivotView is a table of one figure, tinted by how large it is.
type pivotView struct {
	report.Section                // as the other formats lay it out
	Cells          [][]*pivotCell // of each row, right of its labels; nil where there is no such cell
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

// newPivot tints the table of a metric.
func (b *builder) newPivot(pivot verdict.Pivot, m results.Figure) pivotView {
	view := pivotView{Section: report.PivotSection(pivot, m, b.baselines, b.notes)}
	if view.Table == nil {
		return view
	}
	var samples []*stats.Sample
	low, high := math.Inf(1), math.Inf(-1)
	for _, cell := range pivot.Summaries {
		if sample := cell.Sample(m); sample != nil {
			samples = append(samples, sample)
			low, high = min(low, sample.Median), max(high, sample.Median)
		}
	}
	decimals := words.UnitOf(m.Unit).Decimals(samples)
	for r, row := range pivot.Rows {
		cells := make([]*pivotCell, len(row.Cells))
		for c, cell := range row.Cells {
			if cell == nil {
				continue
			}
			cells[c] = b.newPivotCell(*cell, m, decimals)
			cells[c].Tone = classOf(view.Table.Rows[r][len(row.Labels)+c])
			if sample := cell.Sample(m); sample != nil && high > low {
				step := int((sample.Median - low) / (high - low) * tints)
				cells[c].Class = fmt.Sprintf("h%d", min(step, tints-1))
			}
		}
		view.Cells = append(view.Cells, cells)
	}
	return view
}

func (b *builder) newPivotCell(cell verdict.Summary, m results.Figure, decimals int) *pivotCell {
	view := &pivotCell{Figure: words.Missing, Href: b.href(cell)}
	if marks := b.notes.Marks(cell, cell.Reasons(m)); marks != "" {
		view.Marks = strings.Split(strings.Trim(marks, "[]"), ",")
	}
	sample, u := cell.Sample(m), words.UnitOf(m.Unit)
	switch {
	case cell.OK == 0:
		view.Figure = words.Unmeasured(cell)
	case sample != nil:
		text := strings.TrimSuffix(u.Text(sample, decimals), " "+u.Name)
		view.Figure, view.Spread, _ = strings.Cut(text, " ")
		view.Spread, view.Value = strings.TrimSpace(view.Spread), strconv.FormatFloat(sample.Median, 'g', 10, 64)
		view.Title = spreadText(sample, u, decimals)
		if ratio := b.baselines.Ratio(cell, m); ratio.Ratio != nil {
			view.Ratio = words.Across(words.Percent(*ratio.Ratio, 1), ratio)
			if ratio.Interval != nil {
				view.Title += "; " + words.Ratio(ratio, 1) + " of the baseline"
			}
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
