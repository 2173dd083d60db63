package pages

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/chart"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// A comparisonView is what the template "comparison" shows.
type comparisonView struct {
	Verdict  []string
	Warnings []string // in which ways the runs differ in kind
	Notes    []string // what else of the machines differs
	Also     []report.Section
	Tables   []report.Section
	Figures  []figureView
	Runs     []runFacts
}

// runFacts say what one of the two runs is.
type runFacts struct {
	Title string
	Href  string
	Facts []report.Fact
}

// WriteComparisonPage writes the HTML report of a comparison: the verdict, a
// chart and a table for each metric, what cannot be compared, and both runs.
// address is where a server shows a run; nil in a file.
func WriteComparisonPage(w io.Writer, c verdict.Comparison, checks []results.Check, nav []Link, address func(run string) string) error {
	view, standing := comparisonView{}, words.StandingOfComparison(c, checks)
	view.Verdict = []string{words.Capital(report.ChangeText(c, checks)) + "."}
	for _, line := range words.VerdictLines(c, checks) {
		view.Verdict = append(view.Verdict, show.Line(line))
	}
	view.Also = report.Held(report.CheckList(checks), report.CellStates(c), report.ComparisonFlags(c))
	for _, d := range c.Disparities {
		view.Warnings = append(view.Warnings, show.Line(d.String()))
	}
	for _, n := range c.Notes {
		view.Notes = append(view.Notes, show.Line(n.String()))
	}
	for i, metric := range c.Metrics {
		view.Tables = append(view.Tables, report.Held(report.Changes(c, i))...)
		if rows := changesOf(c, i); len(rows) > 0 {
			d := changesChart(metric, rows)
			view.Figures = append(view.Figures, newFigure(d.chart, d.caption, halfPage))
		}
	}
	for i, run := range []results.Run{c.Base, c.Head} {
		facts := runFacts{Title: []string{"Base", "Head"}[i] + ": " + show.Line(run.ID)}
		if address != nil {
			facts.Href = address(run.ID)
		}
		for _, f := range report.Heading(run, nil, nil, results.MemoryMain) {
			if f.Label != "memory" && f.Label != "figures" {
				facts.Facts = append(facts.Facts, f)
			}
		}
		view.Runs = append(view.Runs, facts)
	}
	banner := append(banners(c.Base, nil), banners(c.Head, nil)...)
	p := page{
		Title: show.Line(c.Base.ID + " and " + c.Head.ID), Heading: show.Line(c.Head.Scenario) + ": what changed",
		Under:  show.Line(fmt.Sprintf("from run %s (%s) to run %s (%s)", c.Base.ID, day(c.Base), c.Head.ID, day(c.Head))),
		Status: statusOf(standing), Nav: nav, Banners: banner[:min(1, len(banner))],
	}
	return p.write(w, "comparison", view)
}

func day(run results.Run) string { return run.Started.UTC().Format("2 January 2006, 15:04 UTC") }

// A changedCell is one metric of one cell.
type changedCell struct {
	name   string
	change verdict.Change
}

// changesOf are the cells of which both sides have a figure that is not that of
// errors.
func changesOf(c verdict.Comparison, metric int) []changedCell {
	var rows []changedCell
	for _, cell := range c.Cells {
		for _, change := range cell.Changes {
			if change.Metric.Name == c.Metrics[metric].Name && change.Base != nil && change.Head != nil && !change.Erring {
				rows = append(rows, changedCell{show.Line(cell.Name), change})
			}
		}
	}
	return rows
}

// sizeOf is the change as a share, by which rows are sorted. One from 0 comes
// after all others.
func sizeOf(c verdict.Change) float64 {
	switch share := c.Difference.Change; {
	case share != nil:
		return *share
	case c.Head.Median == 0:
		return 0
	}
	return math.MaxFloat64
}

// changesChart shows base and head of each cell beside each other, those that
// changed the most where there are many.
func changesChart(metric results.Figure, rows []changedCell) *drawing {
	u := words.UnitOf(metric.Unit)
	shown := rows
	if len(rows) > mostGroups {
		change := func(row changedCell) float64 { return math.Abs(sizeOf(row.change)) }
		shown = slices.SortedStableFunc(slices.Values(rows), func(a, b changedCell) int { return cmp.Compare(change(b), change(a)) })[:mostGroups]
	}
	var samples []*stats.Sample
	for _, row := range shown {
		samples = append(samples, row.change.Base, row.change.Head)
	}
	decimals := u.Decimals(samples)
	var groups []chart.Group
	for _, row := range shown {
		group := chart.Group{Label: row.name}
		for i, s := range []*stats.Sample{row.change.Base, row.change.Head} {
			group.Bars = append(group.Bars, chart.Bar{
				Value: s.Median / u.Scale, Range: spreadOf(s, u), Figure: u.Number(s.Median, decimals),
				Label: []string{"base", "head"}[i] + " of " + row.name + "\n" + spreadText(s, u, decimals), Ink: chart.Series(7 * (1 - i)),
			})
		}
		groups = append(groups, group)
	}
	c := chart.Bars(groups)
	c.Name, c.Title = "change-"+fileName(metric.Name), words.Capital(metric.Title)+" before and after"
	c.Text = c.Title + ": the figures are those of the table."
	c.X.Label = u.Name
	c.Legend = []chart.Key{{Label: "base", Ink: chart.Series(7), Shape: chart.Swatch}, {Label: "head", Ink: chart.Series(0), Shape: chart.Swatch}}
	d := &drawing{chart: c, caption: whiskersText}
	if len(shown) < len(rows) {
		d.caption += fmt.Sprintf(" The %d of %d cells that changed the most.", len(shown), len(rows))
	}
	return d
}
