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

// The answer of a run is short enough for what a terminal shows at once.
const (
	mostLoads  = 5 // that are answered in full
	mostDoubts = 3
	busyCores  = 0.2 // of other programs, from which on they are a doubt
)

// A fact of nextLabel is a command, and behind commandComment what it does.
const (
	nextLabel      = "Next"
	commandComment = "  # "
)

// Answer is what a run was made for, in a few lines that every format has: what to
// deploy, what is in doubt, and what to do next. changed is what became of it since the
// run that it was held against; nil where it was held against none. A search's is
// SearchAnswer.
func Answer(run results.Run, summaries []verdict.Summary, changed *verdict.Comparison) []Fact {
	if len(summaries) == 0 {
		return nil
	}
	d, err := verdict.Decide(run, summaries)
	if err != nil {
		return []Fact{{"Deploy", "no answer: " + show.Line(err.Error())}}
	}
	var facts []Fact
	if standing := words.StandingOf(run, run.Counts); !standing.Good || standing.Word == results.VerdictPassed {
		facts = append(facts, Fact{"Verdict", show.Line(standing.String())})
	}
	facts = append(facts, deployed(d)...)
	return append(facts, beyond(run, changed, doubtsOf(run, d), nextSteps(run, d))...)
}

// beyond is what follows what is to be deployed.
func beyond(run results.Run, changed *verdict.Comparison, doubts, next []string) (facts []Fact) {
	if changed != nil {
		facts = append(facts, Fact{"Change", ChangeText(*changed, run.Checks)})
	}
	for _, text := range doubts {
		facts = append(facts, Fact{"Doubt", text})
	}
	for _, text := range next {
		facts = append(facts, Fact{nextLabel, text})
	}
	return facts
}

// deployed names each topology that is the answer for a load, with what it is beside the
// baseline there.
func deployed(d verdict.Decision) []Fact {
	var facts []Fact
	said := 0
	for _, choice := range d.Choices {
		var modes []string
		for _, a := range choice.Loads {
			modes = append(modes, show.Line(verdict.ModeName(a.Load)))
		}
		facts = append(facts, Fact{"Deploy", fmt.Sprintf("%s (%s)", show.Line(choice.Topology.Name), words.Topology(choice.Topology))})
		if said >= mostLoads {
			facts[len(facts)-1].Text += " for " + strings.Join(modes, ", ")
			continue
		}
		for i, a := range choice.Loads {
			if said == mostLoads {
				facts = append(facts, Fact{"", strings.Join(modes[i:], ", ") + ": stackmeter recommend says the same of these"})
				break
			}
			said++
			facts = append(facts, Fact{"", modes[i] + ": " + answerText(a)})
		}
	}
	for _, load := range d.Nothing {
		facts = append(facts, Fact{"Deploy", show.Line(verdict.ModeName(load)) + ": nothing fits; stackmeter report says why"})
	}
	return facts
}

// answerText says the figure of a choice, by how much it is better than the baseline, at
// what price in memory, and how sure that is.
func answerText(a verdict.LoadsAnswer) string {
	objective := a.Goal.Objective
	text := strings.TrimPrefix(objective.Title+" ", "duration ") + words.Sample(objective.Unit, a.Best.Sample(objective))
	if a.Reference != nil && a.Gain.Ratio != nil {
		text += ", " + besideText(a)
	}
	peak := a.Best.Peak(a.Frontier.Memory)
	switch {
	case peak == nil:
		text += "; its memory is not known"
	case a.Bytes != nil && *a.Bytes >= 0:
		text += fmt.Sprintf(", for %s more %s", words.Size(*a.Bytes), words.MemoryName(a.Frontier.Memory))
	case a.Bytes != nil:
		text += fmt.Sprintf(", with %s less %s", words.Size(-*a.Bytes), words.MemoryName(a.Frontier.Memory))
	default:
		text += fmt.Sprintf(", %s of %s", words.Size(peak.Median), words.MemoryName(a.Frontier.Memory))
	}
	return text + "; " + sureText(a)
}

// besideText is the change from the baseline to the choice.
func besideText(a verdict.LoadsAnswer) string {
	base := show.Line(a.Reference.Topology.Name)
	if a.Reference.Load != a.Best.Load {
		base = show.Line(a.Reference.Condition())
	}
	if a.Gain.Able && !a.Gain.Shown {
		return "no difference to " + base + " shown"
	}
	share := *a.Gain.Ratio - 1
	if a.Gain.Among > 0 && share != 0 && (share > 0) != a.Goal.Objective.Higher {
		return "not better than " + base + " in the repeats that had no part in picking it"
	}
	how := "more"
	if share < 0 {
		how = "less"
	}
	figure := words.Percent(max(share, -share), 1)
	if a.Gain.Interval != nil {
		figure += " ± " + words.Percent(max(a.Gain.Interval.High-*a.Gain.Ratio, *a.Gain.Ratio-a.Gain.Interval.Low), 1)
	}
	noun := a.Goal.Objective.Title
	if a.Goal.Objective.Name == results.MetricDuration {
		noun = "time"
	}
	return fmt.Sprintf("%s %s %s than %s", figure, how, noun, base)
}

// sureText says which of the others are shown to be worse.
func sureText(a verdict.LoadsAnswer) string {
	others := a.Shown + len(a.Like) + a.Unable
	switch {
	case others == 0:
		return "the only one that fits"
	case a.Unable == others:
		return fmt.Sprintf("best of %d by the medians alone", others+1)
	case a.Shown == others:
		sure := fmt.Sprintf("sure to %.0f%%", 100*stats.Confidence)
		if others == 1 {
			return sure + " that the other one is worse"
		}
		return fmt.Sprintf("%s, each by itself, that the other %d are worse", sure, others)
	}
	var like []string
	for _, s := range a.Like[:min(len(a.Like), 2)] {
		like = append(like, show.Line(s.Topology.Name))
	}
	text := fmt.Sprintf("shown to be better than %d of %d others", a.Shown, others)
	if len(like) > 0 {
		text += ", and not told apart from " + strings.Join(like, ", ")
		if more := len(a.Like) - len(like); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
	}
	return text
}

// doubtsOf is what would change the answer if it were otherwise, the worst first.
func doubtsOf(run results.Run, d verdict.Decision) []string {
	var doubts []string
	add := func(text string) {
		if text = show.Line(text); !slices.Contains(doubts, text) {
			doubts = append(doubts, text)
		}
	}
	if run.Imported != "" {
		add("imported from " + run.Imported + ": nothing of this was measured here")
	}
	fewest := 0
	for _, choice := range d.Choices {
		for _, a := range choice.Loads {
			if a.Gain.Across || a.RunnerUp != nil && a.RunnerUp.Across {
				add("topologies were measured in different lanes, not in turn on the same device: a difference may be one between the lanes")
			}
			n := a.Best.Sample(a.Goal.Objective).N
			if fewest == 0 || n < fewest {
				fewest = n
			}
			if text := words.Reused(a.Best.Speaking); text != "" {
				add(a.Best.Condition() + ": " + text)
			}
			if text := words.Doubt(*a.Best, a.Metrics()...); text != "" {
				add(a.Best.Condition() + ": " + text)
			}
		}
	}
	if fewest > 0 && fewest < stats.RepeatsForDifference(1) {
		add(fmt.Sprintf("%s: too few to show any difference, which takes %d", show.Plural(fewest, "repeat"), stats.RepeatsForDifference(1)))
	}
	if text := busyText(run, d.Others); text != "" {
		add(text)
	}
	return shortened(run, doubts)
}

// busyText says how much of the machine was others'; empty where that was little.
func busyText(run results.Run, others *float64) string {
	if others == nil || *others < busyCores {
		return ""
	}
	return fmt.Sprintf("other programs used %.1f of %s meanwhile", *others, show.Plural(run.Host.Cores, "core"))
}

// shortened are the first doubts, and how many more there are.
func shortened(run results.Run, doubts []string) []string {
	if more := len(doubts) - mostDoubts; more > 0 {
		return append(doubts[:mostDoubts:mostDoubts], fmt.Sprintf("and %d more: stackmeter report %s", more, show.Line(run.ID)))
	}
	return doubts
}

// nextSteps are commands.
func nextSteps(run results.Run, d verdict.Decision) []string {
	var next []string
	add := func(text string) { next = append(next, show.Line(text)) }
	measurable := run.File != "" && run.Imported == ""
	if counts := run.Counts; measurable && counts != nil && counts.Failed+counts.Missing() > 0 {
		add("stackmeter run " + show.Shell(run.File) + " --resume  # measures what failed or is missing")
	}
	if repeats := run.Plan.Repeats; measurable && repeats > 0 && repeats < stats.RepeatsForInterval() && len(d.Choices) > 0 {
		add(fmt.Sprintf("stackmeter run %s --set repeats=%d  # says how sure that is", show.Shell(run.File), stats.RepeatsForInterval()))
	}
	if len(d.Choices) > 0 {
		most := slices.MaxFunc(d.Choices, func(a, b verdict.Deploy) int { return len(a.Loads) - len(b.Loads) })
		only := ""
		if len(d.Choices) > 1 || len(d.Nothing) > 0 {
			only = verdict.ModeName(most.Loads[0].Load)
		}
		add(exportStep(run, most.Topology.Name, only))
	}
	add(reportStep(run))
	return next
}

// exportStep is the command that writes what is to be deployed, for one load where their
// answers differ.
func exportStep(run results.Run, topology, load string) string {
	which := " --format compose"
	if load != "" {
		which = " --load " + show.Shell(load) // the format is the default, and two flags would not fit a line
	}
	return "stackmeter export " + run.ID + which + " -o compose.yaml  # deploys " + topology
}

func reportStep(run results.Run) string {
	return fmt.Sprintf("stackmeter report %s --format html -o report.html  # has everything", run.ID)
}

// ChangeText says of a comparison what changed: by its checks, where they are over nights,
// as a gate judges; otherwise which figure of two nights changed the most.
func ChangeText(c verdict.Comparison, checks []results.Check) string {
	if text := words.OverNights(checks); text != "" {
		return show.Line(text)
	}
	return changeOfTwo(c)
}

func changeOfTwo(c verdict.Comparison) string {
	type shown struct {
		cell   string
		change verdict.Change
	}
	var all []shown
	worse, able := 0, false
	for _, cell := range c.Cells {
		for _, change := range cell.Changes {
			able = able || change.Difference.Able
			if change.Difference.Shown {
				all = append(all, shown{cell.Name, change})
			}
			if change.Worse() {
				worse++
			}
		}
	}
	against := "against run " + show.Line(c.Base.ID)
	if c.Nights == 0 {
		against += " (" + words.NightsUnknown + ")"
	}
	switch {
	case len(all) == 0 && !able:
		return "too few repeats to show any, " + against
	case len(all) == 0:
		return "none shown, " + against
	}
	size := func(s shown) float64 {
		change := s.change.Difference.Change
		if change == nil {
			return 0
		}
		return max(*change, -*change)
	}
	slices.SortStableFunc(all, func(a, b shown) int {
		if a.change.Worse() != b.change.Worse() {
			return map[bool]int{true: -1, false: 1}[a.change.Worse()]
		}
		return cmp.Compare(size(b), size(a))
	})
	first, kind := all[0], "better"
	if worse > 0 {
		kind = "worse"
	}
	text := fmt.Sprintf("%s: %s of %s %s", kind, first.change.Metric.Title, show.Line(first.cell), words.Shown(first.change))
	if first.change.Interval != nil {
		text += " (" + words.Interval(first.change) + ")"
	}
	if more := len(all) - 1; more > 0 {
		text += fmt.Sprintf(", and %s more", show.Plural(more, "figure"))
	}
	return text + ", " + against
}
