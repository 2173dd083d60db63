package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// NewComparisonDocument lays out what became of a run's cells, and what
// thresholds say about them.
func NewComparisonDocument(c verdict.Comparison, checks []results.Check) Document {
	return comparisonDocument(c, checks, ChangeText(c, checks))
}

func comparisonDocument(c verdict.Comparison, checks []results.Check, changed string) Document {
	doc := Document{Title: show.Line(fmt.Sprintf("%s against %s", c.Head.ID, c.Base.ID))}
	standing := words.StandingOfComparison(c, checks)
	doc.Facts, doc.Tone = []Fact{{"verdict", show.Line(standing.String())}, {"change", changed}}, toneOf(standing)
	for _, run := range []struct {
		label string
		run   results.Run
	}{{"base", c.Base}, {"head", c.Head}} {
		text := fmt.Sprintf("%s, run %s, started %s", run.run.Scenario, run.run.ID, run.run.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
		if run.run.Imported != "" {
			text += ", imported from " + run.run.Imported
		}
		doc.Facts = append(doc.Facts, Fact{run.label, show.Line(text)})
	}
	for _, d := range c.Disparities {
		doc.Facts = append(doc.Facts, Fact{"differ in", show.Line(d.String())})
	}
	for _, n := range c.Notes {
		doc.Facts = append(doc.Facts, Fact{"note", "another " + show.Line(n.String())})
	}
	for i := range c.Metrics {
		doc.Sections = append(doc.Sections, Held(Changes(c, i))...)
	}
	doc.Sections = append(doc.Sections, Held(CellStates(c), ComparisonFlags(c), CheckList(checks))...)
	verdict := Section{Title: "Verdict", Notes: []string{words.Capital(changed) + "."}}
	for _, line := range words.VerdictLines(c, checks) {
		verdict.Notes = append(verdict.Notes, show.Line(line))
	}
	doc.Sections = append(doc.Sections, verdict)
	return doc
}

// Changes is the table of one metric, like benchstat's.
func Changes(c verdict.Comparison, metric int) *Section {
	m := c.Metrics[metric]
	s := &Section{Title: words.Capital(m.Title), Table: &Grid{Labels: 1, Head: []string{"cell", "base", "head", "change", "95% interval", "p", "repeats"}}}
	var samples []*stats.Sample
	var rows []verdict.Change
	var names []string
	for _, cell := range c.Cells {
		for _, change := range cell.Changes {
			if change.Metric.Name == m.Name {
				rows, names = append(rows, change), append(names, cell.Name)
				samples = append(samples, change.Base, change.Head)
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	u := words.UnitOf(m.Unit)
	decimals := u.Decimals(samples)
	compared, unable, unshown, erring := 0, 0, 0, 0
	for i, change := range rows {
		row := texts(show.Line(names[i]), u.Text(change.Base, decimals), u.Text(change.Head, decimals), words.Missing, words.Missing, words.Missing, words.Missing)
		switch {
		case change.Erring:
			erring++
		case change.Base != nil && change.Head != nil:
			row[3].Text, row[4].Text = words.Shown(change), words.Interval(change)
			row[5].Text = strings.TrimPrefix(words.P(change.Corrected), "= ")
			compared = change.Compared
			row[6].Text = strconv.Itoa(change.Difference.N1) + "+" + strconv.Itoa(change.Difference.N2)
			switch {
			case change.Worse():
				row[3].Tone = Worse
			case change.Better():
				row[3].Tone = Better
			case !change.Difference.Able:
				unable++
			default:
				unshown++
			}
			if !change.Difference.Shown && change.Difference.Able && change.Needs > 0 && change.Needs < 1000 {
				row[6].Text += fmt.Sprintf(" (≈%d)", change.Needs)
			}
		}
		s.Table.Rows = append(s.Table.Rows, row)
	}
	if erring > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("%s %s: a side has no repeat without errors among its answers. An error is often a fast answer, so nothing is compared.", words.Missing, show.Plural(erring, "cell")))
	}
	if unshown > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("~ %s: no difference that so many repeats could show; ≈ is how many of each would be likely to show one of the size that was seen.", show.Plural(unshown, "cell")))
	}
	if unable > 0 {
		s.Notes = append(s.Notes, fmt.Sprintf("~ %s: so few repeats cannot show any difference; it takes %d of each.", show.Plural(unable, "cell"), stats.RepeatsForDifference(compared)))
	}
	if compared > 1 {
		s.Notes = append(s.Notes, words.Corrected(compared))
	}
	return s
}

// CellStates lists the cells that are not simply ok in both runs.
func CellStates(c verdict.Comparison) *Section {
	s := &Section{Title: "Cells that changed their state, failed or have errors"}
	for _, cell := range c.Cells {
		if words.Unremarkable(cell) {
			continue
		}
		s.Items = append(s.Items, Item{Name: show.Line(cell.Name), Text: show.Clean(words.State(cell))})
	}
	return s
}

// WriteComparisonSummary is short enough for a comment on a pull request.
func WriteComparisonSummary(w io.Writer, c verdict.Comparison, checks []results.Check) error {
	var b strings.Builder
	standing := words.StandingOfComparison(c, checks)
	fmt.Fprintf(&b, "**%s**: %s, run %s against %s\n\n", escape(show.Line(standing.Word)), escape(show.Line(c.Head.Scenario)), escape(show.Line(c.Head.ID)), escape(show.Line(c.Base.ID)))
	fmt.Fprintf(&b, "- %s.\n", escape(words.Capital(ChangeText(c, checks))))
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "- Another %s.\n", escape(show.Line(n.String())))
	}
	for _, line := range words.VerdictLines(c, checks) {
		fmt.Fprintf(&b, "- %s\n", escape(show.Line(line)))
	}
	writeRegressed(&b, c)
	writeBroken(&b, checks)
	g := Grid{Labels: 2, Head: []string{"cell", "figure", "base", "head", "change"}}
	more := 0
	for _, cell := range c.Cells {
		for _, change := range cell.Changes {
			if !change.Difference.Shown {
				continue
			}
			if len(g.Rows) == summaryRows {
				more++
				continue
			}
			u := words.UnitOf(change.Metric.Unit)
			decimals := u.Decimals([]*stats.Sample{change.Base, change.Head})
			g.Rows = append(g.Rows, texts(show.Line(cell.Name), change.Metric.Title, u.Text(change.Base, decimals), u.Text(change.Head, decimals), words.Shown(change)))
		}
	}
	if len(g.Rows) > 0 {
		fmt.Fprintf(&b, "\n%s\n", markdownTable(g))
	}
	if more > 0 {
		fmt.Fprintf(&b, "\nand %s more.\n", show.Plural(more, "change"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeRegressed lists the cells that no longer give what they gave.
func writeRegressed(b *strings.Builder, c verdict.Comparison) {
	var lines []string
	for _, cell := range c.Cells {
		if verdict.CellRegressed(cell.State) {
			lines = append(lines, escape(show.Line(cell.Name))+": "+escape(show.Line(words.State(cell))))
		}
	}
	if len(lines) > 0 {
		b.WriteByte('\n')
	}
	writeList(b, lines, "")
}

// ComparisonFlags lists the flags of both sides, with what they mean.
func ComparisonFlags(c verdict.Comparison) *Section {
	s := &Section{Title: "Flags", Table: &Grid{Labels: 1, Head: []string{"cell", "base", "head"}}}
	meanings := map[string]bool{}
	for _, cell := range c.Cells {
		row := []Entry{{Text: show.Line(cell.Name)}, {Text: words.Missing}, {Text: words.Missing}}
		flagged := false
		for i, side := range []*verdict.Summary{cell.Base, cell.Head} {
			if side == nil || len(side.Flags) == 0 {
				continue
			}
			flagged, row[i+1].Text = true, show.Line(strings.Join(side.Flags, ", "))
			for _, flag := range side.Flags {
				meanings[words.WithMeaning(flag)] = true
			}
		}
		if flagged {
			s.Table.Rows = append(s.Table.Rows, row)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(meanings)) {
		s.Notes = append(s.Notes, show.Line(text))
	}
	return s
}
