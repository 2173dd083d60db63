package verdict

import (
	"cmp"
	"math"
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios"
)

// A Goal is what a topology is chosen for.
type Goal struct {
	Objective results.Metric
	Under     []Budget // all of them have to be met
}

// A Recommendation is the cell to deploy, with what speaks for it.
type Recommendation struct {
	Goal     Goal
	Frontier Frontier

	Best     *Summary // nil when nothing fits
	RunnerUp *Choice  // the next best that fits
	More     *Choice  // the next on the front that needs more memory than the best, whatever the memory budget
	Less     *Choice  // the next on the front that needs less

	// PassedOver is the cell with the better median that the best one was
	// taken instead of: the best is as good in the objective within
	// AlikeShare, and needs less memory by more than that, both with
	// Confidence. Nil when the best has the best median.
	PassedOver *Choice

	Fitting []Summary // within all budgets, from the best median of the objective on
	Over    []Excess  // the others, in the order of Summarise

	Baseline *Summary // of the best's number of requests; nil where it has none that is clean
	Ratio    *float64 // the best's median of the objective in percent of the baseline's
}

// A Choice is a cell beside the best one.
type Choice struct {
	Summary    Summary
	Difference stats.Difference // of the objective: from the best to this one
	Interval   *stats.Interval  // of the relative change, as of a Change
	Bytes      *float64         // of peak memory that it needs more than the best; negative for less
}

// An Excess is a cell that does not fit, and the first budget that it breaks.
type Excess struct {
	Summary Summary
	Budget  Budget
	Sample  *stats.Sample // of the budget's metric; nil when it is not known of every repeat
}

// Recommend chooses among the candidates of the Frontier: clean cells of the
// largest number of requests. A cell fits when every repeat of it is within
// every budget. The best median of the objective wins, and of equal ones the
// one with less memory. A cell that is as good as the one with the best median,
// within AlikeShare, and saves more than that of its memory is preferred. That
// no test shows a difference is not enough for it: few repeats of a noisy figure
// show none of 50% either.
func Recommend(summaries []Summary, selector *scenarios.Baseline, goal Goal) Recommendation {
	r := Recommendation{Goal: goal, Frontier: FindFrontier(summaries, goal.Objective)}
	for _, s := range r.Frontier.Candidates {
		if over := firstExcess(s, goal.Under); over != nil {
			r.Over = append(r.Over, *over)
			continue
		}
		r.Fitting = append(r.Fitting, s)
	}
	f := r.Frontier
	slices.SortStableFunc(r.Fitting, func(a, b Summary) int {
		return cmp.Or(cmp.Compare(f.cost(a), f.cost(b)), cmp.Compare(f.peak(a), f.peak(b)))
	})
	if len(r.Fitting) == 0 {
		return r
	}
	best := r.thriftiest(r.Fitting[0])
	r.Best = &best
	for _, s := range r.Fitting {
		if s.Name() != best.Name() {
			r.RunnerUp = r.choice(s)
			break
		}
	}
	if fastest := r.Fitting[0]; fastest.Name() != best.Name() {
		r.PassedOver = r.choice(fastest)
	}
	r.neighbours()
	if baseline := FindBaselines(summaries, selector).Of(best); baseline != nil {
		r.Baseline = baseline
		r.Ratio = percent(best.Sample(goal.Objective), baseline.Sample(goal.Objective))
	}
	return r
}

// Metrics are those that the choice is by: the objective and the memory.
func (r Recommendation) Metrics() []results.Metric {
	metrics := []results.Metric{r.Goal.Objective}
	if m, err := results.FindMetric(results.PeakMetric(r.Frontier.Memory)); err == nil && m.Name != r.Goal.Objective.Name {
		metrics = append(metrics, m)
	}
	return metrics
}

// firstExcess is the first budget that the cell breaks; nil when it fits.
func firstExcess(s Summary, budgets []Budget) *Excess {
	for _, b := range budgets {
		meets, known := b.Meets(s)
		if meets {
			continue
		}
		over := &Excess{Summary: s, Budget: b}
		if known {
			over.Sample = s.Sample(b.Metric)
		}
		return over
	}
	return nil
}

// thriftiest is the fitting cell with the least memory among the fastest and
// those that are as good and save memory worth having. Both are said of the
// whole interval of the ratio: an equivalence test by confidence intervals, see
// Schuirmann, A Comparison of the Two One-Sided Tests Procedure and the Power
// Approach for Assessing the Equivalence of Average Bioavailability (1987).
func (r Recommendation) thriftiest(fastest Summary) Summary {
	best, least := fastest, r.Frontier.peak(fastest)
	for _, s := range r.Fitting {
		objective := stats.ChangeInterval(fastest.Sample(r.Goal.Objective), s.Sample(r.Goal.Objective))
		memory := stats.ChangeInterval(fastest.Peak(r.Frontier.Memory), s.Peak(r.Frontier.Memory))
		if objective == nil || memory == nil || r.Frontier.peak(s) >= least {
			continue
		}
		if objective.Low >= -AlikeShare && objective.High <= AlikeShare && memory.High < -AlikeShare {
			best, least = s, r.Frontier.peak(s)
		}
	}
	return best
}

// choice puts a cell beside the best one.
func (r Recommendation) choice(s Summary) *Choice {
	best, this := r.Best.Sample(r.Goal.Objective), s.Sample(r.Goal.Objective)
	c := &Choice{Summary: s, Difference: stats.Compare(best, this), Interval: stats.ChangeInterval(best, this)}
	if mine, best := s.Peak(r.Frontier.Memory), r.Best.Peak(r.Frontier.Memory); mine != nil && best != nil {
		bytes := mine.Median - best.Median
		c.Bytes = &bytes
	}
	return c
}

// neighbours finds the cells next to the best one on the front of what is
// within the budgets that are not about memory.
func (r *Recommendation) neighbours() {
	memory := results.PeakMetric(r.Frontier.Memory)
	others := slices.DeleteFunc(slices.Clone(r.Goal.Under), func(b Budget) bool { return b.Metric.Name == memory })
	allowed := slices.DeleteFunc(slices.Clone(r.Frontier.Candidates), func(s Summary) bool { return firstExcess(s, others) != nil })
	at, cost := r.Frontier.peak(*r.Best), r.Frontier.cost(*r.Best)
	below := math.Inf(-1)
	for _, s := range r.Frontier.front(allowed) {
		peak := r.Frontier.peak(s)
		switch {
		case peak < at && peak > below:
			r.Less, below = r.choice(s), peak
		case peak > at && r.Frontier.cost(s) < cost && r.More == nil:
			r.More = r.choice(s)
		}
	}
}
