package pages

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"stackmeter/results/report"
	"stackmeter/results/report/chart"
	"stackmeter/results/stats"
	"stackmeter/results/verdict/history"
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
	Nights  *report.Section
}

// HistoryOptions are about where a history's page is read.
type HistoryOptions struct {
	Nav        []Link
	RunAddress func(id string) string // nil: the runs are not listed
}

// WriteHistoryPage writes each cell over its last runs, and where it stepped.
func WriteHistoryPage(w io.Writer, all []history.History, opts HistoryOptions) error {
	doc := report.NewHistoryDocument(all)
	view := historyView{Levels: doc.Sections[0], Steps: doc.Sections[1]}
	charts, note := historyCharts(all)
	view.Note = note
	for _, c := range charts {
		view.Figures = append(view.Figures, newFigure(c, "", halfPage))
	}
	runs := all[0].Runs
	if opts.RunAddress != nil {
		view.Nights = nights(all[0], opts.RunAddress)
	}
	p := page{Title: doc.Title, Heading: doc.Title, Nav: opts.Nav}
	var facts []string
	for _, f := range doc.Facts {
		facts = append(facts, f.Label+" "+f.Text)
	}
	p.Under = strings.Join(facts, "; ")
	if n := len(runs); n > 0 {
		p.Status = statusOf(words.StandingOf(runs[n-1], runs[n-1].Counts))
		p.Under = strings.Join(facts[1:], "; ") + "; the latest:"
	}
	return p.write(w, "history", view)
}

// nights lists the runs, the last one first, with what each came to and the steps of
// the first metric that begin with it.
func nights(h history.History, address func(string) string) *report.Section {
	stepped := map[int][]string{}
	for _, cell := range h.All() {
		for _, step := range cell.Steps {
			run := cell.Points[step.At].Run
			stepped[run] = append(stepped[run], fmt.Sprintf("%s %s", cell.Name, words.Change(h.Metric.Unit, step.Before, step.After)))
		}
	}
	s := &report.Section{Title: "Nights", Table: &report.Grid{Labels: 4, Head: []string{"started", "run", "verdict", "steps"}}}
	for i, run := range slices.Backward(h.Runs) {
		steps := stepped[i]
		if more := len(steps) - mostSteps; more > 0 {
			steps = append(steps[:mostSteps], fmt.Sprintf("and %d more", more))
		}
		s.Table.Rows = append(s.Table.Rows, []report.Entry{
			{Text: run.Started.UTC().Format("2006-01-02 15:04")}, {Text: show.Line(run.ID), Link: address(run.ID)},
			{Text: show.Line(words.StandingOf(run, run.Counts).String())}, {Text: show.Line(strings.Join(steps, ", "))},
		})
	}
	return s
}

// mostSteps is how many steps of one night are named beside it.
const mostSteps = 4

// historyCharts are those of all cells together and of each, of one metric after the
// other, and a note where there are more cells.
func historyCharts(all []history.History) (charts []chart.Chart, note string) {
	type drawn struct {
		history history.History
		cell    history.Cell
	}
	var cells []drawn
	for _, h := range all {
		for _, cell := range h.All() {
			if len(cell.Points) > 0 {
				cells = append(cells, drawn{h, cell})
			}
		}
	}
	slices.SortStableFunc(cells, func(a, b drawn) int {
		whole := func(d drawn) int {
			if d.cell.Name == history.TogetherName {
				return 1
			}
			return 0
		}
		return cmp.Or(whole(b)-whole(a), len(b.cell.Steps)-len(a.cell.Steps))
	})
	for i, d := range cells {
		if i == mostHistories {
			return charts, fmt.Sprintf("%d of %d series have a chart: those that stepped first.", i, len(cells))
		}
		name := ""
		if d.history.Metric.Name != all[0].Metric.Name {
			name = strings.ReplaceAll(d.history.Metric.Name, "_", "-") + "-"
		}
		charts = append(charts, historyChart(d.history, d.cell, name))
	}
	return charts, ""
}

// historyChart is one cell over its runs, with its levels between steps.
func historyChart(h history.History, cell history.Cell, name string) chart.Chart {
	u := words.UnitOf(h.Metric.Unit)
	label := h.Metric.Title + ", " + u.Name
	if cell.Name == history.TogetherName {
		u = words.Unit{Name: "of the usual", Scale: 1, Fine: 3, Least: 3}
		label = h.Metric.Title + " as a share of the usual"
	}
	c := chart.Chart{
		Name: "history-" + name + fileName(cell.Name), Title: show.Line(cell.Name),
		Text: fmt.Sprintf("%s of %s over %s, with %s.", words.Capital(h.Metric.Title), show.Line(cell.Name), show.Plural(len(h.Runs), "run"), show.Plural(len(cell.Steps), "step")),
		X:    chart.Axis{Max: float64(max(len(h.Runs)-1, 1))}, Y: chart.Axis{Label: label}, Height: 170,
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
