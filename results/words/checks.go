package words

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios/show"
)

// Check says what came of one threshold at one cell.
func Check(c results.Check) string {
	var values []string
	for _, part := range []struct {
		prefix string
		values map[string]float64
	}{{"", c.Values}, {"base ", c.Base}} {
		for _, name := range slices.Sorted(maps.Keys(part.values)) {
			values = append(values, part.prefix+name+" "+valueText(name, part.values[name]))
		}
	}
	text := strings.Join(values, ", ")
	if c.Cells > 0 {
		text = whole(c)
	} else if c.Change != nil {
		if text += ", " + changeText(c.Change); c.Since == "" {
			text += fmt.Sprintf(" than in %s", show.Plural(c.Nights, "night"))
		}
	}
	if c.Repeat > 0 && text != "" {
		text += fmt.Sprintf(" in repeat %d", c.Repeat)
	}
	if c.P != nil {
		text += ", p " + P(*c.P)
		if c.Tests > 1 && c.Corrected != nil {
			text += fmt.Sprintf(", %s corrected for %d tests", strings.TrimPrefix(P(*c.Corrected), "= "), c.Tests)
		}
	}
	if c.Since != "" && !strings.HasSuffix(c.Cell, c.Since) {
		text += ", against run " + c.Since
	}
	if c.P != nil && c.Nights == 0 {
		text += " (" + NightsUnknown + ")"
	}
	switch c.Status {
	case results.CheckUndecided:
		if c.Nights > 0 {
			text += ": over the limit, and nights differ too much to show that it is"
			break
		}
		text += fmt.Sprintf(": over the limit, and so few repeats cannot tell it from noise; it takes %d of each", c.Needs)
	case results.CheckDrifted:
		text += ": over the limit since then, though no single night was"
	case results.CheckNoise:
		text += ": over the limit, but within the noise of the repeats"
	case results.CheckNotMeasured:
		because := "it divides by 0"
		if len(c.Missing) > 0 {
			because = strings.Join(c.Missing, ", ") + " was not measured"
		}
		text = strings.TrimPrefix(text+"; ", "; ") + "not evaluated, because " + because + ". It counts as broken"
	case results.CheckNoBaseline:
		text = strings.TrimPrefix(text+"; ", "; ") + "not evaluated: there is no baseline that has it"
	}
	return text
}

// OverNights says what became of the figures that thresholds are about, where they are
// held against enough nights: of all cells together first, and of how many cells it is
// shown that they are over their limit. It is empty where nothing is held against nights.
func OverNights(checks []results.Check) string {
	var together []string
	nights, over, open := 0, map[string]bool{}, map[string]bool{}
	for _, c := range checks {
		switch {
		case c.Nights == 0 || c.Since != "":
			continue
		case c.Cells > 0 && c.Change != nil && !slices.Contains(together, whole(c)):
			together = append(together, whole(c))
		case c.Cells == 0 && c.Status == results.CheckBroken:
			over[c.Cell] = true
		case c.Cells == 0 && c.Status == results.CheckUndecided:
			open[c.Cell] = true
		}
		nights = max(nights, c.Nights)
	}
	if nights == 0 {
		return ""
	}
	said := fmt.Sprintf("%s shown to be over a limit", show.Plural(len(over), "cell"))
	if len(over) == 0 {
		said = "no cell is shown to be over a limit"
	}
	if len(open) > 0 {
		said += fmt.Sprintf(", and %s undecided", show.Plural(len(open), "cell"))
	}
	return strings.Join(append(together, said), "; ") + ", against " + show.Plural(nights, "night")
}

// NightsUnknown is behind what is said of two runs whose nights have no known spread.
const NightsUnknown = "of repeats: nights are not accounted for"

// whole says how all cells together stand to the nights before: all 18 cells together:
// 3.1% slower (2.2–4.0).
func whole(c results.Check) string {
	if c.Change == nil {
		return c.Cell
	}
	return c.Cell + ": " + changeText(c.Change)
}

// changeText is a change with its 95% interval, counted in its direction.
func changeText(c *results.CheckChange) string {
	by, low, high := c.By, c.Low, c.High
	comparatives := [2]string{"more", "less"}
	if c.Figure == results.MetricDuration {
		comparatives = [2]string{"slower", "faster"}
	} else if m, err := results.FindMetric(c.Figure); err == nil {
		comparatives = [2]string{"more " + m.Title, "less " + m.Title}
	}
	word := comparatives[0]
	if by < 0 {
		by, low, high, word = -by, -high, -low, comparatives[1]
	}
	return fmt.Sprintf("%.1f%% %s (%.1f–%.1f)", 100*by, word, 100*low, 100*high)
}

// valueText is one value of a metric with its unit.
func valueText(metric string, value float64) string {
	m, err := results.FindMetric(metric)
	if err != nil {
		return Plainly(value)
	}
	return Sample(m.Unit, stats.NewSample([]float64{value}))
}

// Checks counts checks in a sentence.
func Checks(checks []results.Check) string {
	counts, broken, nights := map[string]int{}, 0, 0
	for _, c := range checks {
		if c.Broken() {
			broken++
		}
		if c.Status == results.CheckUndecided && c.Nights > 0 {
			nights++
			continue
		}
		counts[c.Status]++
	}
	text := fmt.Sprintf("%d of %s broken", broken, show.Plural(len(checks), "threshold check"))
	for _, part := range []struct{ status, words string }{
		{results.CheckUndecided, "undecided: over the limit, with too few repeats to tell it from noise"},
		{results.CheckDrifted, "over the limit since the anchor"},
		{results.CheckNotMeasured, "not evaluated for want of a figure"},
		{results.CheckNoise, "over the limit within the noise (kept)"},
		{results.CheckNoBaseline, "without a baseline (kept)"},
	} {
		if n := counts[part.status]; n > 0 {
			text += fmt.Sprintf("; %d %s", n, part.words)
		}
	}
	if nights > 0 {
		text += fmt.Sprintf("; %d undecided: over the limit, and nights differ too much to show it", nights)
	}
	return text + "."
}
