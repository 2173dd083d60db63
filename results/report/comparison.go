package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
)

// ComparisonFormats are the formats that WriteComparison knows.
func ComparisonFormats() []string {
	return []string{"table", "markdown", "summary", "json", "csv", "junit", "html"}
}

// WriteComparison writes what became of a run's cells, and what thresholds say
// about them.
func WriteComparison(w io.Writer, format string, c verdict.Comparison, checks []results.Check, opts Options) error {
	if opts.Width <= 0 {
		opts.Width = DefaultWidth
	}
	switch format {
	case "table":
		return writeTerminalDocument(w, newComparisonDocument(c, checks), opts)
	case "markdown":
		return writeDocument(w, newComparisonDocument(c, checks))
	case "summary":
		return writeComparisonSummary(w, c, checks)
	case "json":
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		return out.Encode(newJSONComparison(c, checks))
	case "csv":
		return writeComparisonCSV(w, c)
	case "junit":
		return writeComparisonJUnit(w, c, checks)
	case "html":
		return WriteComparisonPage(w, c, checks, PageOptions{}, nil)
	}
	return fmt.Errorf("format %q does not exist; there are %s", format, strings.Join(ComparisonFormats(), ", "))
}

func newComparisonDocument(c verdict.Comparison, checks []results.Check) document {
	doc := document{title: show.Line(fmt.Sprintf("%s against %s", c.Head.ID, c.Base.ID))}
	for _, run := range []struct {
		label string
		run   results.Run
	}{{"base", c.Base}, {"head", c.Head}} {
		text := fmt.Sprintf("%s, run %s, started %s", run.run.Scenario, run.run.ID, run.run.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
		if run.run.Imported != "" {
			text += ", imported from " + run.run.Imported
		}
		doc.facts = append(doc.facts, fact{run.label, show.Line(text)})
	}
	for _, d := range c.Disparities {
		doc.facts = append(doc.facts, fact{"differ in", show.Line(d.String())})
	}
	for _, n := range c.Notes {
		doc.facts = append(doc.facts, fact{"note", "another " + show.Line(n.String())})
	}
	for i := range c.Metrics {
		doc.sections = appendIf(doc.sections, changes(c, i))
	}
	doc.sections = appendIf(doc.sections, cellStates(c))
	doc.sections = appendIf(doc.sections, comparisonFlags(c))
	doc.sections = appendIf(doc.sections, checkList(checks))
	verdict := section{title: "Verdict"}
	for _, line := range verdictLines(c, checks) {
		verdict.notes = append(verdict.notes, show.Line(line))
	}
	doc.sections = append(doc.sections, verdict)
	return doc
}

// changes is the table of one metric, like benchstat's.
func changes(c verdict.Comparison, metric int) *section {
	m := c.Metrics[metric]
	s := &section{title: capital(m.Title), table: &grid{labels: 1, head: []string{"cell", "base", "head", "change", "95% interval", "p", "repeats"}}}
	compared := 0
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
	u := unitOf(m.Unit)
	decimals := u.decimals(samples)
	unable, unshown, erring := 0, 0, 0
	for i, change := range rows {
		row := []entry{
			{text: show.Line(names[i])}, {text: u.text(change.Base, decimals)}, {text: u.text(change.Head, decimals)},
			{text: missing}, {text: missing}, {text: missing}, {text: missing},
		}
		switch {
		case change.Erring:
			erring++
		case change.Base != nil && change.Head != nil:
			row[3].text, row[4].text = shownText(change), intervalText(change)
			row[5].text = fmt.Sprintf("%.3f", change.Corrected)
			compared = change.Compared
			row[6].text = strconv.Itoa(change.Difference.N1) + "+" + strconv.Itoa(change.Difference.N2)
			switch {
			case change.Worse():
				row[3].tone = bad
			case change.Better():
				row[3].tone = best
			case !change.Difference.Able:
				unable++
			default:
				unshown++
			}
			if !change.Difference.Shown && change.Difference.Able && change.Needs > 0 && change.Needs < 1000 {
				row[6].text += fmt.Sprintf(" (≈%d)", change.Needs)
			}
		}
		s.table.rows = append(s.table.rows, row)
	}
	if erring > 0 {
		s.notes = append(s.notes, fmt.Sprintf("%s %s: a side has no repeat without errors among its answers. An error is often a fast answer, so nothing is compared.", missing, show.Plural(erring, "cell")))
	}
	if unshown > 0 {
		s.notes = append(s.notes, fmt.Sprintf("~ %s: no difference that so many repeats could show; ≈ is how many of each would be likely to show one of the size that was seen.", show.Plural(unshown, "cell")))
	}
	if unable > 0 {
		s.notes = append(s.notes, fmt.Sprintf("~ %s: so few repeats cannot show any difference; it takes %d of each.", show.Plural(unable, "cell"), stats.RepeatsForDifference(compared)))
	}
	if compared > 1 {
		s.notes = append(s.notes, correctedText(compared))
	}
	return s
}

// correctedText says that p-values are corrected for the number of cells.
func correctedText(compared int) string {
	return fmt.Sprintf("%s are compared, and p is corrected for that (Holm): where nothing changed, the chance that any of them is shown is %.0f%% at most. Each interval is its cell's alone, and not corrected.",
		show.Plural(compared, "cell"), 100*(1-stats.Confidence))
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// shownText is a change that is shown, or ~.
func shownText(c verdict.Change) string {
	if !c.Difference.Shown {
		return "~"
	}
	return fmt.Sprintf("%+.1f%%", 100*c.Difference.Change)
}

func intervalText(c verdict.Change) string {
	if c.Interval == nil {
		return missing
	}
	return fmt.Sprintf("%+.1f%% to %+.1f%%", 100*c.Interval.Low, 100*c.Interval.High)
}

// cellStates lists the cells that are not simply ok in both runs.
func cellStates(c verdict.Comparison) *section {
	s := &section{title: "Cells that changed their state, failed or have errors"}
	for _, cell := range c.Cells {
		if unremarkable(cell) {
			continue
		}
		s.items = append(s.items, item{name: show.Line(cell.Name), text: show.Clean(stateText(cell))})
	}
	if len(s.items) == 0 {
		return nil
	}
	return s
}

// unremarkable reports whether there is nothing to say about a cell but its figures.
func unremarkable(cell verdict.CellComparison) bool {
	return cell.State == verdict.CellBoth && cell.Base.Errors == 0 && cell.Head.Errors == 0
}

// stateText is a cell's state, how many repeats and answers were not as
// expected on both sides, and why the head failed.
func stateText(cell verdict.CellComparison) string {
	text := cell.State
	if text == verdict.CellBoth {
		text = "ok in both"
	}
	if cell.Base != nil && cell.Head != nil && !unremarkable(cell) {
		text += fmt.Sprintf(" (repeats ok: %d of %d, then %d of %d; errors: %d, then %d)",
			cell.Base.OK, cell.Base.Repeats(), cell.Head.OK, cell.Head.Repeats(), cell.Base.Errors, cell.Head.Errors)
	}
	if cell.Head != nil && len(cell.Head.Failures) > 0 {
		return text + ": " + cell.Head.Failures[0].Reason
	}
	if cell.Head != nil && len(cell.Head.Prunings) > 0 {
		return text + ": " + cell.Head.Prunings[0].Reason
	}
	return text
}

// verdictLines say what a comparison found, the most important first.
func verdictLines(c verdict.Comparison, checks []results.Check) []string {
	worse, better := map[string]bool{}, map[string]bool{}
	for _, cell := range c.Cells {
		for _, change := range cell.Changes {
			if change.Worse() {
				worse[cell.Name] = true
			}
			if change.Better() {
				better[cell.Name] = true
			}
		}
	}
	counts := c.Counts()
	erring := 0
	for _, cell := range c.Cells {
		if slices.ContainsFunc(cell.Changes, func(change verdict.Change) bool { return change.Erring }) {
			erring++
		}
	}
	var lines []string
	if len(checks) > 0 {
		lines = append(lines, checksText(checks))
	}
	for _, state := range []string{verdict.CellNewlyFailing, verdict.CellNewlyErring, verdict.CellNewlyPruned, verdict.CellMissing, verdict.CellFailing, verdict.CellPruned, verdict.CellNewlyOK, verdict.CellNew, verdict.CellGone, verdict.CellChanged} {
		if n := counts[state]; n > 0 {
			lines = append(lines, show.Plural(n, "cell")+" "+state+".")
		}
	}
	if erring > 0 {
		lines = append(lines, show.Plural(erring, "cell")+" not compared: a side has no repeat without errors.")
	}
	lines = append(lines, fmt.Sprintf("Of %s ok in both runs, shown to be worse in a figure: %d; better: %d.",
		show.Plural(counts[verdict.CellBoth], "cell"), len(worse), len(better)))
	able, compared := false, 0
	for _, cell := range c.Cells {
		for _, change := range cell.Changes {
			able = able || change.Difference.Able
			compared = max(compared, change.Compared)
		}
	}
	if compared > 0 && !able {
		lines = append(lines, fmt.Sprintf("No change could be shown, whatever it is: so few repeats are not enough for %s, it takes %d of each.",
			show.Plural(compared, "cell"), stats.RepeatsForDifference(compared)))
	}
	return append(lines, comparisonDoubts(c)...)
}

// writeComparisonSummary is short enough for a comment on a pull request.
func writeComparisonSummary(w io.Writer, c verdict.Comparison, checks []results.Check) error {
	var b strings.Builder
	failed := slices.ContainsFunc(checks, results.Check.Broken) || c.Regressed()
	fmt.Fprintf(&b, "**%s**: %s, run %s against %s\n\n", passedOrFailed(!failed), escape(show.Line(c.Head.Scenario)), escape(show.Line(c.Head.ID)), escape(show.Line(c.Base.ID)))
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "- Another %s.\n", escape(show.Line(n.String())))
	}
	for _, line := range verdictLines(c, checks) {
		fmt.Fprintf(&b, "- %s\n", escape(show.Line(line)))
	}
	writeRegressed(&b, c)
	writeBroken(&b, checks)
	g := grid{labels: 2, head: []string{"cell", "figure", "base", "head", "change"}}
	more := 0
	for _, cell := range c.Cells {
		for _, change := range cell.Changes {
			if !change.Difference.Shown {
				continue
			}
			if len(g.rows) == summaryRows {
				more++
				continue
			}
			u := unitOf(change.Metric.Unit)
			decimals := u.decimals([]*stats.Sample{change.Base, change.Head})
			g.rows = append(g.rows, []entry{{text: show.Line(cell.Name)}, {text: change.Metric.Title},
				{text: u.text(change.Base, decimals)}, {text: u.text(change.Head, decimals)}, {text: shownText(change)}})
		}
	}
	if len(g.rows) > 0 {
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
	regressed := slices.DeleteFunc(slices.Clone(c.Cells), func(cell verdict.CellComparison) bool { return !verdict.CellRegressed(cell.State) })
	if len(regressed) > 0 {
		b.WriteByte('\n')
	}
	for i, cell := range regressed {
		if i == summaryRows {
			fmt.Fprintf(b, "- and %d more\n", len(regressed)-i)
			return
		}
		fmt.Fprintf(b, "- %s: %s\n", escape(show.Line(cell.Name)), escape(show.Line(stateText(cell))))
	}
}

// summaryRows is how many rows a summary has at most.
const summaryRows = 10

func passedOrFailed(passed bool) string {
	if passed {
		return "passed"
	}
	return "failed"
}

type jsonComparison struct {
	Schema      int                  `json:"schema"`
	Base        jsonCompared         `json:"base"`
	Head        jsonCompared         `json:"head"`
	Disparities []verdict.Disparity  `json:"disparities"`
	Notes       []verdict.Disparity  `json:"notes"` // of the machines, that are no reason not to compare
	Cells       []jsonCellComparison `json:"cells"`
	Checks      []results.Check      `json:"checks"`
}

type jsonCompared struct {
	ID       string `json:"id"`
	Scenario string `json:"scenario"`
	Started  string `json:"started"`
}

type jsonCellComparison struct {
	Cell    string       `json:"cell"`
	State   string       `json:"state"`
	Base    *jsonSide    `json:"base"` // null where the run does not have the cell
	Head    *jsonSide    `json:"head"`
	Changes []jsonChange `json:"changes"`
}

// A jsonSide is what one run made of a cell: repeats by status, and answers
// that were not as expected over all of them.
type jsonSide struct {
	OK     int                 `json:"ok"`
	Failed int                 `json:"failed"`
	Pruned int                 `json:"pruned"`
	Errors int                 `json:"errors"`
	Flags  []string            `json:"flags"`
	Doubts map[string][]string `json:"doubts,omitempty"` // the flags that void a metric, by metric
}

func newJSONSide(s *verdict.Summary, metrics []results.Metric) *jsonSide {
	if s == nil {
		return nil
	}
	return &jsonSide{s.OK, s.Failed, s.Pruned, s.Errors, slices.Concat([]string{}, s.Flags), doubtsOf(*s, metrics...)}
}

// doubtsOf are the flags of a cell that void a metric, by metric.
func doubtsOf(s verdict.Summary, metrics ...results.Metric) map[string][]string {
	doubts := map[string][]string{}
	for _, m := range metrics {
		if flags := s.Doubts(m); len(flags) > 0 {
			doubts[m.Name] = flags
		}
	}
	return doubts
}

// A jsonChange has shares: 0.05 is 5% more.
type jsonChange struct {
	Metric   string        `json:"metric"`
	Base     *jsonSample   `json:"base"`
	Head     *jsonSample   `json:"head"`
	Change   *float64      `json:"change"`
	Interval *jsonInterval `json:"interval"`
	P        *float64      `json:"p"`
	// Corrected is p after Holm's correction for the Compared cells; Shown and
	// Able are of it.
	Corrected *float64 `json:"p_corrected"`
	Compared  int      `json:"compared,omitempty"`
	Shown     bool     `json:"shown"`
	Able      bool     `json:"able"` // so many repeats could have shown a difference
	Needs     int      `json:"needs_repeats,omitempty"`
	Erring    bool     `json:"erring,omitempty"` // a side has no repeat without errors: nothing is tested
}

func newJSONComparison(c verdict.Comparison, checks []results.Check) jsonComparison {
	compared := func(r results.Run) jsonCompared {
		return jsonCompared{r.ID, r.Scenario, r.Started.UTC().Format("2006-01-02T15:04:05.999999999Z07:00")}
	}
	report := jsonComparison{
		Schema: schema, Base: compared(c.Base), Head: compared(c.Head),
		Disparities: slices.Concat([]verdict.Disparity{}, c.Disparities),
		Notes:       slices.Concat([]verdict.Disparity{}, c.Notes), Cells: []jsonCellComparison{},
		Checks: slices.Concat([]results.Check{}, checks),
	}
	for _, cell := range c.Cells {
		one := jsonCellComparison{Cell: cell.Name, State: cell.State, Base: newJSONSide(cell.Base, c.Metrics), Head: newJSONSide(cell.Head, c.Metrics), Changes: []jsonChange{}}
		for _, change := range cell.Changes {
			made := jsonChange{Metric: change.Metric.Name, Base: newJSONSample(change.Base), Head: newJSONSample(change.Head), Erring: change.Erring}
			if change.Base != nil && change.Head != nil && !change.Erring {
				d := change.Difference
				made.Change, made.P, made.Shown, made.Able, made.Needs = &d.Change, &d.P, d.Shown, d.Able, change.Needs
				made.Corrected, made.Compared = &change.Corrected, change.Compared
			}
			made.Interval = newJSONInterval(change.Interval)
			one.Changes = append(one.Changes, made)
		}
		report.Cells = append(report.Cells, one)
	}
	return report
}

// writeComparisonCSV writes a row for each cell and metric, and one for a cell
// that has none.
func writeComparisonCSV(w io.Writer, c verdict.Comparison) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"cell", "state", "metric", "unit", "base_median", "head_median", "change", "interval_low", "interval_high", "p", "base_repeats", "head_repeats", "shown", "p_corrected", "compared",
		"base_ok", "base_not_ok", "base_errors", "base_flags", "head_ok", "head_not_ok", "head_errors", "head_flags"}); err != nil {
		return err
	}
	for _, cell := range c.Cells {
		name := neutral(show.Line(cell.Name))
		sides := append(sideFields(cell.Base), sideFields(cell.Head)...)
		if len(cell.Changes) == 0 {
			if err := out.Write(append([]string{name, cell.State, "", "", "", "", "", "", "", "", "", "", "", "", ""}, sides...)); err != nil {
				return err
			}
		}
		for _, change := range cell.Changes {
			row := []string{name, cell.State, change.Metric.Name, string(change.Metric.Unit), "", "", "", "", "", "", "0", "0", "false", "", ""}
			if change.Base != nil {
				row[4], row[10] = float(change.Base.Median), strconv.Itoa(change.Base.N)
			}
			if change.Head != nil {
				row[5], row[11] = float(change.Head.Median), strconv.Itoa(change.Head.N)
			}
			if change.Base != nil && change.Head != nil && !change.Erring {
				row[6], row[9], row[12] = float(change.Difference.Change), float(change.Difference.P), strconv.FormatBool(change.Difference.Shown)
				row[13], row[14] = float(change.Corrected), strconv.Itoa(change.Compared)
			}
			if change.Interval != nil {
				row[7], row[8] = float(change.Interval.Low), float(change.Interval.High)
			}
			if err := out.Write(append(row, sides...)); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}

// sideFields are the repeats that are ok and those that are not, the errors
// over all of them and the flags; empty where the run does not have the cell.
func sideFields(s *verdict.Summary) []string {
	if s == nil {
		return []string{"", "", "", ""}
	}
	return []string{strconv.Itoa(s.OK), strconv.Itoa(s.Repeats() - s.OK), strconv.Itoa(s.Errors), neutral(show.Line(strings.Join(s.Flags, " ")))}
}
