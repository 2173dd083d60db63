package pages

import (
	"fmt"
	"io"
	"slices"

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
func WriteRunsPage(w io.Writer, store string, runs []results.Run, at RunsAddresses, alive func(results.Run) bool) error {
	view := gridView{Name: "runs"}
	for _, text := range []string{"run", "scenario", "started", "outcome", "cells", "against the one before"} {
		view.Head = append(view.Head, headView{Text: text})
	}
	for i, run := range runs {
		outcome := entryView{Text: show.Line(run.Outcome)}
		switch {
		case run.Outcome == "" && alive(run):
			outcome.Text = "under way"
		case run.Outcome == "":
			outcome = entryView{Text: "not finished: its process is gone", Class: "failed"}
		case run.Outcome == results.OutcomeFailed || run.Outcome == results.OutcomeInfrastructure:
			outcome.Class = "failed"
		}
		before := entryView{Text: words.Missing}
		if older := slices.IndexFunc(runs[i+1:], func(r results.Run) bool { return r.Scenario == run.Scenario }); older >= 0 {
			before = entryView{Text: "compare", Href: at.Compare(runs[i+1+older].ID, run.ID)}
		}
		view.Rows = append(view.Rows, []entryView{
			{Text: show.Line(run.ID), Href: at.Run(run.ID), Head: true}, {Text: show.Line(run.Scenario), Href: at.History(run.Scenario)},
			{Text: run.Started.UTC().Format("2006-01-02 15:04:05 UTC")}, outcome, {Text: report.CountsText(run.Counts)}, before,
		})
	}
	p := page{Title: "Runs", Heading: "Runs", Under: show.Line(fmt.Sprintf("%s in %s; a scenario leads to its history", show.Plural(len(runs), "run"), store))}
	return p.write(w, "runs", view)
}

// WriteCellPage writes everything about one cell of a run. A cell that the run
// does not have is an error that says so.
func WriteCellPage(w io.Writer, run results.Run, records []results.Record, name string, opts PageOptions) error {
	b := newBuilder(run, records, opts)
	at := slices.IndexFunc(b.summaries, func(s verdict.Summary) bool { return s.Name() == name })
	if at < 0 {
		return fmt.Errorf("run %s holds no cell %s", show.Line(run.ID), show.Line(name))
	}
	s := b.summaries[at]
	b.ids[name] = "cell-1"
	cell, err := b.newCell(s, b.byCell[name])
	if err != nil {
		return err
	}
	cell.Open = true
	view := runView{Cells: []cellView{cell}}
	for i, item := range report.Configurations(b.byCell[name]) {
		view.Sections = append(view.Sections, sectionView{ID: fmt.Sprintf("nginx-%d", i+1), Title: item.Name,
			Items: []itemView{{Name: "Of", Text: item.Text, Log: joinLines(item.Log)}}})
	}
	p := page{
		Title: cell.Name, Heading: cell.Name, Under: show.Line("of " + run.Scenario + ", run " + run.ID),
		Banners: banners(run, records), Nav: opts.Nav,
	}
	return p.write(w, "onecell", view)
}

// WriteErrorPage says what went wrong.
func WriteErrorPage(w io.Writer, title, text string, nav []Link) error {
	p := page{Title: show.Line(title), Heading: show.Line(title), Nav: nav}
	return p.write(w, "error", show.Clean(text))
}
