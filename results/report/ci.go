package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// writeSummary is short enough for a comment on a pull request or the summary
// of a job: the verdict, what is wrong, and the conditions worth having.
func writeSummary(w io.Writer, run results.Run, records []results.Record, _ Options) error {
	counts := run.Count(records)
	ended := cmp.Or(run.Verdict, run.Outcome, "not finished")
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**: %s, run %s: %s\n", escape(show.Line(ended)), escape(show.Line(run.Scenario)), escape(show.Line(run.ID)), CountsText(&counts))
	if run.Imported != "" {
		fmt.Fprintf(&b, "\nImported from %s.\n", escape(show.Line(run.Imported)))
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
