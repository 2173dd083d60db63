package report

import (
	"fmt"
	"math"
	"strings"

	"stackmeter/results"
	"stackmeter/results/race"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// SearchAnswer is what a search found, in lines as those of Answer; nil of a run that is no
// search.
func SearchAnswer(run results.Run, records []results.Record, changed *verdict.Comparison) []Fact {
	search := words.SearchOf(run, records)
	if search == nil || len(records) == 0 {
		return nil
	}
	var facts []Fact
	var doubts []string
	var chosen []verdict.Summary
	if standing := words.StandingOf(run, run.Counts); !standing.Good || standing.Word == results.VerdictPassed {
		facts = append(facts, Fact{"Verdict", show.Line(standing.String())})
	}
	recommended := search.Recommended(records)
	for i, c := range search.Contests {
		if i == mostLoads {
			facts = append(facts, Fact{"", "and for " + show.Plural(len(search.Contests)-i, "more load") + ": stackmeter recommend says the same of these"})
			break
		}
		r, load := recommended[i], " for "+verdict.ModeName(c.Load)
		switch {
		case c.Answer == "":
			facts = append(facts, Fact{"Deploy", show.Line("no topology" + load)}, Fact{"", show.Line(search.Sure(run, c))})
			continue
		case r.Best == nil:
			facts = append(facts, Fact{"Deploy", show.Line(c.Answer + load + ": by short loads alone")}, Fact{"", show.Line(search.Sure(run, c))})
		default:
			chosen = append(chosen, *r.Best)
			facts = append(facts, Fact{"Deploy", show.Line(fmt.Sprintf("%s (%s)%s", c.Answer, words.Topology(r.Best.Topology), load))}, Fact{"", foundText(run, search, c, r)})
			if text := words.Doubt(*r.Best, c.Objective); text != "" {
				doubts = append(doubts, show.Line(r.Best.Condition()+": "+text))
			}
		}
		if open := strings.Join(search.Open(c), "; "); open != "" && len(search.Contests) > 1 {
			doubts = append(doubts, show.Line(verdict.ModeName(c.Load)+": "+open))
		} else if open != "" {
			doubts = append(doubts, show.Line(open))
		}
	}
	if text := busyText(run, verdict.Others(chosen, run)); text != "" {
		doubts = append(doubts, text)
	}
	if took := search.Took(run); took != "" {
		facts = append(facts, Fact{"Took", took})
	}
	return append(facts, beyond(run, changed, shortened(run, doubts), searchSteps(run, search, recommended))...)
}

// foundText says the answer's figure, how it stands to the reference, its memory,
// how sure it is that there is nothing better, and what that took.
func foundText(run results.Run, search *words.Search, c race.Contest, r verdict.Recommendation) string {
	text := figuresText(r)
	if beside := besideFound(run, c); beside != "" {
		text += ", " + beside
	}
	if r.Best.Peak(r.Frontier.Memory) == nil {
		text += "; its memory is not known"
	}
	return show.Line(text + "; " + search.Sure(run, c))
}

// besideFound is how the answer stands to the plan's reference; empty where they were not
// measured beside each other.
func besideFound(run results.Run, c race.Contest) string {
	reference := run.Plan.Reference(c.Load.Requests)
	for _, candidate := range c.Candidates {
		e := candidate.Evidence
		if candidate.Topology != reference || e == nil || e.Ratio <= 0 || !c.Tested {
			continue
		}
		if e.Low <= 0 || math.IsInf(e.High, 1) || e.Low <= 1 && e.High >= 1 {
			return "no difference to " + show.Line(reference) + " shown"
		}
		noun, how := c.Objective.Title, "less"
		if c.Objective.Name == results.MetricDuration {
			noun = "time"
		}
		// The ratio is above 1 where the candidate is worse, whatever is better of a figure.
		share := func(ratio float64) float64 { return 1 - 1/ratio }
		if c.Objective.Higher {
			how, share = "more", func(ratio float64) float64 { return ratio - 1 }
		}
		text := fmt.Sprintf("%s (%s to %s) %s %s than %s", words.Percent(share(e.Ratio), 1), words.Percent(share(e.Low), 1), words.Percent(share(e.High), 1), how, noun, show.Line(reference))
		if e.Length.Of > 0 {
			text += " by short loads"
		}
		return text
	}
	return ""
}

// searchSteps are commands: to deploy, to be surer, to measure all of it, to look at it.
func searchSteps(run results.Run, search *words.Search, recommended []verdict.Recommendation) (next []string) {
	add := func(text string) { next = append(next, show.Line(text)) }
	open, best, differ := false, (*verdict.Recommendation)(nil), false
	for i, c := range search.Contests {
		open = open || !search.Answers[i].Decided || len(search.Open(c)) > 0
		r := &recommended[i]
		differ = differ || r.Best == nil || best != nil && best.Best.Topology.Name != r.Best.Topology.Name
		if best == nil && r.Best != nil {
			best = r
		}
	}
	if best != nil {
		load := ""
		if differ {
			load = verdict.ModeName(best.Load)
		}
		add(exportStep(run, best.Best.Topology.Name, load))
	}
	if run.File != "" && run.Imported == "" {
		if open {
			more := "stackmeter search " + show.Shell(run.File) + " --resume" + askedFor(*run.Plan.Search)
			if limit := run.Plan.Search.Time; limit > 0 {
				more += " --time " + units.Seconds.Format((2 * limit).Seconds()) + "  # goes on for as long again"
			}
			add(more)
		}
		add(fmt.Sprintf("stackmeter run %s  # measures each of them %s", show.Shell(run.File), show.Plural(max(run.Plan.Repeats, 1), "time")))
	}
	add(reportStep(run))
	return next
}
