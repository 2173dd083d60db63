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
)

// ComparisonFormats are the formats that WriteComparison knows.
func ComparisonFormats() []string {
	return []string{"table", "markdown", "summary", "json", "csv", "junit", "html"}
}

// WriteComparison writes what became of a run's cells, and what thresholds say
// about them.
func WriteComparison(w io.Writer, format string, c results.Comparison, checks []results.Check, opts Options) error {
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

func newComparisonDocument(c results.Comparison, checks []results.Check) document {
	doc := document{title: cleanLine(fmt.Sprintf("%s against %s", c.Head.ID, c.Base.ID))}
	for _, run := range []struct {
		label string
		run   results.Run
	}{{"base", c.Base}, {"head", c.Head}} {
		text := fmt.Sprintf("%s, run %s, started %s", run.run.Scenario, run.run.ID, run.run.Started.UTC().Format("2006-01-02 15:04:05 UTC"))
		if run.run.Imported != "" {
			text += ", imported from " + run.run.Imported
		}
		doc.facts = append(doc.facts, fact{run.label, cleanLine(text)})
	}
	for _, d := range c.Disparities {
		doc.facts = append(doc.facts, fact{"differ in", cleanLine(d.String())})
	}
	for i := range c.Metrics {
		doc.sections = appendIf(doc.sections, changes(c, i))
	}
	doc.sections = appendIf(doc.sections, cellStates(c))
	doc.sections = appendIf(doc.sections, checkList(checks))
	verdict := section{title: "Verdict"}
	for _, line := range verdictLines(c, checks) {
		verdict.notes = append(verdict.notes, cleanLine(line))
	}
	doc.sections = append(doc.sections, verdict)
	return doc
}

// changes is the table of one metric, like benchstat's.
func changes(c results.Comparison, metric int) *section {
	m := c.Metrics[metric]
	s := &section{title: capital(m.Title), table: &grid{labels: 1, head: []string{"cell", "base", "head", "change", "95% interval", "p", "repeats"}}}
	var samples []*results.Sample
	var rows []results.Change
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
	unable, unshown := 0, 0
	for i, change := range rows {
		row := []entry{
			{text: cleanLine(names[i])}, {text: u.text(change.Base, decimals)}, {text: u.text(change.Head, decimals)},
			{text: missing}, {text: missing}, {text: missing}, {text: missing},
		}
		if change.Base != nil && change.Head != nil {
			row[3].text, row[4].text = shownText(change), intervalText(change)
			row[5].text = fmt.Sprintf("%.3f", change.Difference.P)
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
	if unshown > 0 {
		s.notes = append(s.notes, fmt.Sprintf("~ %s: no difference that so many repeats could show; ≈ is how many of each would be likely to show one of the size that was seen.", results.Plural(unshown, "cell")))
	}
	if unable > 0 {
		s.notes = append(s.notes, fmt.Sprintf("~ %s: so few repeats cannot show any difference; it takes %d of each.", results.Plural(unable, "cell"), results.RepeatsForDifference()))
	}
	return s
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// shownText is a change that is shown, or ~.
func shownText(c results.Change) string {
	if !c.Difference.Shown {
		return "~"
	}
	return fmt.Sprintf("%+.1f%%", 100*c.Difference.Change)
}

func intervalText(c results.Change) string {
	if c.Interval == nil {
		return missing
	}
	return fmt.Sprintf("%+.1f%% to %+.1f%%", 100*c.Interval.Low, 100*c.Interval.High)
}

// cellStates lists the cells that are not simply in both runs.
func cellStates(c results.Comparison) *section {
	s := &section{title: "Cells that changed their state"}
	for _, cell := range c.Cells {
		if cell.State == results.CellBoth {
			continue
		}
		s.items = append(s.items, item{name: cleanLine(cell.Name), text: Clean(stateText(cell))})
	}
	if len(s.items) == 0 {
		return nil
	}
	return s
}

// stateText is a cell's state, and why the head failed.
func stateText(cell results.CellComparison) string {
	if cell.Head != nil && len(cell.Head.Failures) > 0 {
		return cell.State + ": " + cell.Head.Failures[0].Reason
	}
	if cell.Head != nil && len(cell.Head.Prunings) > 0 {
		return cell.State + ": " + cell.Head.Prunings[0].Reason
	}
	return cell.State
}

// verdictLines say what a comparison found, the most important first.
func verdictLines(c results.Comparison, checks []results.Check) []string {
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
	var lines []string
	if len(checks) > 0 {
		lines = append(lines, checksText(checks))
	}
	for _, state := range []string{results.CellNewlyFailing, results.CellNewlyPruned, results.CellMissing, results.CellFailing, results.CellPruned, results.CellNewlyOK, results.CellNew, results.CellGone, results.CellChanged} {
		if n := counts[state]; n > 0 {
			lines = append(lines, results.Plural(n, "cell")+" "+state+".")
		}
	}
	lines = append(lines, fmt.Sprintf("Of %s ok in both runs, shown to be worse in a figure: %d; better: %d.",
		results.Plural(counts[results.CellBoth], "cell"), len(worse), len(better)))
	return lines
}

// writeComparisonSummary is short enough for a comment on a pull request.
func writeComparisonSummary(w io.Writer, c results.Comparison, checks []results.Check) error {
	var b strings.Builder
	failed := slices.ContainsFunc(checks, results.Check.Broken) || c.Regressed()
	fmt.Fprintf(&b, "**%s**: %s, run %s against %s\n\n", passedOrFailed(!failed), escape(cleanLine(c.Head.Scenario)), escape(cleanLine(c.Head.ID)), escape(cleanLine(c.Base.ID)))
	for _, line := range verdictLines(c, checks) {
		fmt.Fprintf(&b, "- %s\n", escape(cleanLine(line)))
	}
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
			decimals := u.decimals([]*results.Sample{change.Base, change.Head})
			g.rows = append(g.rows, []entry{{text: cleanLine(cell.Name)}, {text: change.Metric.Title},
				{text: u.text(change.Base, decimals)}, {text: u.text(change.Head, decimals)}, {text: shownText(change)}})
		}
	}
	if len(g.rows) > 0 {
		fmt.Fprintf(&b, "\n%s\n", markdownTable(g))
	}
	if more > 0 {
		fmt.Fprintf(&b, "\nand %s more.\n", results.Plural(more, "change"))
	}
	_, err := io.WriteString(w, b.String())
	return err
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
	Disparities []results.Disparity  `json:"disparities"`
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
	Changes []jsonChange `json:"changes"`
}

// A jsonChange has shares: 0.05 is 5% more.
type jsonChange struct {
	Metric   string        `json:"metric"`
	Base     *jsonSample   `json:"base"`
	Head     *jsonSample   `json:"head"`
	Change   *float64      `json:"change"`
	Interval *jsonInterval `json:"interval"`
	P        *float64      `json:"p"`
	Shown    bool          `json:"shown"`
	Able     bool          `json:"able"` // so many repeats could have shown a difference
	Needs    int           `json:"needs_repeats,omitempty"`
}

func newJSONComparison(c results.Comparison, checks []results.Check) jsonComparison {
	compared := func(r results.Run) jsonCompared {
		return jsonCompared{r.ID, r.Scenario, r.Started.UTC().Format("2006-01-02T15:04:05.999999999Z07:00")}
	}
	report := jsonComparison{
		Schema: schema, Base: compared(c.Base), Head: compared(c.Head),
		Disparities: slices.Concat([]results.Disparity{}, c.Disparities), Cells: []jsonCellComparison{},
		Checks: slices.Concat([]results.Check{}, checks),
	}
	for _, cell := range c.Cells {
		one := jsonCellComparison{Cell: cell.Name, State: cell.State, Changes: []jsonChange{}}
		for _, change := range cell.Changes {
			made := jsonChange{Metric: change.Metric.Name, Base: newJSONSample(change.Base), Head: newJSONSample(change.Head)}
			if change.Base != nil && change.Head != nil {
				d := change.Difference
				made.Change, made.P, made.Shown, made.Able, made.Needs = &d.Change, &d.P, d.Shown, d.Able, change.Needs
			}
			if change.Interval != nil {
				made.Interval = &jsonInterval{change.Interval.Low, change.Interval.High, change.Interval.Confidence}
			}
			one.Changes = append(one.Changes, made)
		}
		report.Cells = append(report.Cells, one)
	}
	return report
}

// writeComparisonCSV writes a row for each cell and metric, and one for a cell
// that has none.
func writeComparisonCSV(w io.Writer, c results.Comparison) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"cell", "state", "metric", "unit", "base_median", "head_median", "change", "interval_low", "interval_high", "p", "base_repeats", "head_repeats", "shown"}); err != nil {
		return err
	}
	for _, cell := range c.Cells {
		name := neutral(cleanLine(cell.Name))
		if len(cell.Changes) == 0 {
			if err := out.Write([]string{name, cell.State, "", "", "", "", "", "", "", "", "", "", ""}); err != nil {
				return err
			}
		}
		for _, change := range cell.Changes {
			row := []string{name, cell.State, change.Metric.Name, string(change.Metric.Unit), "", "", "", "", "", "", "0", "0", "false"}
			if change.Base != nil {
				row[4], row[10] = float(change.Base.Median), strconv.Itoa(change.Base.N)
			}
			if change.Head != nil {
				row[5], row[11] = float(change.Head.Median), strconv.Itoa(change.Head.N)
			}
			if change.Base != nil && change.Head != nil {
				row[6], row[9], row[12] = float(change.Difference.Change), float(change.Difference.P), strconv.FormatBool(change.Difference.Shown)
			}
			if change.Interval != nil {
				row[7], row[8] = float(change.Interval.Low), float(change.Interval.High)
			}
			if err := out.Write(row); err != nil {
				return err
			}
		}
	}
	out.Flush()
	return out.Error()
}
