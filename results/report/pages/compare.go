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
	Grids    []sectionView
	Checks   *sectionView
	Others   *sectionView
	Flags    *sectionView
	Figures  []figureView
	Runs     []runFacts
}

// runFacts say what one of the two runs is.
type runFacts struct {
	Title string
	Href  string
	Facts []factView
}

// WriteComparisonPage writes the HTML report of a comparison: the verdict, a
// chart and a table for each metric, what cannot be compared, and both runs.
// address is where a server shows a run; nil in a file.
func WriteComparisonPage(w io.Writer, c verdict.Comparison, checks []results.Check, opts PageOptions, address func(run string) string) error {
	var view comparisonView
	for _, line := range words.VerdictLines(c, checks) {
		view.Verdict = append(view.Verdict, show.Line(line))
	}
	if s := report.CheckList(checks); s != nil {
		checked := newSection(*s)
		view.Checks = &checked
	}
	for _, d := range c.Disparities {
		view.Warnings = append(view.Warnings, show.Line(d.String()))
	}
	for _, n := range c.Notes {
		view.Notes = append(view.Notes, show.Line(n.String()))
	}
	for i, metric := range c.Metrics {
		rows := changesOf(c, i)
		if len(rows) == 0 {
			continue
		}
		table := sectionView{Title: upper(metric.Title), Grid: changesGrid(metric, rows)}
		if compared := slices.MaxFunc(rows, func(a, b changedCell) int { return cmp.Compare(a.change.Compared, b.change.Compared) }).change.Compared; compared > 1 {
			table.Notes = []string{words.Corrected(compared)}
		}
		view.Grids = append(view.Grids, table)
		if rows = drawable(rows); len(rows) == 0 {
			continue
		}
		d := changesChart(metric, rows)
		f, err := newFigure(d.chart, d.caption, false)
		if err != nil {
			return err
		}
		view.Figures = append(view.Figures, f)
	}
	others := &report.Grid{Labels: 1, Head: []string{"cell", "state"}}
	for _, cell := range c.Cells {
		if words.Unremarkable(cell) {
			continue
		}
		e := report.Entry{Text: show.Line(show.Shorten(words.State(cell), show.LineWidth))}
		if verdict.CellRegressed(cell.State) {
			e.Tone = report.Bad
		}
		others.Rows = append(others.Rows, []report.Entry{{Text: show.Line(cell.Name)}, e})
	}
	if len(others.Rows) > 0 {
		view.Others = &sectionView{Title: "Cells that are not in both runs, failed or have errors", Grid: newGrid("other cells", others)}
	}
	if s := report.ComparisonFlags(c); s != nil {
		flagged := newSection(*s)
		view.Flags = &flagged
	}
	for i, run := range []results.Run{c.Base, c.Head} {
		facts := runFacts{Title: []string{"Base", "Head"}[i] + ": " + show.Line(run.ID)}
		if address != nil {
			facts.Href = address(run.ID)
		}
		for _, f := range report.Heading(run, nil, nil, results.MemoryMain) {
			if f.Label != "memory" && f.Label != "figures" {
				facts.Facts = append(facts.Facts, factView{f.Label, f.Text})
			}
		}
		view.Runs = append(view.Runs, facts)
	}
	banner := append(banners(c.Base, nil), banners(c.Head, nil)...)
	p := page{
		Title: show.Line(c.Base.ID + " and " + c.Head.ID), Heading: show.Line(c.Head.Scenario) + ": what changed",
		Under: show.Line(fmt.Sprintf("from run %s (%s) to run %s (%s)", c.Base.ID, day(c.Base), c.Head.ID, day(c.Head))),
		Nav:   opts.Nav, Banners: banner[:min(1, len(banner))],
	}
	return p.write(w, "comparison", view)
}

func day(run results.Run) string { return run.Started.UTC().Format("2 January 2006, 15:04 UTC") }

// A changedCell is one metric of one cell.
type changedCell struct {
	name   string
	change verdict.Change
}

func changesOf(c verdict.Comparison, metric int) []changedCell {
	var rows []changedCell
	for _, cell := range c.Cells {
		for _, change := range cell.Changes {
			if change.Metric.Name == c.Metrics[metric].Name && change.Base != nil && change.Head != nil {
				rows = append(rows, changedCell{show.Line(cell.Name), change})
			}
		}
	}
	return rows
}

// drawable are the rows whose figures are not those of errors.
func drawable(rows []changedCell) []changedCell {
	return slices.DeleteFunc(rows, func(row changedCell) bool { return row.change.Erring })
}

// changesGrid is a table of one metric.
func changesGrid(metric results.Figure, rows []changedCell) *gridView {
	u := words.UnitOf(metric.Unit)
	var bases, heads []*stats.Sample
	for _, row := range rows {
		bases, heads = append(bases, row.change.Base), append(heads, row.change.Head)
	}
	decimals := u.Decimals(append(bases, heads...))
	g := &gridView{Name: metric.Title, Head: []headView{{Text: "cell"}, {"base", true}, {"head", true}, {"change", true}, {"interval of the change", true}, {"p", true}, {Text: "verdict"}}}
	for i, row := range rows {
		d := row.change.Difference
		verdict, class, p := "no difference shown", "", words.Missing
		change := entryView{Text: fmt.Sprintf("%+.1f%%", 100*d.Change), Right: true, Value: exact(d.Change)}
		switch {
		case row.change.Worse():
			verdict, class = "worse", "failed"
		case row.change.Better():
			verdict, class = "better", "good"
		case row.change.Erring:
			verdict, change = "not compared: a side has no repeat without errors", entryView{Text: words.Missing, Right: true}
		case !d.Able:
			verdict = "too few repeats"
		}
		if d.Able && !row.change.Erring {
			p = fmt.Sprintf("%.2g", row.change.Corrected)
		}
		change.Class = class
		interval := words.Missing
		if in := row.change.Interval; in != nil {
			interval = fmt.Sprintf("%+.1f%% to %+.1f%%", 100*in.Low, 100*in.High)
		}
		g.Rows = append(g.Rows, []entryView{
			{Text: row.name, Head: true},
			{Text: u.Text(bases[i], decimals), Right: true, Value: exact(bases[i].Median)}, {Text: u.Text(heads[i], decimals), Right: true, Value: exact(heads[i].Median)},
			change, {Text: interval, Right: true},
			{Text: p, Right: true}, {Text: verdict, Class: class},
		})
	}
	return g
}

// changesChart shows base and head of each cell beside each other, those that
// changed the most where there are many.
func changesChart(metric results.Figure, rows []changedCell) *drawing {
	u := words.UnitOf(metric.Unit)
	shown := rows
	if len(rows) > mostGroups {
		change := func(row changedCell) float64 { return math.Abs(row.change.Difference.Change) }
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
	c.Name, c.Title = "change-"+fileName(metric.Name), upper(metric.Title)+" before and after"
	c.Text = c.Title + ": the figures are those of the table."
	c.X.Label = u.Name
	c.Legend = []chart.Key{{Label: "base", Ink: chart.Series(7), Shape: chart.Swatch}, {Label: "head", Ink: chart.Series(0), Shape: chart.Swatch}}
	d := &drawing{chart: c, caption: whiskersText}
	if len(shown) < len(rows) {
		d.caption += fmt.Sprintf(" The %d of %d cells that changed the most.", len(shown), len(rows))
	}
	return d
}
