package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
)

// A document is a report before it has a format. All of its texts are clean.
type document struct {
	title    string
	facts    []fact
	sections []section
	details  []item // long texts, for formats that are scrolled and not printed
}

type fact struct{ label, text string }

// A section is a table with what has to be said about it, or only text.
type section struct {
	title string
	text  []string // above the table
	table *grid
	notes []string // below the table
	items []item
}

// An item is an entry of a list, with an excerpt of a log below it.
type item struct {
	name, text string
	log        []string
}

// A grid is a table: labels on the left, figures on the right.
type grid struct {
	labels int // columns that hold labels
	head   []string
	rows   [][]entry
}

type entry struct {
	text string
	tone tone
}

// A tone is how an entry stands out, where there are colours.
type tone int

const (
	plain tone = iota
	best
	bad
)

// newDocument lays out everything that the tables of a run show.
func newDocument(run results.Run, records []results.Record) document {
	summaries := verdict.Summarise(records)
	baselines := verdict.FindBaselines(summaries, run.Plan.Baseline)
	memory := verdict.MemoryKind(summaries)
	notes := newNotes(summaries)
	doc := document{title: headline(run), facts: heading(run, records, summaries, memory)}

	for _, pivot := range verdict.Pivots(summaries) {
		doc.sections = append(doc.sections,
			durationSection(pivot, baselines, notes),
			memorySection(pivot, baselines, memory, notes))
	}
	if legend := notes.legend(); len(legend) > 0 {
		doc.sections = append(doc.sections, section{title: "Notes", notes: legend})
	}
	doc.sections = appendIf(doc.sections, openLoops(records))
	doc.sections = appendIf(doc.sections, bounds(run, summaries))
	doc.sections = appendIf(doc.sections, failures(summaries))
	doc.sections = appendIf(doc.sections, prunings(summaries))
	doc.sections = appendIf(doc.sections, errorList(records))
	doc.sections = appendIf(doc.sections, missingCells(run, records))
	doc.sections = appendIf(doc.sections, repeatsMade(run, records))
	doc.sections = appendIf(doc.sections, gpuPhases(records))
	doc.sections = appendIf(doc.sections, ran(records))
	doc.sections = appendIf(doc.sections, timeSpent(run))
	doc.sections = appendIf(doc.sections, checkList(run.Checks))
	if len(summaries) > 0 {
		// Last, where the eye is when a run has ended in a terminal.
		doc.sections = append(doc.sections, conclusion(verdict.Conclude(summaries, run.Plan.Baseline), notes))
		doc.sections = appendIf(doc.sections, planned(run, summaries))
	}
	doc.details = configurations(records)
	return doc
}

func appendIf(sections []section, one *section) []section {
	if one == nil {
		return sections
	}
	return append(sections, *one)
}

func durationSection(pivot verdict.Pivot, baselines verdict.Baselines, notes *notes) section {
	s := section{title: "Duration" + pivotTitle(pivot), text: baselineText(pivot, baselines, func(s verdict.Summary) bool { return s.Duration != nil })}
	s.table = pivotGrid(pivot, durationFigure(baselines), notes)
	return s
}

func memorySection(pivot verdict.Pivot, baselines verdict.Baselines, memory string, notes *notes) section {
	s := section{title: "Peak memory" + pivotTitle(pivot)}
	if memory == results.MemoryGPU {
		s.title = "Peak GPU memory" + pivotTitle(pivot)
	}
	sample := func(s verdict.Summary) *stats.Sample { return s.Peak(memory) }
	if !slices.ContainsFunc(pivot.Rows, func(row verdict.Row) bool {
		return slices.ContainsFunc(row.Cells, func(c *verdict.Summary) bool { return c != nil && sample(*c) != nil })
	}) {
		s.text = []string{missing + " (not measured)"}
		return s
	}
	s.text = baselineText(pivot, baselines, func(s verdict.Summary) bool { return sample(s) != nil })
	s.table = pivotGrid(pivot, memoryFigure(baselines, memory), notes)
	return s
}

func pivotTitle(pivot verdict.Pivot) string {
	if pivot.Requests > 0 {
		return ", " + show.Plural(pivot.Requests, "request")
	}
	return ", " + show.Line(pivot.Topology) + ", by number of requests"
}

// baselineText says what the percentages of a table refer to.
func baselineText(pivot verdict.Pivot, baselines verdict.Baselines, has func(verdict.Summary) bool) []string {
	if pivot.Requests == 0 {
		var names []string
		for _, row := range pivot.Rows {
			for _, cell := range row.Cells {
				if cell == nil {
					continue
				}
				if base := baselines.Of(*cell); base != nil && has(*base) && !slices.Contains(names, base.Condition()) {
					names = append(names, base.Condition())
				}
			}
		}
		if len(names) == 0 {
			return []string{"No ratios: the baseline has no such figure."}
		}
		return []string{"% of " + show.Line(strings.Join(names, ", ")) + " at the same number of requests"}
	}
	base, found := baselines[pivot.Requests]
	switch {
	case !found:
		return []string{"No ratios: no cell matches the scenario's baseline."}
	case base.Spared():
		return []string{"No ratios: the baseline, " + show.Line(base.Condition()) + ", was pruned."}
	case !base.Clean():
		return []string{"No ratios: the baseline, " + show.Line(base.Condition()) + ", failed or had errors among its answers."}
	case !has(base):
		return []string{"No ratios: the baseline, " + show.Line(base.Condition()) + ", has no such figure."}
	}
	return []string{"% of " + show.Line(base.Condition())}
}

// A figure is what a table of cells is about.
type figure struct {
	unit   unit
	sample func(verdict.Summary) *stats.Sample
	ratio  func(verdict.Summary) *float64
	why    func(verdict.Summary) []string // the figure is missing of some repeats
}

func durationFigure(baselines verdict.Baselines) figure {
	return figure{
		unit:   seconds(),
		sample: func(s verdict.Summary) *stats.Sample { return s.Duration },
		ratio:  baselines.DurationRatio,
		why:    func(verdict.Summary) []string { return nil },
	}
}

func memoryFigure(baselines verdict.Baselines, memory string) figure {
	return figure{
		unit:   mebibytes(),
		sample: func(s verdict.Summary) *stats.Sample { return s.Peak(memory) },
		ratio:  func(s verdict.Summary) *float64 { return baselines.PeakRatio(s, memory) },
		why:    func(s verdict.Summary) []string { return s.PeakReasons(memory) },
	}
}

// pivotGrid fills a table with one figure. Within a column the figures, the
// ratios and the marks stand below each other.
func pivotGrid(pivot verdict.Pivot, f figure, notes *notes) *grid {
	var samples []*stats.Sample
	lowest, fastest := 0.0, (*verdict.Summary)(nil)
	for _, row := range pivot.Rows {
		for _, cell := range row.Cells {
			if cell == nil {
				continue
			}
			sample := f.sample(*cell)
			samples = append(samples, sample)
			if sample != nil && cell.Clean() && (fastest == nil || sample.Median < lowest) {
				lowest, fastest = sample.Median, cell
			}
		}
	}
	decimals := f.unit.decimals(samples)

	g := &grid{labels: len(pivot.Head), head: slices.Clone(pivot.Head)}
	for _, column := range pivot.Columns {
		g.head = append(g.head, show.Line(column))
	}
	for _, row := range pivot.Rows {
		var entries []entry
		for _, label := range row.Labels {
			entries = append(entries, entry{text: show.Line(label)})
		}
		g.rows = append(g.rows, entries)
	}
	for c := range pivot.Columns {
		parts := make([][3]string, len(pivot.Rows))
		var widest [3]int
		for r, row := range pivot.Rows {
			if row.Cells[c] != nil {
				parts[r] = cellParts(*row.Cells[c], f, decimals, notes)
			}
			for i, part := range parts[r] {
				widest[i] = max(widest[i], width(part))
			}
		}
		for r, row := range pivot.Rows {
			e := entry{text: join(parts[r], widest)}
			switch cell := row.Cells[c]; {
			case cell == nil:
			case cell.Failed > 0 && cell.OK == 0:
				e.tone = bad
			case fastest != nil && len(samples) > 1 && asGood(cell, fastest, f):
				e.tone = best
			}
			g.rows[r] = append(g.rows[r], e)
		}
	}
	return g
}

// asGood reports whether a cell has the best figure of its table, or one that
// enough repeats did not show to be any worse.
func asGood(cell, best *verdict.Summary, f figure) bool {
	if cell == best {
		return true
	}
	if !cell.Clean() {
		return false
	}
	difference := stats.Compare(f.sample(*best), f.sample(*cell))
	return difference.Able && !difference.Shown
}

// cellParts are a cell's figure, ratio and marks.
func cellParts(cell verdict.Summary, f figure, decimals int, notes *notes) [3]string {
	marks := notes.marks(cell, f.why(cell))
	if cell.OK == 0 {
		return [3]string{unmeasuredText(cell), "", marks}
	}
	sample := f.sample(cell)
	if sample == nil {
		return [3]string{missing, "", marks}
	}
	ratio := ""
	if r := f.ratio(cell); r != nil {
		ratio = percentText(r, 1)
	}
	return [3]string{f.unit.text(sample, decimals), ratio, marks}
}

// join pads parts to the widths of their column: figures and ratios to the
// right, marks to the left. Of a cell without a ratio the figure stands where
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

// failures lists what failed, once for each reason.
func failures(summaries []verdict.Summary) *section {
	return unmeasured("Failed", summaries, func(s verdict.Summary) []results.Record { return s.Failures })
}

// prunings lists what was not started, once for each reason.
func prunings(summaries []verdict.Summary) *section {
	return unmeasured("Pruned", summaries, func(s verdict.Summary) []results.Record { return s.Prunings })
}

func unmeasured(title string, summaries []verdict.Summary, of func(verdict.Summary) []results.Record) *section {
	s := &section{title: title}
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
				s.items[i].name += "; " + show.Line(name)
				continue
			}
			at[key] = len(s.items)
			s.items = append(s.items, item{name: show.Line(name), text: show.Clean(reason), log: show.LogEnd(record.LogTail)})
		}
	}
	if len(s.items) == 0 {
		return nil
	}
	return s
}

// errorList lists what the errors among the answers were.
func errorList(records []results.Record) *section {
	s := &section{title: "Errors among the answers"}
	for _, record := range records {
		if record.Errors == 0 || record.Status != results.StatusOK {
			continue
		}
		name := fmt.Sprintf("%s, repeat %d", record.Cell.Name, record.Cell.Repeat)
		var kinds []string
		for _, kind := range sortedKeys(record.ErrorKinds) {
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
		s.items = append(s.items, item{name: show.Line(name), text: show.Line(text)})
	}
	if len(s.items) == 0 {
		return nil
	}
	slices.SortStableFunc(s.items, func(a, b item) int { return cmp.Compare(a.name, b.name) })
	return s
}

// missingCells says that a run is not complete.
func missingCells(run results.Run, records []results.Record) *section {
	counts := run.Count(records)
	if counts.Missing() == 0 {
		return nil
	}
	return &section{title: "Not complete", notes: []string{
		fmt.Sprintf("%d of %s have no record: the run was interrupted, or is still under way.",
			counts.Missing(), show.Plural(counts.Planned, "planned cell"))}}
}

// repeatsMade says how the repeats of a plan with until ended.
func repeatsMade(run results.Run, records []results.Record) *section {
	s := section{title: "Repeats"}
	for _, end := range results.NewRepeats(run.Plan, records).Ends() {
		s.notes = append(s.notes, show.Line(end.Sentence(run.Plan))+".")
	}
	if len(s.notes) == 0 {
		return nil
	}
	return &s
}

// timeSpent says what share of the wall time was spent measuring, and what the
// rest was spent on.
func timeSpent(run results.Run) *section {
	fraction := run.MeasuringFraction()
	if fraction == nil {
		return nil
	}
	total := run.SpentTotal()
	phases := sortedKeys(run.Spent)
	slices.SortStableFunc(phases, func(a, b string) int { return cmp.Compare(run.Spent[b], run.Spent[a]) })
	var rest []string
	for _, phase := range phases {
		if spent := run.Spent[phase]; phase != results.PhaseMeasure && spent > 0 {
			rest = append(rest, fmt.Sprintf("%s %s (%.1f%%)", show.Line(phase), wallTime(spent), 100*spent/total))
		}
	}
	text := fmt.Sprintf("%.1f%% of %s was spent measuring", 100**fraction, wallTime(total))
	if len(rest) > 0 {
		text += "; the rest on: " + strings.Join(rest, ", ")
	}
	return &section{title: "Where the time went", notes: []string{text + "."}}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
