package verdict

import (
	"cmp"
	"slices"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// A Conclusion is the short list of conditions worth having, at one number of
// requests.
type Conclusion struct {
	Frontier               // of duration
	Conditions []Condition // the baseline first, then from the least memory to the most
}

// A Condition is one row of a Conclusion.
type Condition struct {
	Summary  Summary
	Baseline bool
	Front    bool     // on the Pareto front; a baseline need not be
	Alike    bool     // not on the front, but as good as a condition that is
	Saved    *float64 // seconds against the baseline
	Ratio    Relation // of duration, to the baseline
	OfBest   Relation // of duration, to the fastest of the front
	Over     *Excess  // the budget of the scenario's recommend that it is not within; nil: none
}

// Conclude finds the conditions worth having: the members of the Frontier of
// duration against peak memory, and cells that are as good. The baseline comes
// first, even if it is not on the front or failed.
func Conclude(summaries []Summary, plan scenarios.Plan) Conclusion {
	frontier := FindFrontier(summaries, results.Metric(results.MetricDuration))
	baselines := FindBaselines(summaries, plan)
	var rows []Condition
	for _, s := range frontier.Members {
		rows = append(rows, Condition{Summary: s, Front: true})
	}
	for _, s := range frontier.Alike() {
		rows = append(rows, Condition{Summary: s, Alike: true})
	}
	slices.SortStableFunc(rows, func(a, b Condition) int {
		return cmp.Or(
			cmp.Compare(frontier.peak(a.Summary), frontier.peak(b.Summary)),
			cmp.Compare(frontier.cost(b.Summary), frontier.cost(a.Summary)))
	})
	if baseline, found := baselines[frontier.Requests]; found {
		first := Condition{Summary: baseline}
		rows = slices.DeleteFunc(rows, func(row Condition) bool {
			is := row.Summary.Name() == baseline.Name()
			if is {
				first = row
			}
			return is
		})
		first.Baseline = true
		rows = slices.Insert(rows, 0, first)
	}
	var best *Summary
	for _, s := range frontier.Members { // by the ratios that are shown, and not by the medians
		if best == nil {
			best = &s
		} else if ratio := Beside(*best, s, frontier.Objective).Ratio; ratio != nil && *ratio < 1 {
			best = &s
		}
	}
	under := budgets(plan)
	var luck field
	if best != nil {
		luck = newField(frontier.Candidates, nil, frontier.Objective, *best)
	}
	for i, row := range rows {
		rows[i].Over = firstExcess(row.Summary, under)
		if best != nil {
			rows[i].OfBest = luck.fair(Beside(*best, row.Summary, frontier.Objective), *best, row.Summary, false)
		}
		rows[i].Saved, rows[i].Ratio = baselines.Saved(row.Summary), baselines.Ratio(row.Summary, frontier.Objective)
		if baseline := baselines.Of(row.Summary); baseline != nil {
			rows[i].Ratio = luck.fair(rows[i].Ratio, *baseline, row.Summary, false)
		}
	}
	return Conclusion{frontier, rows}
}

// budgets are those of a plan's recommend.
func budgets(plan scenarios.Plan) []Budget {
	if plan.Recommend == nil {
		return nil
	}
	goal, err := NewGoal(*plan.Recommend)
	if err != nil {
		return nil // its own section says so
	}
	return goal.Under
}
