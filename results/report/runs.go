package report

import (
	"fmt"
	"io"
	"strings"

	"stackmeter/results"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// WriteRuns lists runs, one a line.
func WriteRuns(w io.Writer, runs []results.Run) error {
	if len(runs) == 0 {
		_, err := fmt.Fprintln(w, "The store holds no runs yet; `stackmeter run SCENARIO` makes the first.")
		return err
	}
	g := Grid{Labels: 5, Head: []string{"run", "scenario", "started", "outcome", "cells"}}
	for _, run := range runs {
		outcome := run.Outcome
		if outcome == "" {
			outcome = "not finished"
		}
		if run.Verdict != "" && (run.Verdict != results.VerdictPassed || run.Outcome != results.OutcomeOK) {
			outcome += ", " + run.Verdict
		}
		if run.Imported != "" {
			outcome += ", imported"
		}
		if len(run.Tags) > 0 {
			outcome += " [" + strings.Join(run.Tags, ", ") + "]"
		}
		var row []Entry
		for _, text := range []string{
			run.ID, run.Scenario, run.Started.UTC().Format("2006-01-02 15:04:05 UTC"), outcome, CountsText(run.Counts),
		} {
			row = append(row, Entry{Text: show.Line(text)})
		}
		g.Rows = append(g.Rows, row)
	}
	p := &terminal{opts: Options{Width: defaultWidth}}
	p.line(p.table(g))
	_, err := io.WriteString(w, p.b.String())
	return err
}

// CountsText is how many cells are ok, and what became of the others.
func CountsText(counts *results.Counts) string {
	if counts == nil {
		return words.Missing
	}
	parts := []string{fmt.Sprintf("%d ok", counts.OK)}
	if counts.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", counts.Failed))
	}
	if counts.Pruned > 0 {
		parts = append(parts, fmt.Sprintf("%d pruned", counts.Pruned))
	}
	if missing := counts.Missing(); missing > 0 {
		parts = append(parts, fmt.Sprintf("%d missing", missing))
	}
	return strings.Join(parts, ", ")
}
