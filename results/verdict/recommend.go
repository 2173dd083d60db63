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
	Objective results.Figure
	Under     []Budget // all of them have to be met
}

// A Recommendation is the topology to deploy for a load, with those that it was chosen
// from.
type Recommendation struct {
	Load    scenarios.LoadSpec
	NotHeld int // topologies that did not serve the load's rate

	Goal     Goal
	Frontier Frontier

	Best     *Summary // nil if nothing fits
	RunnerUp *Choice  // the next best cell that fits
	More     *Choice  // the next cell on the front that needs more memory than the best, whatever the memory budget
	Less     *Choice  // the next cell on the front that needs less

	// PassedOver is the cell with the best median, where another one was
	// preferred: Best is as good in the objective within AlikeShare and needs
	// less memory by more than that, both with Confidence. It is nil if Best
	// has the best median.
	PassedOver *Choice

	Fitting []Summary // within all budgets, the best median of the objective first
	Over    []Excess  // the others, in the order of Summarise

	field    field    // among which Best was picked
	Baseline *Summary // Best's; nil if there is none or it is not clean
	Ratio    Relation // of the objective, from the baseline to Best
}

// A Choice is a cell compared with the best one.
type Choice struct {
	Summary  Summary
	Relation          // of the objective, from the best cell to this one
	Bytes    *float64 // of peak memory more than the best cell; negative for less
}

// An Excess is a cell that does not fit, with the first budget that it breaks.
type Excess struct {
	Summary Summary
	Budget  Budget
	Sample  *stats.Sample // of the budget's metric; nil if not every repeat has it
	Repeat  int           // the one that is the farthest beyond the budget; 0: not known
	Value   float64       // of that repeat
}

// IsOver reports whether a cell does not fit.
func (r Recommendation) IsOver(s Summary) bool {
	return slices.ContainsFunc(r.Over, func(e Excess) bool { return e.Summary.Name() == s.Name() })
}

// Recommend chooses among the candidates of the Frontier, which are clean cells
// of the largest number of requests. A cell fits if every repeat is within every
// budget. The best median of the objective wins, then the least memory. A cell
// that is as good as that within AlikeShare and saves more than that of its
// memory is preferred. For this it is not enough that no test shows a
// difference: few repeats of a noisy figure do not even show one of 50%.
//
// It does so for each load by itself, in their order: the load is what users ask, and
// the topology is the choice. An open loop at a rate takes as long as its schedule:
// for the duration or the throughput it is given the topology with the least memory of
// those that served the rate.
func Recommend(summaries []Summary, plan scenarios.Plan, goal Goal) []Recommendation {
	memory, baselines := MemoryKind(summaries), FindBaselines(summaries, plan)
	var all []Recommendation
	for _, cells := range GroupBy(summaries, func(s Summary) string { return ModeName(s.Load) }) {
		all = append(all, recommend(cells, goal, memory, baselines))
	}
	slices.SortStableFunc(all, func(a, b Recommendation) int { return compareModes(a.Load, b.Load) })
	return all
}

// recommend chooses among cells of one load.
func recommend(cells []Summary, goal Goal, memory string, baselines Baselines) Recommendation {
	r := Recommendation{Load: cells[len(cells)-1].Load, Goal: goal} // that with the most requests
	if rate := r.Load.Rate; r.Load.Client == scenarios.ClientOpen && rate > 0 && Scheduled(goal.Objective) {
		r.Goal.Objective = results.Metric(results.PeakMetric(memory))
		cells = slices.DeleteFunc(slices.Clone(cells), func(s Summary) bool {
			held := s.Throughput == nil || s.Throughput.Min >= ServedShare*rate
			if !held && s.Clean() && s.Load.Requests == r.Load.Requests {
				r.NotHeld++
			}
			return !held
		})
	}
	r.Frontier = findFrontier(cells, r.Goal.Objective, memory)
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
	r.Best, r.Baseline = &best, baselines.Of(best)
	r.field = r.luck()
	if fastest := r.Fitting[0]; fastest.Name() != best.Name() {
		r.PassedOver = r.choice(fastest)
		r.RunnerUp = r.PassedOver
	} else if len(r.Fitting) > 1 {
		r.RunnerUp = r.choice(r.Fitting[1])
		r.RunnerUp.Relation = r.field.fair(Beside(best, r.Fitting[1], r.Goal.Objective), best, r.Fitting[1], true)
	}
	r.neighbours()
	if r.Baseline != nil {
		r.Ratio = r.beside(*r.Baseline)
	}
	return r
}

// luck is the field in which the best is the one with the best median. One that was preferred
// for its memory had no luck in being picked.
func (r Recommendation) luck() field {
	if r.Fitting[0].Name() != r.Best.Name() {
		return field{}
	}
	var besides []Summary
	for _, e := range r.Over {
		besides = append(besides, e.Summary)
	}
	if b := r.Baseline; b != nil && !slices.ContainsFunc(r.Frontier.Candidates, func(s Summary) bool { return s.Name() == b.Name() }) {
		besides = append(besides, *b)
	}
	return newField(r.Fitting, besides, r.Goal.Objective, *r.Best)
}

// beside is how Best stands to another cell in the objective.
func (r Recommendation) beside(s Summary) Relation {
	return r.field.fair(Beside(s, *r.Best, r.Goal.Objective), s, *r.Best, false)
}

// Copies is how many stacks of Best answer a rate, in requests per second, by what one
// answered under the load. It is 0 where that is not known. One that served the rate of an
// open loop (ServedShare) counts for all of it: the last answer comes after the schedule.
func (r Recommendation) Copies(rate float64) int {
	if r.Best == nil || rate <= 0 || r.Best.Throughput == nil || r.Best.Throughput.Median <= 0 {
		return 0
	}
	each := r.Best.Throughput.Median
	if offered := r.Load.Rate; offered > 0 && each >= ServedShare*offered {
		each = max(each, offered)
	}
	return int(math.Ceil(rate / each))
}

// Metrics are those that decide: the objective and the memory.
func (r Recommendation) Metrics() []results.Figure {
	metrics := []results.Figure{r.Goal.Objective}
	if peak := results.PeakMetric(r.Frontier.Memory); peak != r.Goal.Objective.Name {
		metrics = append(metrics, results.Metric(peak))
	}
	return metrics
}

// firstExcess is the first budget that the cell breaks, or nil if it fits.
func firstExcess(s Summary, budgets []Budget) *Excess {
	for _, b := range budgets {
		meets, known := b.Meets(s)
		if meets {
			continue
		}
		over := &Excess{Summary: s, Budget: b}
		if known {
			over.Sample = s.Sample(b.Metric)
			over.Repeat, over.Value = b.worst(s)
		}
		return over
	}
	return nil
}

// thriftiest is the cell with the least memory among the fastest and the fitting
// cells that are as good and save enough memory. Both have to be true of the
// whole interval of the ratio, which makes this an equivalence test by
// confidence intervals. See Schuirmann, A Comparison of the Two One-Sided Tests
// Procedure and the Power Approach for Assessing the Equivalence of Average
// Bioavailability (1987).
func (r Recommendation) thriftiest(fastest Summary) Summary {
	best, least := fastest, r.Frontier.peak(fastest)
	for _, s := range r.Fitting {
		objective := Beside(fastest, s, r.Goal.Objective).Interval
		memory := Beside(fastest, s, results.Metric(results.PeakMetric(r.Frontier.Memory))).Interval
		if objective == nil || memory == nil || r.Frontier.peak(s) >= least {
			continue
		}
		if objective.Low >= 1-AlikeShare && objective.High <= 1+AlikeShare && memory.High < 1-AlikeShare {
			best, least = s, r.Frontier.peak(s)
		}
	}
	return best
}

// choice compares a cell with the best one.
func (r Recommendation) choice(s Summary) *Choice {
	c := &Choice{Summary: s, Relation: r.field.fair(Beside(*r.Best, s, r.Goal.Objective), *r.Best, s, false)}
	if mine, best := s.Peak(r.Frontier.Memory), r.Best.Peak(r.Frontier.Memory); mine != nil && best != nil {
		c.Bytes = new(mine.Median - best.Median)
	}
	return c
}

// neighbours finds the cells next to the best one on the front of all cells
// within the budgets other than that of memory.
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
