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
	if c.Repeat > 0 && text != "" {
		text += fmt.Sprintf(" in repeat %d", c.Repeat)
	}
	if c.P != nil {
		text += ", p " + P(*c.P)
		if c.Tests > 1 && c.Corrected != nil {
			text += fmt.Sprintf(", %s corrected for %d tests", strings.TrimPrefix(P(*c.Corrected), "= "), c.Tests)
		}
	}
	switch c.Status {
	case results.CheckUndecided:
		text += fmt.Sprintf(": over the limit, and so few repeats cannot tell it from noise; it takes %d of each. It counts as broken", c.Needs)
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
	counts, broken := map[string]int{}, 0
	for _, c := range checks {
		counts[c.Status]++
		if c.Broken() {
			broken++
		}
	}
	text := fmt.Sprintf("%d of %s broken", broken, show.Plural(len(checks), "threshold check"))
	for _, part := range []struct{ status, words string }{
		{results.CheckUndecided, "over the limit with too few repeats to tell it from noise"},
		{results.CheckNotMeasured, "not evaluated for want of a figure"},
		{results.CheckNoise, "over the limit within the noise (kept)"},
		{results.CheckNoBaseline, "without a baseline (kept)"},
	} {
		if n := counts[part.status]; n > 0 {
			text += fmt.Sprintf("; %d %s", n, part.words)
		}
	}
	return text + "."
}
