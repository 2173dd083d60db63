package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// WriteSummary is short enough for a comment on a pull request or the summary
// of a job: the verdict, what is wrong, and the conditions worth having.
func WriteSummary(w io.Writer, run results.Run, records []results.Record) error {
	counts := run.Count(records)
	ended := words.StandingOf(run, &counts)
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**: %s, run %s: %s ok\n", escape(show.Line(ended.Word)), escape(show.Line(run.Scenario)), escape(show.Line(run.ID)), words.Measured(&counts))
	if run.Imported != "" {
		fmt.Fprintf(&b, "\nImported from %s.\n", escape(show.Line(run.Imported)))
	}
	if ended.By != "" {
		fmt.Fprintf(&b, "\n%s\n", escape(show.Line(words.Capital(ended.By)+".")))
	}
	if len(run.Checks) > 0 {
		fmt.Fprintf(&b, "\n%s\n", escape(words.Checks(run.Checks)))
	}
	writeBroken(&b, run.Checks)
	summaries := verdict.SummariseRun(run, records)
	search := words.SearchOf(run, records)
	if len(summaries) > 0 && search == nil {
		b.WriteByte('\n')
		writeAnswer(&b, slices.DeleteFunc(Answer(run, summaries, nil), func(f Fact) bool { return f.Label == "Verdict" || f.Label == "Next" }))
	}
	writeUnmeasured(&b, verdict.Unmeasured(records), results.StatusFailed, func(s verdict.Summary) []results.Record { return s.Failures })
	writeUnmeasured(&b, summaries, results.StatusPruned, func(s verdict.Summary) []results.Record { return s.Prunings })
	if search != nil {
		b.WriteByte('\n')
		for _, a := range search.Answers {
			fmt.Fprintf(&b, "- %s: **%s**, %s\n", escape(show.Line(a.Load)), escape(show.Line(cmp.Or(a.Topology, "no topology"))), escape(show.Line(a.Why)))
		}
	}
	if len(summaries) > 0 && search == nil {
		notes := NewNotes(summaries)
		s := Conclusion(verdict.Conclude(summaries, run.Plan), notes)
		if s.Table != nil {
			more := max(0, len(s.Table.Rows)-summaryRows)
			s.Table.Rows = s.Table.Rows[:len(s.Table.Rows)-more]
			fmt.Fprintf(&b, "\n%s\n\n%s\n", escape(s.Title), markdownTable(*s.Table))
			if more > 0 {
				fmt.Fprintf(&b, "\nand %d more\n", more)
			}
			if legend := notes.Legend(); len(legend) > 0 { // what the marks in the table mean
				b.WriteByte('\n')
				for i, line := range legend {
					legend[i] = escape(line)
				}
				writeList(&b, legend, "")
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeUnmeasured lists the first repeats of a status that is not ok.
func writeUnmeasured(b *strings.Builder, summaries []verdict.Summary, status string, of func(verdict.Summary) []results.Record) {
	var lines []string
	for _, s := range summaries {
		for _, r := range of(s) {
			reason, _, _ := strings.Cut(r.Reason, "\n")
			lines = append(lines, fmt.Sprintf("%s, repeat %d, %s: %s", escape(show.Line(s.Name())), r.Cell.Repeat, status, escape(show.Line(show.Shorten(reason, show.LineWidth)))))
		}
	}
	writeList(b, lines, " "+status)
}

// summaryRows is how many rows a list or table of a summary has at most: with four of
// them it is one screen.
const summaryRows = 5

// writeList lists as many lines as a summary has room for, and says how many more
// there are.
func writeList(b *strings.Builder, lines []string, kind string) {
	for _, line := range lines[:min(len(lines), summaryRows)] {
		fmt.Fprintf(b, "- %s\n", line)
	}
	if more := len(lines) - summaryRows; more > 0 {
		fmt.Fprintf(b, "- and %d more%s\n", more, kind)
	}
}

// CheckList lists every check that says something; of those that hold there is
// only the number.
func CheckList(checks []results.Check) *Section {
	if len(checks) == 0 {
		return nil
	}
	s := &Section{Title: "Thresholds", Text: []string{words.Checks(checks)}}
	for _, broken := range []bool{true, false} { // the broken ones first
		for _, c := range checks {
			if c.Broken() == broken && (c.Status != results.CheckOK || c.Cells > 0) {
				s.Items = append(s.Items, Item{Name: show.Line(c.Threshold + ", " + c.Cell), Text: show.Line(c.Status + ": " + words.Check(c))})
			}
		}
	}
	return s
}

// writeBroken lists the broken checks in Markdown, and then those that are undecided,
// no more than a summary has room for.
func writeBroken(b *strings.Builder, checks []results.Check) {
	broken := slices.DeleteFunc(slices.Clone(checks), func(c results.Check) bool { return !c.Broken() })
	// Measured cells first: a failed cell breaks every threshold.
	slices.SortStableFunc(broken, func(a, b results.Check) int { return cmp.Compare(len(a.Missing), len(b.Missing)) })
	broken = append(broken, verdict.Undecided(checks)...)
	var lines []string
	for _, c := range broken {
		lines = append(lines, fmt.Sprintf("**%s** at %s: %s", escape(show.Line(c.Threshold)), escape(show.Line(c.Cell)), escape(show.Line(words.Check(c)))))
	}
	if len(lines) > 0 {
		b.WriteByte('\n')
	}
	writeList(b, lines, "")
}
