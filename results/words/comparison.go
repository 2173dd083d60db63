package words

import (
	"fmt"
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// Corrected says that p-values are corrected for the number of cells.
func Corrected(compared int) string {
	return fmt.Sprintf("%s are compared, and p is corrected for that (Holm): where nothing changed, the chance that any of them is shown is %.0f%% at most. Each interval is its cell's alone, and not corrected.",
		show.Plural(compared, "cell"), 100*(1-stats.Confidence))
}

// Change is the change of a figure in percent. Nothing is a percentage of 0, so
// from there it is the figure itself.
func Change(u units.Unit, before, after float64) string {
	if share := stats.Change(before, after); share != nil {
		return fmt.Sprintf("%+.1f%%", 100**share)
	}
	if before == after {
		return "none"
	}
	text := Sample(u, stats.NewSample([]float64{after}))
	if after > 0 {
		text = "+" + text
	}
	return text
}

// P is a p-value with what stands before it, = or <: it is never 0.
func P(p float64) string {
	if p < 0.0005 {
		return "< 0.001"
	}
	return fmt.Sprintf("= %.3f", p)
}

// Shown is a change that is shown, or ~.
func Shown(c verdict.Change) string {
	if !c.Difference.Shown {
		return "~"
	}
	if c.Nights > 0 {
		return fmt.Sprintf("%+.1f%%", 100**c.Difference.Change)
	}
	return Change(c.Metric.Unit, c.Base.Median, c.Head.Median)
}

// Interval is the interval of a change.
func Interval(c verdict.Change) string {
	if c.Interval == nil {
		return Missing
	}
	return fmt.Sprintf("%+.1f%% to %+.1f%%", 100*c.Interval.Low, 100*c.Interval.High)
}

// Unremarkable reports whether there is nothing to say about a cell but its figures.
func Unremarkable(cell verdict.CellComparison) bool {
	return cell.State == verdict.CellBoth && cell.Base.Errors == 0 && cell.Head.Errors == 0
}

// State is a cell's state, how many repeats and answers were not as
// expected on both sides, and why the head failed.
func State(cell verdict.CellComparison) string {
	text := cell.State
	if text == verdict.CellBoth {
		text = "ok in both"
	}
	if cell.Base != nil && cell.Head != nil && !Unremarkable(cell) {
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

// VerdictLines says what a comparison found, the most important first.
func VerdictLines(c verdict.Comparison, checks []results.Check) []string {
	cells := func(with func(verdict.Change) bool) (n int) {
		for _, cell := range c.Cells {
			if slices.ContainsFunc(cell.Changes, with) {
				n++
			}
		}
		return n
	}
	counts := c.Counts()
	var lines []string
	for _, c := range checks {
		if c.Cells > 0 {
			lines = append(lines, whole(c)+".")
		}
	}
	if len(checks) > 0 {
		lines = append(lines, Checks(checks))
	}
	for _, state := range []string{verdict.CellNewlyFailing, verdict.CellNewlyErring, verdict.CellNewlyPruned, verdict.CellMissing, verdict.CellFailing, verdict.CellPruned, verdict.CellNewlyOK, verdict.CellNew, verdict.CellGone, verdict.CellChanged} {
		if n := counts[state]; n > 0 {
			lines = append(lines, show.Plural(n, "cell")+" "+state+".")
		}
	}
	if erring := cells(func(change verdict.Change) bool { return change.Erring }); erring > 0 {
		lines = append(lines, show.Plural(erring, "cell")+" not compared: a side has no repeat without errors.")
	}
	lines = append(lines, fmt.Sprintf("Of %s ok in both runs, shown to be worse in a figure: %d; better: %d.",
		show.Plural(counts[verdict.CellBoth], "cell"), cells(verdict.Change.Worse), cells(verdict.Change.Better)))
	compared := 0
	for _, cell := range c.Cells {
		for _, change := range cell.Changes {
			compared = max(compared, change.Compared)
		}
	}
	if compared > 0 && cells(func(change verdict.Change) bool { return change.Difference.Able }) == 0 {
		lines = append(lines, fmt.Sprintf("No change could be shown, whatever it is: so few repeats are not enough for %s, it takes %d of each.",
			show.Plural(compared, "cell"), stats.RepeatsForDifference(compared)))
	}
	return append(append(lines, nightsText(c)), comparisonDoubts(c)...)
}

// nightsText says whether the changes of a comparison have the spread between nights in them.
func nightsText(c verdict.Comparison) string {
	switch {
	case c.Nights == 0:
		return fmt.Sprintf("How much nights of this scenario differ is not known, which takes %d more that did not fail: intervals and p are of repeats alone, and nights are not accounted for.", stats.FewestNights)
	case c.Mean:
		return fmt.Sprintf("Changes, intervals and p are from the mean of the last %d nights to this one, by how much nights differ.", c.Nights)
	}
	return fmt.Sprintf("Intervals and p are those of one night beside another, by how much the last %d nights of this scenario differ.", c.Nights)
}

// A comparedSide is one run's part of a cell that is compared.
type comparedSide struct {
	Name    string
	Summary *verdict.Summary
}

// SidesOf returns the sides that the cell has.
func SidesOf(cell verdict.CellComparison) []comparedSide {
	var sides []comparedSide
	for _, side := range []comparedSide{{"base", cell.Base}, {"head", cell.Head}} {
		if side.Summary != nil {
			sides = append(sides, side)
		}
	}
	return sides
}
