package verdict

import (
	"slices"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/goals"
)

// A Decision is the answer of a run: the topology to deploy for each load.
type Decision struct {
	Choices []Deploy             // those that are best for a load, in the order of the loads
	Nothing []scenarios.LoadSpec // loads for which nothing fits
	Others  *float64             // cores that other programs used while the chosen cells were measured, the mean; nil: not known
	Memory  string               // MemoryGPU or MemoryMain
}

// A Deploy is a topology with the loads that it is the best for.
type Deploy struct {
	Topology scenarios.Topology
	Loads    []LoadsAnswer
}

// A LoadsAnswer is the choice for one load beside what it was chosen over.
type LoadsAnswer struct {
	Recommendation

	// Reference is the cell of the scenario's baseline topology, by default the first
	// one, under the same load, or where there is none the baseline itself; nil where
	// neither is clean, or it is the best one.
	Reference *Summary
	Gain      Relation // of the objective, from Reference to Best
	Bytes     *float64 // of peak memory more than Reference

	Shown  int       // others that fit and are shown to be worse, each by itself
	Like   []Summary // others that fit and are not told apart
	Unable int       // others that fit, of which too few repeats could show anything
}

// Decide answers what the scenario asks for, or which topology is the fastest where it
// asks for nothing.
func Decide(run results.Run, summaries []Summary) (Decision, error) {
	asked := goals.Recommend{Objective: results.MetricDuration}
	if run.Plan.Recommend != nil {
		asked = *run.Plan.Recommend
	}
	goal, err := NewGoal(asked)
	if err != nil || len(summaries) == 0 {
		return Decision{}, err
	}
	beside := references(summaries, run.Plan)
	d := Decision{Memory: MemoryKind(summaries)}
	var chosen []Summary
	for _, r := range Recommend(summaries, run.Plan, goal) {
		if r.Best == nil {
			d.Nothing = append(d.Nothing, r.Load)
			continue
		}
		chosen = append(chosen, *r.Best)
		a := answer(r, summaries, beside[r.Best.Load.Requests])
		at := slices.IndexFunc(d.Choices, func(c Deploy) bool { return c.Topology.Name == r.Best.Topology.Name })
		if at < 0 {
			at = len(d.Choices)
			d.Choices = append(d.Choices, Deploy{Topology: r.Best.Topology})
		}
		d.Choices[at].Loads = append(d.Choices[at].Loads, a)
	}
	d.Others = Others(chosen, run)
	return d, nil
}

// answer puts the best cell of a load beside the others.
func answer(r Recommendation, summaries []Summary, reference string) LoadsAnswer {
	a := LoadsAnswer{Recommendation: r}
	if r.Baseline != nil && r.Baseline.Name() != r.Best.Name() {
		a.Reference, a.Gain = r.Baseline, r.Ratio
	}
	for i, s := range summaries {
		if s.Topology.Name == reference && s.Load == r.Best.Load && s.Clean() && s.Name() != r.Best.Name() {
			a.Reference, a.Gain = &summaries[i], r.beside(s)
		}
	}
	if mine := r.Best.Peak(r.Frontier.Memory); a.Reference != nil && mine != nil {
		if its := a.Reference.Peak(r.Frontier.Memory); its != nil {
			a.Bytes = new(mine.Median - its.Median)
		}
	}
	for _, s := range r.Fitting {
		if s.Name() == r.Best.Name() {
			continue
		}
		switch beside := Beside(*r.Best, s, r.Goal.Objective); {
		case !beside.Able:
			a.Unable++
		case beside.Difference.Shown && beside.Ratio != nil && (*beside.Ratio > 1) != r.Goal.Objective.Higher:
			a.Shown++
		default:
			a.Like = append(a.Like, s)
		}
	}
	return a
}

// Others is the mean of the cores that neither the stack nor the client used while cells
// were measured; nil: not known.
func Others(cells []Summary, run results.Run) *float64 {
	sum, n := 0.0, 0
	for _, s := range cells {
		for _, r := range s.Speaking {
			if u := utilisationOf(r, run.Plan, run.Host); u.others != nil {
				sum, n = sum+*u.others, n+1
			}
		}
	}
	if n == 0 {
		return nil
	}
	return new(sum / float64(n))
}
