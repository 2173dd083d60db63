package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// A Document is a report before it has a format. All of its texts are clean.
type Document struct {
	Title    string
	Facts    []Fact // the verdict first
	Tone     tone   // of the verdict
	Sections []Section
	Answer   []Fact // what all of it is for, see Answer
	Details  []Item // long texts, for formats that are scrolled and not printed
}

// A Fact is a line of a report's head.
type Fact struct{ Label, Text string }

// A Section is a table with its remarks, or only text.
type Section struct {
	ID    string // its anchor in a page
	Title string
	Text  []string // above the table
	Table *Grid
	Notes []string // below the table
	Items []Item
}

// An Item is an entry of a list, with an excerpt of a log below it.
type Item struct {
	Name, Text string
	Log        []string
}

// A Grid is a table: labels on the left, figures on the right.
type Grid struct {
	Labels int // columns that hold labels
	Head   []string
	Rows   [][]Entry
}

// An Entry is a cell of a Grid.
type Entry struct {
	Text string
	Tone tone
	Link string // where it leads to in a page
}

// A tone is how an entry stands out in colour.
type tone int

const (
	plain tone = iota
	Best
	Bad
	Better
	Worse
)

func toneOf(s words.Standing) tone {
	switch {
	case s.Bad:
		return Bad
	case s.Good:
		return Best
	}
	return plain
}

// NewEnding is the document of a run that has just ended, with what changed since the
// run that it was held against, if it was.
func NewEnding(run results.Run, records []results.Record, changed *verdict.Comparison) Document {
	doc := NewDocument(run, records, changed)
	if changed == nil {
		return doc
	}
	against := comparisonDocument(*changed, nil, ChangeText(*changed, run.Checks)) // the run's own part has the thresholds
	differences := Section{Title: against.Title}
	for _, fact := range against.Facts {
		if fact.Label == "differ in" || fact.Label == "note" {
			differences.Notes = append(differences.Notes, fact.Label+" "+fact.Text)
		}
	}
	doc.Sections = append(append(doc.Sections, Held(&differences)...), against.Sections...)
	return doc
}

// NewDocument lays out everything that the tables of a run show. Its answer says what
// changed since another run, where that is given.
func NewDocument(run results.Run, records []results.Record, changed *verdict.Comparison) Document {
	summaries := verdict.SummariseRun(run, records)
	baselines := verdict.FindBaselines(summaries, run.Plan)
	memory := verdict.MemoryKind(summaries)
	notes := NewNotes(summaries)
	doc := Document{Title: headline(run), Facts: Heading(run, records, summaries, memory)}
	run.Counts = new(run.Count(records))
	doc.Tone = toneOf(words.StandingOf(run, run.Counts))

	for _, pivot := range verdict.Pivots(summaries) {
		for _, name := range []string{results.MetricDuration, results.PeakMetric(memory)} {
			doc.Sections = append(doc.Sections, PivotSection(pivot, results.Metric(name), baselines, notes))
		}
	}
	doc.Sections = append(doc.Sections, Held(Sweeps(summaries, notes)...)...)
	doc.Sections = append(doc.Sections, Held(&Section{Title: "Notes", Notes: notes.Legend()},
		OpenLoops(told(run, records)), Streams(records), bounds(run, summaries), Failures(verdict.Unmeasured(records)), Prunings(summaries), ErrorList(records),
		MissingCells(run, records), RepeatsMade(run, records), GPUPhases(records), Ran(records), timeSpent(run), CheckList(run.Checks))...)
	switch searched := Held(Found(run, records, 0)...); {
	case len(searched) > 0:
		doc.Sections = append(doc.Sections, searched...)
		doc.Answer = SearchAnswer(run, records, changed)
	case len(summaries) > 0:
		// Last, where the eye is when a run has ended in a terminal.
		conclusion := Conclusion(verdict.Conclude(summaries, run.Plan), notes)
		doc.Sections = append(doc.Sections, Held(&conclusion, Planned(run, summaries, notes))...)
		doc.Answer = Answer(run, summaries, changed)
	}
	doc.Details = Configurations(records)
	return doc
}

// Held returns the sections that hold anything; nil holds nothing.
func Held(sections ...*Section) []Section {
	var held []Section
	for _, s := range sections {
		if s != nil && (len(s.Text)+len(s.Notes)+len(s.Items) > 0 || s.Table != nil && len(s.Table.Rows) > 0) {
			held = append(held, *s)
		}
	}
	return held
}

// texts are entries without a tone.
func texts(all ...string) []Entry {
	row := make([]Entry, len(all))
	for i, text := range all {
		row[i].Text = text
	}
	return row
}

// PivotSection is the table of one metric of a pivot.
func PivotSection(pivot verdict.Pivot, m results.Figure, baselines verdict.Baselines, notes *Notes) Section {
	s := Section{Title: words.Capital(m.Title) + ", " + show.Line(pivot.Topology) + ", by number of requests"}
	if pivot.Requests > 0 {
		s.Title = words.Capital(m.Title) + ", " + show.Plural(pivot.Requests, "request")
	}
	// A table of durations says what failed even where nothing has one.
	if m.Name != results.MetricDuration && !slices.ContainsFunc(pivot.Summaries, func(c verdict.Summary) bool { return c.Sample(m) != nil }) {
		s.Text = []string{words.Missing + " (not measured)"}
		return s
	}
	s.Text = []string{baselineText(pivot, baselines, m)}
	var ratios []verdict.Relation
	for _, cell := range pivot.Summaries {
		ratios = append(ratios, baselines.Ratio(cell, m))
	}
	s.Text = append(s.Text, acrossText(ratios...)...)
	s.Table = pivotGrid(pivot, m, baselines, notes)
	return s
}

// acrossText says what ratios between lanes are, where there are any.
func acrossText(ratios ...verdict.Relation) []string {
	if note := words.AcrossNote(ratios...); note != "" {
		return []string{note + "."}
	}
	return nil
}

// baselineText says what the percentages of a table refer to.
func baselineText(pivot verdict.Pivot, baselines verdict.Baselines, m results.Figure) string {
	if pivot.Requests == 0 {
		var names []string
		for _, cell := range pivot.Summaries {
			if base := baselines.Of(cell); base != nil && base.Sample(m) != nil && !slices.Contains(names, base.Condition()) {
				names = append(names, base.Condition())
			}
		}
		if len(names) == 0 {
			return "No ratios: the baseline has no such figure."
		}
		return "% of " + show.Line(strings.Join(names, ", ")) + " at the same number of requests"
	}
	base, found := baselines[pivot.Requests]
	name := show.Line(base.Condition())
	switch {
	case !found:
		return "No ratios: the baseline is not among these cells."
	case base.Spared():
		return "No ratios: the baseline, " + name + ", was pruned."
	case !base.Clean():
		return "No ratios: the baseline, " + name + ", failed or had errors among its answers."
	case base.Sample(m) == nil:
		return "No ratios: the baseline, " + name + ", has no such figure."
	}
	return "% of " + name
}

// pivotGrid fills a table with one figure. Within a column the figures, the
// ratios and the marks stand below each other.
func pivotGrid(pivot verdict.Pivot, m results.Figure, baselines verdict.Baselines, notes *Notes) *Grid {
	var samples []*stats.Sample
	lowest, fastest := 0.0, (*verdict.Summary)(nil)
	for i := range pivot.Summaries {
		cell := &pivot.Summaries[i]
		sample := cell.Sample(m)
		samples = append(samples, sample)
		if sample != nil && cell.Clean() && (fastest == nil || sample.Median < lowest) {
			lowest, fastest = sample.Median, cell
		}
	}
	decimals := words.UnitOf(m.Unit).Decimals(samples)

	g := &Grid{Labels: len(pivot.Head), Head: slices.Clone(pivot.Head)}
	for _, column := range pivot.Columns {
		g.Head = append(g.Head, show.Line(column))
	}
	for _, row := range pivot.Rows {
		var entries []Entry
		for _, label := range row.Labels {
			entries = append(entries, Entry{Text: show.Line(label)})
		}
		g.Rows = append(g.Rows, entries)
	}
	for c := range pivot.Columns {
		parts := make([][3]string, len(pivot.Rows))
		var widest [3]int
		for r, row := range pivot.Rows {
			if row.Cells[c] != nil {
				parts[r] = cellParts(*row.Cells[c], m, decimals, baselines, notes)
			}
			for i, part := range parts[r] {
				widest[i] = max(widest[i], width(part))
			}
		}
		for r, row := range pivot.Rows {
			e := Entry{Text: join(parts[r], widest)}
			switch cell := row.Cells[c]; {
			case cell == nil:
			case cell.Failed > 0 && cell.OK == 0:
				e.Tone = Bad
			case fastest != nil && len(samples) > 1 && asGood(cell, fastest, m):
				e.Tone = Best
			}
			g.Rows[r] = append(g.Rows[r], e)
		}
	}
	return g
}

// asGood reports whether a cell has the best figure of its table, or one that
// enough repeats did not show to be any worse.
func asGood(cell, best *verdict.Summary, m results.Figure) bool {
	if cell == best {
		return true
	}
	if !cell.Clean() {
		return false
	}
	difference := verdict.Beside(*best, *cell, m)
	return difference.Able && !difference.Shown
}

// cellParts are a cell's figure, ratio and marks.
func cellParts(cell verdict.Summary, m results.Figure, decimals int, baselines verdict.Baselines, notes *Notes) [3]string {
	marks := notes.Marks(cell, cell.Reasons(m))
	if cell.OK == 0 {
		return [3]string{words.Unmeasured(cell), "", marks}
	}
	sample := cell.Sample(m)
	if sample == nil {
		return [3]string{words.Missing, "", marks}
	}
	ratio := ""
	if r := baselines.Ratio(cell, m); r.Ratio != nil {
		ratio = words.Across(words.Percent(*r.Ratio, 1), r)
	}
	return [3]string{words.UnitOf(m.Unit).Text(sample, decimals), ratio, marks}
}

// join pads parts to the widths of their column: figures and ratios to the
// right, marks to the left. The figure of a cell without a ratio stands where
// those above and below it do.
func join(parts [3]string, widest [3]int) string {
	text := pad(parts[0], widest[0], true)
	if widest[1] > 0 {
		text += "  " + pad(parts[1], widest[1], true)
	}
	if widest[2] > 0 {
		text += " " + pad(parts[2], widest[2], false)
	}
	return text
}

func pad(text string, to int, right bool) string {
	space := strings.Repeat(" ", max(0, to-width(text)))
	if right {
		return space + text
	}
	return text + space
}

// Failures lists what failed, once for each reason.
func Failures(summaries []verdict.Summary) *Section {
	return unmeasured("Failed", summaries, func(s verdict.Summary) []results.Record { return s.Failures })
}

// Prunings lists what was not started, once for each reason.
func Prunings(summaries []verdict.Summary) *Section {
	return unmeasured("Pruned", summaries, func(s verdict.Summary) []results.Record { return s.Prunings })
}

func unmeasured(title string, summaries []verdict.Summary, of func(verdict.Summary) []results.Record) *Section {
	s := &Section{Title: title}
	at := map[string]int{} // of the item, by reason and log
	for _, summary := range summaries {
		for _, record := range of(summary) {
			name := summary.Name()
			if summary.Repeats() > 1 {
				name += fmt.Sprintf(", repeat %d", record.Cell.Repeat)
			}
			reason := cmp.Or(record.Reason, "no reason was recorded")
			key := reason + "\x00" + record.LogTail
			if i, said := at[key]; said {
				s.Items[i].Name += "; " + show.Line(name)
				continue
			}
			at[key] = len(s.Items)
			s.Items = append(s.Items, Item{Name: show.Line(name), Text: show.Clean(reason), Log: show.LogEnd(record.LogTail)})
		}
	}
	return s
}

// ErrorList lists what the errors among the answers were.
func ErrorList(records []results.Record) *Section {
	s := &Section{Title: "Errors among the answers"}
	for _, record := range records {
		if record.Errors == 0 || record.Status != results.StatusOK {
			continue
		}
		name := fmt.Sprintf("%s, repeat %d", record.Cell.Name, record.Cell.Repeat)
		var kinds []string
		for _, kind := range slices.Sorted(maps.Keys(record.ErrorKinds)) {
			text := fmt.Sprintf("%d %s", record.ErrorKinds[kind], kind)
			if first := record.FirstErrors[kind]; first != "" {
				text += " (the first: " + show.Shorten(first, show.LineWidth) + ")"
			}
			kinds = append(kinds, text)
		}
		text := fmt.Sprintf("%d of %d", record.Errors, record.Errors+record.Replies)
		if len(kinds) > 0 {
			text += ": " + strings.Join(kinds, "; ")
		}
		s.Items = append(s.Items, Item{Name: show.Line(name), Text: show.Line(text), Log: show.LogEnd(record.LogTail)})
	}
	slices.SortStableFunc(s.Items, func(a, b Item) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// MissingCells says that a run is not complete.
func MissingCells(run results.Run, records []results.Record) *Section {
	counts := run.Count(records)
	if counts.Missing() == 0 {
		return nil
	}
	return &Section{Title: "Not complete", Notes: []string{
		fmt.Sprintf("%d of %s have no record: the run was interrupted, or is still under way.",
			counts.Missing(), show.Plural(counts.Planned, "planned cell"))}}
}

// RepeatsMade says how the repeats of a plan with until ended.
func RepeatsMade(run results.Run, records []results.Record) *Section {
	s := &Section{Title: "Repeats"}
	for _, end := range verdict.NewRepeats(run.Plan, records).Ends() {
		s.Notes = append(s.Notes, show.Line(end.Sentence(run.Plan))+".")
	}
	return s
}

// timeSpent says what share of the wall time was spent measuring, and what the
// rest was spent on.
func timeSpent(run results.Run) *Section {
	fraction := run.MeasuringFraction()
	if fraction == nil {
		return nil
	}
	total := run.SpentTotal()
	phases := slices.Sorted(maps.Keys(run.Spent))
	slices.SortStableFunc(phases, func(a, b string) int { return cmp.Compare(run.Spent[b], run.Spent[a]) })
	var rest []string
	for _, phase := range phases {
		if spent := run.Spent[phase]; phase != results.PhaseMeasure && spent > 0 {
			rest = append(rest, fmt.Sprintf("%s %s (%.1f%%)", show.Line(phase), words.WallTime(spent), 100*spent/total))
		}
	}
	text := fmt.Sprintf("%.1f%% of %s was spent measuring", 100**fraction, words.WallTime(total))
	if len(rest) > 0 {
		text += "; the rest on: " + strings.Join(rest, ", ")
	}
	return &Section{Title: "Where the time went", Notes: []string{text + "."}}
}
