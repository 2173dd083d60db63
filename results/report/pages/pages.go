package pages

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// The pages that only a server has: the list of runs, one cell by itself, and
// what went wrong.

// RunsAddresses are where a server shows what the list of runs leads to.
type RunsAddresses struct {
	Run     func(run string) string
	Compare func(base, head string) string
	History func(scenario string) string
}

// WriteRunsPage lists runs, the newest first. alive reports whether the process
// of a run that has not finished is still there.
func WriteRunsPage(w io.Writer, store string, runs []results.Run, nav []Link, at RunsAddresses, alive func(results.Run) bool) error {
	view := report.Grid{Labels: 1, Head: []string{"run", "scenario", "started", "verdict", "cells", "against the one before"}}
	for i, run := range runs {
		standing := words.StandingOf(run, run.Counts)
		outcome := report.Entry{Text: show.Line(standing.String())}
		switch {
		case run.Outcome == "" && alive(run):
			outcome.Text = "under way"
		case run.Outcome == "":
			outcome = report.Entry{Text: "not finished: its process is gone", Tone: report.Bad}
		case standing.Bad:
			outcome.Tone = report.Bad
		}
		if len(run.Tags) > 0 {
			outcome.Text += show.Line(" [" + strings.Join(run.Tags, ", ") + "]")
		}
		before := report.Entry{Text: words.Missing}
		if older := slices.IndexFunc(runs[i+1:], func(r results.Run) bool { return r.Scenario == run.Scenario }); older >= 0 {
			before = report.Entry{Text: "compare", Link: at.Compare(runs[i+1+older].ID, run.ID)}
		}
		view.Rows = append(view.Rows, []report.Entry{
			{Text: show.Line(run.ID), Link: at.Run(run.ID)}, {Text: show.Line(run.Scenario), Link: at.History(run.Scenario)},
			{Text: run.Started.UTC().Format("2006-01-02 15:04:05 UTC")}, outcome, {Text: words.Measured(run.Counts)}, before,
		})
	}
	p := page{Title: "Runs", Heading: "Runs", Under: show.Line(fmt.Sprintf("%s in %s; a scenario leads to its history", show.Plural(len(runs), "run"), store)), Nav: nav}
	return p.write(w, "runs", &view)
}

// WriteCellPage writes everything about one cell of a run. A cell that the run
// does not have is an error that says so.
func WriteCellPage(w io.Writer, run results.Run, records []results.Record, name string, nav []Link) error {
	b := newBuilder(run, records, nil)
	at := slices.IndexFunc(b.summaries, func(s verdict.Summary) bool { return s.Name() == name })
	if at < 0 {
		return fmt.Errorf("run %s holds no cell %s", show.Line(run.ID), show.Line(name))
	}
	s := b.summaries[at]
	b.ids[name] = "cell-1"
	cell := b.newCell(s, b.byCell[name])
	cell.Open = true
	view := runView{Cells: []cellView{cell}, Sections: configurations(b.byCell[name])}
	p := page{
		Title: cell.Name, Heading: cell.Name, Under: show.Line("of " + run.Scenario + ", run " + run.ID + ", which is " + runStatus(run, records).Text),
		Banners: banners(run, records), Nav: nav,
	}
	return p.write(w, "onecell", view)
}

// WriteErrorPage says what went wrong.
func WriteErrorPage(w io.Writer, title, text string, nav []Link) error {
	p := page{Title: show.Line(title), Heading: show.Line(title), Nav: nav}
	return p.write(w, "error", show.Clean(text))
}
