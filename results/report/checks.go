package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// CheckList lists every check that says something; of those that hold there is
// only the number.
func CheckList(checks []results.Check) *Section {
	if len(checks) == 0 {
		return nil
	}
	s := &Section{Title: "Thresholds", Text: []string{words.Checks(checks)}}
	for _, c := range sortedChecks(checks) {
		if c.Status != results.CheckOK {
			s.Items = append(s.Items, item{Name: show.Line(c.Threshold + ", " + c.Cell), Text: show.Line(c.Status + ": " + words.Check(c))})
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
