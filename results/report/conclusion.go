package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// Conclusion prints the conditions worth having.
func Conclusion(c verdict.Conclusion, notes *Notes) Section {
	s := Section{Title: "The conditions worth having, " + show.Plural(c.Requests, "request")}
	var durations, peaks []*stats.Sample
	var across []verdict.Relation
	for _, condition := range c.Conditions {
		durations = append(durations, condition.Summary.Duration)
		peaks = append(peaks, condition.Summary.Peak(c.Memory))
	}
	timeDecimals, memoryDecimals := words.Seconds().Decimals(durations), words.Mebibytes().Decimals(peaks)
	if len(c.Conditions) > 0 {
		s.Table = &Grid{Labels: 1, Head: []string{"condition", "duration", "peak memory", "saved", "ratio", "of the fastest"}}
	}
	for i, condition := range c.Conditions {
		name := show.Line(condition.Summary.Condition())
		if condition.Baseline {
			name += " (baseline)"
		}
		if condition.Alike {
			name += " (alike)"
		}
		if over := condition.Over; over != nil && over.Sample != nil {
			name += " (over the budget)"
		} else if over != nil {
			name += " (not known to be within the budget)"
		}
		if marks := notes.Marks(condition.Summary, nil); marks != "" {
			name += " " + marks
		}
		saved := words.Missing
		if condition.Saved != nil {
			saved = words.Seconds().Number(*condition.Saved, timeDecimals) + " s"
		}
		s.Table.Rows = append(s.Table.Rows, texts(name, words.Seconds().Text(durations[i], timeDecimals),
			words.Mebibytes().Text(peaks[i], memoryDecimals), saved, words.Ratio(condition.Ratio, 2), words.Ratio(condition.OfBest, 2)))
	}
	s.Notes = conclusionNotes(c)
	for _, condition := range c.Conditions {
		across = append(across, condition.Ratio, condition.OfBest)
	}
	s.Notes = append(s.Notes, acrossText(across...)...)
	return s
}

// conclusionNotes say what the rows of the conclusion are, and what is not
// among them.
func conclusionNotes(c verdict.Conclusion) []string {
	var notes []string
	front, known := false, false
	for _, condition := range c.Conditions {
		front = front || condition.Front
		known = known || condition.Front && condition.Summary.Peak(c.Memory) != nil
	}
	switch {
	case !front:
		notes = append(notes, "No cell is ok and without errors: there is nothing to recommend.")
	case !known:
		notes = append(notes, "The memory is not known: this is the fastest cell, whatever it needs.")
	default:
		notes = append(notes, "For each of these, nothing else is at least as fast with no more memory.")
	}
	if slices.ContainsFunc(c.Conditions, func(row verdict.Condition) bool { return row.Alike && !row.Baseline }) {
		notes = append(notes, fmt.Sprintf("Those called alike are within %.0f%% of one of the others in duration and memory.", 100*verdict.AlikeShare))
	}
	if slices.ContainsFunc(c.Conditions, func(row verdict.Condition) bool { return row.Over != nil }) {
		notes = append(notes, overNote)
	}
	if text := confidenceText(c.Conditions); text != "" {
		notes = append(notes, text)
	}
	if front && len(c.Conditions) > 0 && !c.Conditions[0].Front {
		notes = append(notes, "The baseline is listed for comparison only.")
	}
	return append(notes, noCandidates(c.Frontier)...)
}

// confidenceText says which of the conditions the repeats cannot tell apart:
// of each pair of neighbours on the front, from the slowest to the fastest.
func confidenceText(conditions []verdict.Condition) string {
	var front []verdict.Summary
	for _, row := range conditions {
		if row.Front {
			front = append(front, row.Summary)
		}
	}
	slices.SortStableFunc(front, func(a, b verdict.Summary) int { return cmp.Compare(b.Duration.Median, a.Duration.Median) })
	var pairs []string
	able := false
	for i := 1; i < len(front); i++ {
		difference := verdict.Beside(front[i-1], front[i], results.Metric(results.MetricDuration))
		able = able || difference.Able
		if difference.Able && !difference.Shown {
			pairs = append(pairs, fmt.Sprintf("%s and %s (p = %.2g)", show.Line(front[i-1].Condition()), show.Line(front[i].Condition()), difference.P))
		}
	}
	switch {
	case len(front) < 2:
		return ""
	case !able:
		return fmt.Sprintf("Which of them is faster is by their medians alone: no difference could be shown with so few repeats, it takes %d of each.", stats.RepeatsForDifference(1))
	case len(pairs) > 0:
		return "No difference in duration is shown between " + strings.Join(pairs, ", nor between ") + "."
	}
	return fmt.Sprintf("Each is faster than the one with less memory by a rank test at %.0f%%.", 100*stats.Confidence)
}
