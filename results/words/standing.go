package words

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
)

// A Standing is what every view of a run says of it first.
type Standing struct {
	Word string // a verdict, or how the run ended where it has none
	By   string // why; empty where the word says it all
	Good bool   // the word is good news
	Bad  bool   // and bad
}

func (s Standing) String() string {
	if s.By == "" {
		return s.Word
	}
	return s.Word + ": " + s.By
}

// namedThresholds is how many broken thresholds a standing names.
const namedThresholds = 3

// StandingOf is a run's verdict and its reasons, or how the run ended if it was held
// against nothing. counts are nil where they are not known.
func StandingOf(run results.Run, counts *results.Counts) Standing {
	s := Standing{Word: cmp.Or(run.Verdict, run.Outcome, "not finished")}
	switch {
	case run.Verdict == results.VerdictFailed:
		s.Bad, s.By = true, strings.Join(append(broken(run.Checks), unmeasured(counts)...), "; ")
	case run.Verdict == results.VerdictRefused:
		s.Bad, s.By = true, fmt.Sprintf("broken night: it is not comparable with run %s, from which it differs in kind", run.Against)
	case run.Outcome == results.OutcomeInterrupted:
		s.Word, s.By = run.Outcome, strings.Join(unmeasured(counts), "; ")
	case run.Outcome == results.OutcomeInfrastructure:
		s.Bad, s.Word, s.By = true, "broken night", strings.Join(append([]string{run.Outcome}, unmeasured(counts)...), "; ")
	case run.Verdict == results.VerdictUndecided:
		s.By = "nothing to compare with"
		if without := verdict.Uncompared(run.Checks); len(without) > 0 {
			s.By += " for " + strings.Join(without, ", ")
		}
	case run.Verdict == results.VerdictPassed:
		s.Good = true
	case run.Outcome == results.OutcomeFailed || run.Outcome == results.OutcomeOK && len(unmeasured(counts)) > 0:
		s.Bad, s.Word, s.By = true, results.OutcomeFailed, strings.Join(unmeasured(counts), "; ")
	case run.Outcome == results.OutcomeOK:
		s.Good = true
	}
	return s
}

// StandingOfComparison is the verdict on a comparison. Without thresholds there is
// none but failed.
func StandingOfComparison(c verdict.Comparison, checks []results.Check) Standing {
	s := Standing{Word: c.Verdict(checks)}
	switch s.Word {
	case results.VerdictFailed:
		by := broken(checks)
		for _, state := range []string{verdict.CellNewlyFailing, verdict.CellNewlyErring, verdict.CellNewlyPruned, verdict.CellMissing} {
			if n := c.Counts()[state]; n > 0 {
				by = append(by, show.Plural(n, "cell")+" "+state)
			}
		}
		s.Bad, s.By = true, strings.Join(by, "; ")
	case results.VerdictUndecided:
		s.By = "no cell is in both runs"
		if without := verdict.Uncompared(checks); len(without) > 0 {
			s.By = "nothing to compare with for " + strings.Join(without, ", ")
		}
	case results.VerdictPassed:
		if s.Good = len(checks) > 0; !s.Good {
			s.Word = "no verdict: there are no thresholds"
		}
	}
	return s
}

// broken names the thresholds that are broken, with the number of cells.
func broken(checks []results.Check) (by []string) {
	cells := map[string]int{}
	var order []string
	for _, c := range checks {
		if c.Broken() {
			if cells[c.Threshold]++; cells[c.Threshold] == 1 {
				order = append(order, c.Threshold)
			}
		}
	}
	for i, t := range order {
		if i == namedThresholds {
			return append(by, show.Plural(len(order)-i, "more threshold"))
		}
		by = append(by, fmt.Sprintf("%s at %s", t, show.Plural(cells[t], "cell")))
	}
	return by
}

// unmeasured says how many cells have no figures.
func unmeasured(counts *results.Counts) (by []string) {
	if counts == nil {
		return nil
	}
	for _, part := range []struct {
		n    int
		word string
	}{{counts.Failed, "failed"}, {counts.Pruned, "pruned"}, {counts.Missing(), "missing"}} {
		if part.n > 0 {
			by = append(by, show.Plural(part.n, "cell")+" "+part.word)
		}
	}
	return slices.Clip(by)
}
