package pages

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"stackmeter/results/report"
	"stackmeter/results/report/chart"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// mostHistories is how many cells of a history have charts; those that stepped
// come first.
const mostHistories = 60

// A historyView is what the template "history" shows.
type historyView struct {
	Steps   report.Section
	Figures []figureView
	Note    string
	Levels  report.Section
}

// WriteHistoryPage writes each cell over its last runs, and where it stepped.
func WriteHistoryPage(w io.Writer, h verdict.History, nav []Link) error {
	doc := report.NewHistoryDocument(h)
	view := historyView{Levels: doc.Sections[0], Steps: doc.Sections[1]}
	charts, note := historyCharts(h)
	view.Note = note
	for _, c := range charts {
		view.Figures = append(view.Figures, newFigure(c, "", halfPage))
	}
	p := page{Title: doc.Title, Heading: doc.Title, Nav: nav}
	var facts []string
	for _, f := range doc.Facts {
		facts = append(facts, f.Label+" "+f.Text)
	}
	p.Under = strings.Join(facts, "; ")
	if n := len(h.Runs); n > 0 {
		p.Status = statusOf(words.StandingOf(h.Runs[n-1], h.Runs[n-1].Counts))
		p.Under = strings.Join(facts[1:], "; ") + "; the latest:"
	}
	return p.write(w, "history", view)
}

// historyCharts are those of the cells, and a note where there are more cells.
func historyCharts(h verdict.History) (charts []chart.Chart, note string) {
	cells := slices.Clone(h.Cells)
	slices.SortStableFunc(cells, func(a, b verdict.CellHistory) int { return len(b.Steps) - len(a.Steps) })
	for i, cell := range cells {
		if i == mostHistories {
			return charts, fmt.Sprintf("%d of %d cells have a chart: those that stepped first.", i, len(cells))
		}
		if len(cell.Points) > 0 {
			charts = append(charts, historyChart(h, cell))
		}
	}
	return charts, ""
}

// historyChart is one cell over its runs, with its levels between steps.
func historyChart(h verdict.History, cell verdict.CellHistory) chart.Chart {
	u := words.UnitOf(h.Metric.Unit)
	c := chart.Chart{
		Name: "history-" + fileName(cell.Name), Title: show.Line(cell.Name),
		Text: fmt.Sprintf("%s of %s over %s, with %s.", words.Capital(h.Metric.Title), show.Line(cell.Name), show.Plural(len(h.Runs), "run"), show.Plural(len(cell.Steps), "step")),
		X:    chart.Axis{Max: float64(max(len(h.Runs)-1, 1))}, Y: chart.Axis{Label: h.Metric.Title + ", " + u.Name}, Height: 170,
	}
	for i := 0; i < len(h.Runs); i += max(1, (len(h.Runs)+4)/5) {
		c.X.Ticks = append(c.X.Ticks, chart.Tick{At: float64(i), Label: h.Runs[i].Started.UTC().Format("2 Jan")})
	}
	var marks chart.Marks
	var line []chart.Point
	for _, p := range cell.Points {
		run := h.Runs[p.Run]
		at := chart.Point{X: float64(p.Run), Y: p.Sample.Median / u.Scale}
		line = append(line, at)
		marks = append(marks, chart.Mark{X: at.X, Y: at.Y, YRange: spreadOf(p.Sample, u), Ink: chart.Series(0), Radius: 2.5,
			Label: show.Line(run.ID+", "+words.StandingOf(run, run.Counts).String()) + "\n" + spreadText(p.Sample, u, u.Decimals([]*stats.Sample{p.Sample}))})
	}
	var rules chart.Rules
	first := 0
	level := func(to int, value float64) {
		if to > first {
			c.Layers = append(c.Layers, chart.Line{Ink: chart.InkFront, Width: 1.25, Dashed: true, Points: []chart.Point{
				{X: float64(cell.Points[first].Run), Y: value / u.Scale}, {X: float64(cell.Points[to-1].Run), Y: value / u.Scale}}})
		}
		first = to
	}
	for i, step := range cell.Steps {
		level(step.At, step.Before)
		rules = append(rules, chart.Rule{At: float64(cell.Points[step.At].Run) - 0.5, Label: words.Change(h.Metric.Unit, step.Before, step.After)})
		if i == len(cell.Steps)-1 {
			level(len(cell.Points), step.After)
		}
	}
	c.Layers = append([]chart.Layer{chart.Line{Points: line, Ink: chart.Series(0), Width: 1}, marks}, append(c.Layers, rules)...)
	return c
}
