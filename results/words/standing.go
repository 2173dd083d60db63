package words

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
)

// A Standing is what every view of a run or a comparison says of it first.
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

// Words of a standing that are not a run's verdict or outcome.
const (
	noVerdict   = "no verdict" // of a comparison that was held against nothing
	notFinished = "not finished"
	brokenNight = "broken night"
)

// Fails reports whether a gate must not let this pass: what is undecided or has
// not finished is not bad, and fails all the same.
func (s Standing) Fails() bool { return !s.Good && s.Word != noVerdict }

// StandingOf is a run's verdict and its reasons, or how the run ended if it was held
// against nothing. What the run holds counts for more than what it says of itself.
// counts are nil where they are not known.
func StandingOf(run results.Run, counts *results.Counts) Standing {
	by := append(broken(run.Checks), unmeasured(counts)...)
	s := Standing{Word: cmp.Or(run.Outcome, notFinished)}
	switch {
	case run.Outcome == "" || run.Outcome == results.OutcomeInterrupted:
	case run.Outcome == results.OutcomeInfrastructure:
		s.Bad, s.Word, by = true, brokenNight, append([]string{run.Outcome}, by...)
	case run.Verdict == results.VerdictRefused:
		s.Bad, s.Word = true, run.Verdict
		by = append([]string{fmt.Sprintf(brokenNight+": it is not comparable with run %s, from which it differs in kind", run.Against)}, by...)
	case run.Verdict == results.VerdictFailed || run.Outcome == results.OutcomeFailed || len(by) > 0:
		s.Bad, s.Word = true, results.VerdictFailed
		if len(by) == 0 && run.Against != "" {
			by = []string{fmt.Sprintf("cells that were ok in run %s no longer are; stackmeter compare %[1]s %s says which", run.Against, run.ID)}
		}
	case run.Verdict == results.VerdictUndecided:
		s.Word, by = run.Verdict, []string{uncompared(run.Checks, "")}
	case run.Verdict == "" && len(run.Plan.Thresholds) > 0:
		s.Word, by = results.VerdictUndecided, []string{"it was never held against its thresholds"}
	default:
		if s.Good = true; len(run.Checks) > 0 {
			s.Word = cmp.Or(run.Verdict, run.Outcome)
		}
	}
	s.By = strings.Join(by, "; ")
	return s
}

var (
	refusedBy = regexp.MustCompile(`it is not comparable with run (\S+), from which`)
	wereOK    = regexp.MustCompile(`^cells that were ok in run (\S+) no longer are`)
	missing   = regexp.MustCompile(`^([0-9]{1,7}) cells? missing$`)
)

// ReadStanding gives a run what StandingOf said of it, which is all that a file
// without its checks has. That it passed does not count: nothing shows what it was
// held against.
func ReadStanding(run *results.Run, records []results.Record, said string) error {
	word, by, _ := strings.Cut(said, ": ")
	counts := run.Count(records)
	known := append(unmeasured(&counts), results.OutcomeInfrastructure, "")
	switch word {
	case "":
	case results.OutcomeOK, results.VerdictPassed:
		if counts.Bad() > 0 {
			return fmt.Errorf("cannot be %q: %s", show.Line(word), strings.Join(unmeasured(&counts), "; "))
		}
	case notFinished:
		run.Outcome = ""
	case results.OutcomeInterrupted:
		run.Outcome = word
	case brokenNight:
		run.Outcome = results.OutcomeInfrastructure
	case results.VerdictFailed:
		run.Verdict = word
	case results.VerdictRefused, results.VerdictUndecided:
		if run.Verdict = word; refusedBy.MatchString(by) {
			run.Against = refusedBy.FindStringSubmatch(by)[1]
		}
		return nil
	default:
		return fmt.Errorf("cannot be %q: there is %s, %s, %s, %s and %s", show.Shorten(show.Line(word), 60), strings.Join(results.Verdicts(), ", "),
			results.OutcomeOK, results.OutcomeInterrupted, notFinished, brokenNight)
	}
	for _, reason := range strings.Split(by, "; ") {
		switch of := strings.LastIndex(reason, " at "); {
		case slices.Contains(known, reason):
		case missing.MatchString(reason):
			n, _ := strconv.Atoi(missing.FindStringSubmatch(reason)[1])
			run.Planned = len(records) + n
		case wereOK.MatchString(reason):
			run.Against = wereOK.FindStringSubmatch(reason)[1]
		case strings.HasPrefix(reason, "stackmeter compare ") && run.Against != "":
		case of > 0:
			run.Checks = append(run.Checks, results.Check{Threshold: reason[:of], Cell: reason[of+4:], Status: results.CheckBroken})
		default:
			run.Checks = append(run.Checks, results.Check{Threshold: reason, Cell: "cells that are not named", Status: results.CheckBroken})
		}
	}
	return nil
}

// StandingOfComparison is the verdict on a comparison.
func StandingOfComparison(c verdict.Comparison, checks []results.Check) Standing {
	switch word := c.Verdict(checks); word {
	case results.VerdictFailed:
		by := broken(checks)
		for _, state := range []string{verdict.CellNewlyFailing, verdict.CellNewlyErring, verdict.CellNewlyPruned, verdict.CellMissing} {
			if n := c.Counts()[state]; n > 0 {
				by = append(by, show.Plural(n, "cell")+" "+state)
			}
		}
		return Standing{Word: word, By: strings.Join(by, "; "), Bad: true}
	case results.VerdictUndecided:
		return Standing{Word: word, By: uncompared(checks, ": no cell is in both runs")}
	case results.VerdictPassed:
		return Standing{Word: word, Good: true}
	}
	return Standing{Word: noVerdict, By: "there are no thresholds"}
}

// Refused is the standing of two runs that are not compared, because they differ in
// kinds that are not among across. It fails nothing where they do not.
func Refused(base, head results.Run, across []string) (refused Standing, is bool) {
	left := verdict.Without(verdict.Disparities(base, head), across)
	var texts, kinds []string
	for _, d := range left {
		texts, kinds = append(texts, d.String()), append(kinds, d.Kind)
	}
	return Standing{Word: results.VerdictRefused, Bad: true, By: fmt.Sprintf("not comparable: %s and %s differ in %s; --across %s compares them anyway",
		base.ID, head.ID, strings.Join(texts, ", "), strings.Join(kinds, ","))}, len(left) > 0
}

// uncompared says what there was no baseline for.
func uncompared(checks []results.Check, otherwise string) string {
	if without := verdict.Uncompared(checks); len(without) > 0 {
		otherwise = " for " + strings.Join(without, ", ")
	}
	return "nothing to compare with" + otherwise
}

// broken names the first thresholds that are broken, with the cell or the number
// of cells.
func broken(checks []results.Check) (by []string) {
	const named = 3
	bad := slices.DeleteFunc(slices.Clone(checks), func(c results.Check) bool { return !c.Broken() })
	byThreshold := verdict.GroupBy(bad, func(c results.Check) string { return c.Threshold })
	for _, of := range byThreshold[:min(len(byThreshold), named)] {
		where := of[0].Cell
		if len(of) > 1 {
			where = show.Plural(len(of), "cell")
		}
		by = append(by, of[0].Threshold+" at "+where)
	}
	if more := len(byThreshold) - named; more > 0 {
		by = append(by, show.Plural(more, "more threshold"))
	}
	return by
}

// unmeasured says how many cells have no figures.
func unmeasured(counts *results.Counts) (by []string) {
	if counts == nil {
		return nil
	}
	if *counts == (results.Counts{}) {
		return []string{"no cell was measured"}
	}
	for _, part := range []struct {
		n    int
		word string
	}{{counts.Failed, "failed"}, {counts.Pruned, "pruned"}, {counts.Missing(), "missing"}} {
		if part.n > 0 {
			by = append(by, show.Plural(part.n, "cell")+" "+part.word)
		}
	}
	return by
}

// Measured is how many of the planned cells are ok.
func Measured(counts *results.Counts) string {
	if counts == nil {
		return Missing
	}
	return fmt.Sprintf("%d of %s", counts.OK, show.Plural(max(counts.Planned, counts.OK+counts.Bad()), "cell"))
}
