package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"stackmeter/results/stats"
	"stackmeter/results/verdict/history"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// NewHistoryDocument lays out the histories of one scenario's metrics over the same
// runs: the levels and then, where the eye is when it was printed, the steps.
func NewHistoryDocument(all []history.History) Document {
	doc := historyHead(all)
	steps := Section{Title: "Steps"}
	longest := 0
	for _, h := range all {
		for _, cell := range h.All() {
			longest = max(longest, len(cell.Points))
			steps.Items = append(steps.Items, stepItems(h, cell, len(all) > 1)...)
		}
	}
	switch {
	case longest < stats.FewestForSteps:
		steps.Notes = []string{fmt.Sprintf("Too few runs to show any step: it takes %d that measured the cell, and there are %d at most.", stats.FewestForSteps, longest)}
	case len(steps.Items) == 0:
		steps.Notes = []string{"None. A step takes two runs or three to show, and a small one more."}
	}
	if longest >= stats.FewestForSteps {
		steps.Notes = append(steps.Notes, fmt.Sprintf("Where nothing changes, about one step in 200 runs is shown, of %s together, and is gone again a few runs later. Runs are taken for independent of each other: where each is like the one before, more are false.", figures(all)))
	}
	doc.Sections = []Section{historyLevels(all), steps}
	return doc
}

func figures(all []history.History) string {
	if len(all) == 1 {
		return "all cells"
	}
	return "all cells of one figure"
}

// historyHead is the heading: what the latest run is, and which before it were not ok.
func historyHead(all []history.History) Document {
	h := all[0]
	var titles []string
	for _, one := range all {
		titles = append(titles, one.Metric.Title)
	}
	doc := Document{Title: show.Line(fmt.Sprintf("%s, %s over %s", h.Scenario, strings.Join(titles, " and "), show.Plural(len(h.Runs), "run")))}
	n := len(h.Runs)
	if n == 0 {
		return doc
	}
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
	return doc
}

// stepItems are all that a history says of a cell: its steps, its drift and what its
// last run may become.
func stepItems(h history.History, cell history.Cell, named bool) []Item {
	name := cell.Name
	if named {
		name += ", " + h.Metric.Title
	}
	var items []Item
	add := func(text string) { items = append(items, Item{Name: show.Line(name), Text: show.Line(text)}) }
	for _, step := range cell.Steps {
		add(words.Step(h, cell, step))
	}
	if cell.Drift != nil {
		add(words.Drift(h, cell))
	}
	if cell.Alone != nil {
		add(words.Alone(cell))
	}
	return items
}

// historyLevels is the table of the cells: of the first metric its course, its first
// and last value and the change, of the others the last value and the change.
func historyLevels(all []history.History) Section {
	h := all[0]
	grid := &Grid{Labels: 2, Head: []string{"cell", "runs", "n"}}
	for i, one := range all {
		title := one.Metric.Title
		if i == 0 {
			grid.Head = append(grid.Head, title+", first")
			title = "last"
		}
		grid.Head = append(grid.Head, title, "change")
	}
	index := map[string]int{}
	for _, one := range all {
		for _, cell := range one.Cells {
			if _, known := index[cell.Name]; !known && len(cell.Points) > 0 {
				index[cell.Name] = len(grid.Rows)
				grid.Rows = append(grid.Rows, nil)
			}
		}
	}
	for i, one := range all {
		byName := map[string]history.Cell{}
		for _, cell := range one.Cells {
			byName[cell.Name] = cell
		}
		for name, row := range index {
			cell := byName[name]
			if i == 0 {
				grid.Rows[row] = texts(show.Line(name), sparkline(cell, len(h.Runs)), fmt.Sprint(len(cell.Points)))
			}
			entries := levelEntries(one, cell)
			if i > 0 {
				entries = entries[1:]
			}
			grid.Rows[row] = append(grid.Rows[row], entries...)
		}
	}
	if len(grid.Rows) == 0 {
		return Section{Title: "Levels", Notes: []string{"No run has this figure."}}
	}
	return Section{Title: "Levels", Table: grid}
}

// levelEntries are a cell's first and last value, and the change.
func levelEntries(h history.History, cell history.Cell) []Entry {
	if len(cell.Points) == 0 {
		return texts(words.Missing, words.Missing, words.Missing)
	}
	u := words.UnitOf(h.Metric.Unit)
	var samples []*stats.Sample
	for _, p := range cell.Points {
		samples = append(samples, p.Sample)
	}
	first, last := samples[0], samples[len(samples)-1]
	decimals := u.Decimals(samples)
	entries := texts(u.Text(first, decimals), u.Text(last, decimals), words.Change(h.Metric.Unit, first.Median, last.Median))
	for _, step := range cell.Steps {
		if step.Ended == 0 {
			entries[2].Tone = Better
			if step.Worse {
				entries[2].Tone = Worse
			}
		}
	}
	return entries
}

// sparkline draws a cell's medians, from its lowest to its highest, with a gap
// for a run that did not measure it and a bar before each step.
func sparkline(cell history.Cell, runs int) string {
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
