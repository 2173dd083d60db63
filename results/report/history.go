package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// NewHistoryDocument lays out a history.
func NewHistoryDocument(h verdict.History) Document {
	doc := Document{Title: show.Line(fmt.Sprintf("%s, %s over %s", h.Scenario, h.Metric.Title, show.Plural(len(h.Runs), "run")))}
	if n := len(h.Runs); n > 0 {
		latest := words.StandingOf(h.Runs[n-1], h.Runs[n-1].Counts)
		doc.Facts, doc.Tone = []Fact{{"verdict", show.Line(latest.String() + ", of the latest run")}, {"runs", show.Line(h.Runs[0].ID + " to " + h.Runs[n-1].ID)}}, toneOf(latest)
		var failed []string
		for _, run := range slices.Backward(h.Runs[:n-1]) {
			if standing := words.StandingOf(run, run.Counts); standing.Fails() {
				failed = append(failed, show.Line(run.ID+" "+standing.Word))
			}
		}
		if more := len(failed) - mostNamed; more > 0 {
			failed = append(failed[:mostNamed], fmt.Sprintf("and %d more", more))
		}
		if len(failed) > 0 {
			doc.Facts = append(doc.Facts, Fact{"not ok", strings.Join(failed, ", ")})
		}
	}
	u := words.UnitOf(h.Metric.Unit)
	longest := 0
	levels := Section{Title: "Levels", Table: &Grid{Labels: 2, Head: []string{"cell", "runs", "n", "first", "last"}}}
	steps := Section{Title: "Steps"}
	for _, cell := range h.Cells {
		var samples []*stats.Sample
		for _, p := range cell.Points {
			samples = append(samples, p.Sample)
		}
		if len(samples) == 0 {
			continue
		}
		longest = max(longest, len(samples))
		decimals := u.Decimals(samples)
		levels.Table.Rows = append(levels.Table.Rows, texts(show.Line(cell.Name), sparkline(cell, len(h.Runs)), fmt.Sprint(len(samples)),
			u.Text(samples[0], decimals), u.Text(samples[len(samples)-1], decimals)))
		for _, step := range cell.Steps {
			direction := "better"
			if step.Worse {
				direction = "worse"
			}
			text := fmt.Sprintf("%s (%s) with run %s of %s: %s to %s, p = %.4f", words.Change(h.Metric.Unit, step.Before, step.After), direction, step.Run,
				h.Runs[cell.Points[step.At].Run].Started.UTC().Format("2006-01-02"),
				u.Number(step.Before, decimals), strings.TrimSpace(u.Number(step.After, decimals)+" "+u.Name), step.P)
			for _, d := range step.Disparities {
				text += "; with it came another " + d.String()
			}
			steps.Items = append(steps.Items, Item{Name: show.Line(cell.Name), Text: show.Line(text)})
		}
	}
	if len(levels.Table.Rows) == 0 {
		levels.Table, levels.Notes = nil, []string{"No run has this figure."}
	}
	doc.Sections = []Section{levels}
	switch {
	case longest < stats.StepRuns:
		steps.Notes = []string{fmt.Sprintf("Too few runs to show any step: it takes %d that measured the cell, and there are %d at most.", stats.StepRuns, longest)}
	case len(steps.Items) == 0:
		steps.Notes = []string{fmt.Sprintf("None at a level of %v. A large step shows five or six runs after it, and a small one later.", stats.StepLevel)}
	}
	if longest >= stats.StepRuns {
		steps.Notes = append(steps.Notes, "Runs are taken for independent of each other: where each is like the one before, some steps are false.")
	}
	doc.Sections = append(doc.Sections, steps)
	return doc
}

// sparkline draws a cell's medians, from its lowest to its highest, with a gap
// for a run that did not measure it and a bar before each step.
func sparkline(cell verdict.CellHistory, runs int) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	low, high := math.Inf(1), math.Inf(-1)
	at := map[int]float64{}
	for _, p := range cell.Points {
		low, high = min(low, p.Sample.Median), max(high, p.Sample.Median)
		at[p.Run] = p.Sample.Median
	}
	stepped := map[int]bool{}
	for _, s := range cell.Steps {
		stepped[cell.Points[s.At].Run] = true
	}
	var b strings.Builder
	for run := range runs {
		if stepped[run] {
			b.WriteRune('|')
		}
		value, measured := at[run]
		switch {
		case !measured:
			b.WriteRune('·')
		case high == low:
			b.WriteRune(bars[3])
		default:
			b.WriteRune(bars[min(len(bars)-1, int(float64(len(bars))*(value-low)/(high-low)))])
		}
	}
	return b.String()
}
