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
	summaries := verdict.Summarise(records)
	writeUnmeasured(&b, summaries, results.StatusFailed, func(s verdict.Summary) []results.Record { return s.Failures })
	writeUnmeasured(&b, summaries, results.StatusPruned, func(s verdict.Summary) []results.Record { return s.Prunings })
	if len(summaries) > 0 {
		s := Conclusion(verdict.Conclude(summaries, run.Plan.Baseline), NewNotes(summaries))
		if s.Table != nil {
			more := max(0, len(s.Table.Rows)-summaryRows)
			s.Table.Rows = s.Table.Rows[:len(s.Table.Rows)-more]
			fmt.Fprintf(&b, "\n%s\n\n%s\n", escape(s.Title), markdownTable(*s.Table))
			if more > 0 {
				fmt.Fprintf(&b, "\nand %d more\n", more)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeUnmeasured lists the first repeats of a status that is not ok.
func writeUnmeasured(b *strings.Builder, summaries []verdict.Summary, status string, of func(verdict.Summary) []results.Record) {
	found := 0
	for _, s := range summaries {
		for _, r := range of(s) {
			if found++; found <= summaryRows {
				reason, _, _ := strings.Cut(r.Reason, "\n")
				fmt.Fprintf(b, "- %s, repeat %d, %s: %s\n", escape(show.Line(s.Name())), r.Cell.Repeat, status, escape(show.Line(show.Shorten(reason, show.LineWidth))))
			}
		}
	}
	if found > summaryRows {
		fmt.Fprintf(b, "- and %d more %s\n", found-summaryRows, status)
	}
}

// CheckList lists every check that says something; of those that hold there is
// only the number.
func CheckList(checks []results.Check) *Section {
	if len(checks) == 0 {
		return nil
	}
	s := &Section{Title: "Thresholds", Text: []string{words.Checks(checks)}}
	for _, c := range sortedChecks(checks) {
		if c.Status != results.CheckOK {
			s.Items = append(s.Items, Item{Name: show.Line(c.Threshold + ", " + c.Cell), Text: show.Line(c.Status + ": " + words.Check(c))})
		}
	}
	return s
}

// sortedChecks has the broken ones first.
func sortedChecks(checks []results.Check) []results.Check {
	sorted := slices.Clone(checks)
	slices.SortStableFunc(sorted, func(a, b results.Check) int {
		switch {
		case a.Broken() == b.Broken():
			return 0
		case a.Broken():
			return -1
		}
		return 1
	})
	return sorted
}

// writeBroken lists the broken checks in Markdown, no more than a summary has
// room for.
func writeBroken(b *strings.Builder, checks []results.Check) {
	// Measured cells first: a failed cell breaks every threshold.
	checks = slices.Clone(checks)
	slices.SortStableFunc(checks, func(a, b results.Check) int { return cmp.Compare(len(a.Missing), len(b.Missing)) })
	broken := slices.DeleteFunc(slices.Clone(checks), func(c results.Check) bool { return !c.Broken() })
	if len(broken) == 0 {
		return
	}
	b.WriteByte('\n')
	for i, c := range broken {
		if i == summaryRows {
			fmt.Fprintf(b, "- and %d more\n", len(broken)-i)
			return
		}
		fmt.Fprintf(b, "- **%s** at %s: %s\n", escape(show.Line(c.Threshold)), escape(show.Line(c.Cell)), escape(show.Line(words.Check(c))))
	}
}
