package verdict

import (
	"maps"
	"slices"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/threshold"
)

// Of is the verdict on a run, from its cells, its checks and its comparison with
// a baseline, which is nil if none was made. It is empty for a run whose cells are
// ok and that is held against nothing.
func Of(run results.Run, records []results.Record, checks []results.Check, c *Comparison) string {
	counts := run.Count(records)
	switch {
	case counts.Bad() > 0 || counts.Missing() > 0 || counts.OK == 0 || len(run.Unanswered()) > 0:
		return results.VerdictFailed
	case c != nil:
		return c.Verdict(checks)
	}
	return ofChecks(checks)
}

// Verdict is what a comparison and its checks say. It is VerdictUndecided where
// nothing was compared, and empty where nothing regressed and there are no checks.
func (c Comparison) Verdict(checks []results.Check) string {
	said := ofChecks(checks)
	compared := slices.ContainsFunc(c.Cells, func(cell CellComparison) bool {
		return cell.State != CellNew && cell.State != CellGone && cell.State != CellChanged
	})
	switch {
	case c.Regressed():
		return results.VerdictFailed
	case said != results.VerdictFailed && !compared:
		return results.VerdictUndecided
	}
	return said
}

func ofChecks(checks []results.Check) string {
	switch {
	case len(checks) == 0:
		return ""
	case slices.ContainsFunc(checks, results.Check.Broken):
		return results.VerdictFailed
	case len(Uncompared(checks)) > 0 || len(Undecided(checks)) > 0:
		return results.VerdictUndecided
	}
	return results.VerdictPassed
}

// Uncompared returns the thresholds that found a baseline at no cell, sorted.
func Uncompared(checks []results.Check) []string {
	without := map[string]bool{}
	for _, c := range checks {
		before, known := without[c.Threshold]
		without[c.Threshold] = c.Status == results.CheckNoBaseline && (before || !known)
	}
	maps.DeleteFunc(without, func(_ string, none bool) bool { return !none })
	return slices.Sorted(maps.Keys(without))
}

// Undecided returns the checks that are over their limit, and of which neither nights
// nor repeats can show that they are.
func Undecided(checks []results.Check) []results.Check {
	return slices.DeleteFunc(slices.Clone(checks), func(c results.Check) bool { return c.Status != results.CheckUndecided })
}

// CellsOf are the topologies of the cells that a run plans or has, by the cells'
// names. A search plans the cells of its answers: it measures the others only until it
// knows that they are none.
func CellsOf(run results.Run, records []results.Record) map[string]scenarios.Topology {
	cells := map[string]scenarios.Topology{}
	for _, trial := range run.Plan.Trials {
		if run.Plan.Search != nil {
			trial.Cells = slices.DeleteFunc(slices.Clone(trial.Cells), func(c scenarios.Cell) bool { return !isAnswer(run, trial.Topology, c.Load) })
		}
		for _, cell := range trial.Cells {
			cells[cell.Name] = trial.Topology
		}
	}
	for _, r := range records {
		if run.Plan.Search == nil || isAnswer(run, r.Topology, r.Cell.Load) {
			cells[r.Cell.Name] = r.Topology
		}
	}
	return cells
}

// LastPassed chooses for each cell of the head the runs that are its baseline: the
// last so many of earlier, of which the last comes first, that hold the cell and
// passed. So a run of some cells, or with another configuration, is no baseline
// for the rest. A run that is undecided counts too: it is the first of its cells,
// and held what could be checked.
//
// Among those that hold a cell, one comes first that does not differ from the head
// in kind, then one with the same topology, then one that was held to the same
// thresholds, then one that has as many repeats: what passed under a weaker gate
// is not what the next run is held against. The others of a cell are as the first of
// them. A run that differs in a kind that is
// not among across is none; unlike is the last of them if it is all that a cell has.
func LastPassed(head results.Run, cells map[string]scenarios.Topology, earlier []results.Run, thresholds []*threshold.Threshold, across []string, count int) (chosen map[string][]string, unlike *results.Run) {
	thresholds = slices.DeleteFunc(slices.Clone(thresholds), func(t *threshold.Threshold) bool { return len(t.Base()) == 0 })
	best := [4]int{1, 1, len(thresholds), 1}
	chosen = map[string][]string{}
	settled, scores, refused := 0, map[string][4]int{}, map[string]*results.Run{}
	for i := range earlier {
		run := &earlier[i]
		if !mayBeBase(*run, head) {
			continue
		}
		differ := Disparities(*run, head)
		allowed := len(Without(differ, across)) == 0
		checks := map[string][]results.Check{}
		for _, c := range run.Checks {
			checks[c.Cell] = append(checks[c.Cell], c)
		}
		for name, topology := range CellsOf(*run, nil) {
			own, wanted := cells[name]
			switch {
			case !wanted || scores[name] == best && len(chosen[name]) == count:
				continue
			case !allowed:
				if refused[name] == nil {
					refused[name] = run
				}
				continue
			}
			score := [4]int{one(len(differ) == 0), one(sameTopology(topology, own)), heldTo(thresholds, checks[name]), one(run.Plan.Repeats >= head.Plan.Repeats)}
			before, has := scores[name]
			switch better := slices.Compare(score[:], before[:]); {
			case !has || better > 0:
				chosen[name], scores[name] = []string{run.ID}, score
			case better < 0 || len(chosen[name]) == count:
				continue
			default:
				chosen[name] = append(chosen[name], run.ID)
			}
			settled += one(score == best && len(chosen[name]) == count)
		}
		if settled == len(cells) {
			break
		}
	}
	for name, run := range refused {
		if _, has := chosen[name]; !has && (unlike == nil || run.Started.After(unlike.Started)) {
			unlike = run
		}
	}
	return chosen, unlike
}

// mayBeBase reports whether an earlier run is one that the head's scenario may be held against.
func mayBeBase(run, head results.Run) bool {
	return run.Scenario == head.Scenario && (run.Verdict == results.VerdictPassed || run.Verdict == results.VerdictUndecided)
}

// isAnswer reports whether a search found the topology to be the best for the load.
func isAnswer(run results.Run, t scenarios.Topology, load scenarios.LoadSpec) bool {
	return slices.ContainsFunc(run.Answers, func(a results.Answer) bool { return a.Topology == t.Name && a.Load == load.Name() })
}

// Judged are the cells of a run that its thresholds are for: of a search the answers, as
// one that is no answer may be as bad as it likes.
func Judged(run results.Run, records []results.Record) []Summary {
	all := SummariseRun(run, records)
	if run.Plan.Search != nil {
		all = slices.DeleteFunc(all, func(s Summary) bool { return !isAnswer(run, s.Topology, s.Load) })
	}
	return all
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// heldTo counts the thresholds that a cell of a run that passed was held to, by
// the run's own checks of the cell.
func heldTo(thresholds []*threshold.Threshold, checks []results.Check) int {
	n := 0
	for _, t := range thresholds {
		n += one(slices.ContainsFunc(checks, func(c results.Check) bool { return meets(t, c) }))
	}
	return n
}

// meets reports whether a check that held shows that the threshold held too. What
// asks for an improvement need not have held before.
func meets(t *threshold.Threshold, c results.Check) bool {
	if c.Threshold == t.Text {
		return true
	}
	if c.Status == results.CheckNoBaseline && !slices.ContainsFunc(t.Own(), func(name string) bool { _, has := c.Values[name]; return !has }) {
		return true // nothing was there to be compared with
	}
	holds, err := t.Holds(c.Values, c.Base)
	if err != nil || holds {
		return err == nil
	}
	same, err := t.Holds(c.Base, c.Base)
	return err == nil && !same
}
