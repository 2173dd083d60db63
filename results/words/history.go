package words

import (
	"fmt"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict/history"
	"stackmeter/scenarios/show"
)

// Step is what a history says about a step of a cell.
func Step(h history.History, cell history.Cell, step history.Step) string {
	run := func(at int) results.Run { return h.Runs[cell.Points[at].Run] }
	size := Change(h.Metric.Unit, step.Before, step.After)
	if step.Interval != nil {
		size += fmt.Sprintf(" (%+.1f%% to %+.1f%%)", 100*step.Interval.Low, 100*step.Interval.High)
	}
	text := fmt.Sprintf("%s, %s, with run %s of %s", size, better(step.Worse), run(step.At).ID, day(run(step.At)))
	switch {
	case step.Earliest == step.Latest:
	case step.Latest-step.Earliest <= 2 && step.Earliest >= step.At-1 && step.Latest <= step.At+1:
		text += ", ±1 run"
	default:
		text += fmt.Sprintf(", or any from %s to %s", run(step.Earliest).ID, run(step.Latest).ID)
	}
	if cell.Name != history.TogetherName {
		u := UnitOf(h.Metric.Unit)
		decimals := u.Decimals([]*stats.Sample{{Median: step.Before}, {Median: step.After}})
		text += fmt.Sprintf(": %s to %s", u.Number(step.Before, decimals), strings.TrimSpace(u.Number(step.After, decimals)+" "+u.Name))
	}
	text += ", p " + P(step.P)
	if step.Ended > 0 {
		text += fmt.Sprintf("; it ended with run %s of %s", run(step.Ended).ID, day(run(step.Ended)))
	}
	if len(step.Disparities) == 0 {
		return text
	}
	var came []string
	for _, d := range step.Disparities {
		came = append(came, "another "+d.String())
	}
	return text + "; with it came " + strings.Join(came, ", ")
}

// Drift is what a history says about a cell whose level changes with every run.
func Drift(h history.History, cell history.Cell) string {
	first, n := h.Runs[cell.Points[cell.Drift.From].Run], len(cell.Points)-cell.Drift.From
	return fmt.Sprintf("drifts by %+.1f%% a run, %s, over the last %s, since %s of %s, p %s",
		100*cell.Drift.Change, better(cell.Drift.Worse), show.Plural(n, "run"), first.ID, day(first), P(cell.Drift.P))
}

// Alone is what a history says about a last run that is out of line.
func Alone(cell history.Cell) string {
	return fmt.Sprintf("the last run alone is %+.1f%% off its level: one run is no step, the next one decides", 100**cell.Alone)
}

func better(worse bool) string {
	if worse {
		return "worse"
	}
	return "better"
}

func day(run results.Run) string { return run.Started.UTC().Format("2006-01-02") }
