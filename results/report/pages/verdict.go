package pages

import (
	"fmt"
	"strings"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

// verdict is the answer in sentences: the recommendation where no memory
// budget is given, and what less memory would cost.
func (b *builder) verdict() []string {
	duration := results.Metric(results.MetricDuration)
	r := verdict.Recommend(b.summaries, b.run.Plan.Baseline, verdict.Goal{Objective: duration})
	if r.Best == nil {
		return nil // the notes below the table say why
	}
	best := *r.Best
	text := fmt.Sprintf("%s is the one to deploy where its memory is there: %s for %s", show.Line(best.Condition()),
		words.Seconds().Text(best.Duration, 2), show.Plural(r.Frontier.Requests, "request"))
	if peak := best.Peak(r.Frontier.Memory); peak != nil {
		text += ", " + words.Mebibytes().Text(peak, 0) + " of " + words.PeakName(r.Frontier.Memory)
	}
	if r.Ratio != nil {
		text += fmt.Sprintf(", %s of the baseline's duration", words.Percent(r.Ratio, 1))
	}
	lines := []string{text + "."}
	lines = append(lines, report.Doubted(r)...)
	if r.PassedOver != nil {
		lines = append(lines, fmt.Sprintf("%s has a shorter median, but is as fast within %.0f%%, and needs more memory.",
			show.Line(r.PassedOver.Summary.Condition()), 100*verdict.AlikeShare))
	}
	if r.Less != nil && r.Less.Bytes != nil && -*r.Less.Bytes > verdict.AlikeShare*best.Peak(r.Frontier.Memory).Median {
		lines = append(lines, fmt.Sprintf("With %.0f MiB less: %s, %s.", -*r.Less.Bytes/words.MiB,
			show.Line(r.Less.Summary.Condition()), changeText(r, r.Less)))
	}
	return lines
}

// changeText is a difference in words.
func changeText(r verdict.Recommendation, c *verdict.Choice) string {
	d, best, this := c.Difference, r.Best.Sample(r.Goal.Objective).Median, c.Summary.Sample(r.Goal.Objective).Median
	word := "slower"
	if this < best {
		word = "faster"
	}
	text := strings.TrimLeft(words.Change(r.Goal.Objective.Unit, best, this), "+-") + " " + word
	switch {
	case !d.Able:
		text += fmt.Sprintf(" by its median, which so few repeats (%d and %d) cannot confirm", d.N1, d.N2)
	case !d.Shown:
		text += " by its median, which the repeats do not confirm"
	}
	return text
}
