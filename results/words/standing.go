package words

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/gate"
	"stackmeter/scenarios/show"
)

// A Standing is what every view of a run or a comparison says of it first.
type Standing struct {
	Word string // a verdict, or how the run ended where it has none
	By   string // why; empty where the word says it all
	Good bool   // the word is good news
	Bad  bool   // and bad
	Warn bool   // it is undecided, and the scenario lets that pass
}

func (s Standing) String() string {
	if s.By == "" {
		return s.Word
	}
	return s.Word + ": " + s.By
}

// cannotSay is before a threshold that is undecided at a cell.
const cannotSay = "cannot say whether "

// Words of a standing that are not a run's verdict or outcome.
const (
	noVerdict   = "no verdict" // of a comparison that was held against nothing
	notFinished = "not finished"
	brokenNight = "broken night"
)

// Fails reports whether a gate must not let this pass: what had nothing to be compared
// with or has not finished is not bad, and fails all the same.
func (s Standing) Fails() bool { return !s.Good && !s.Warn && s.Word != noVerdict }

// StandingOf is a run's verdict and its reasons, or how the run ended if it was held
// against nothing. What the run holds counts for more than what it says of itself.
// counts are nil where they are not known.
func StandingOf(run results.Run, counts *results.Counts) Standing {
	by := slices.Concat(broken(run.Checks), unanswered(run), unmeasured(counts))
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
		if strings.Contains(run.Against, ", ") && len(by) == 0 {
			by = []string{fmt.Sprintf("cells that were ok in the nights before no longer are; stackmeter compare %s %s says which", results.LastPassed, run.ID)}
		} else if len(by) == 0 && run.Against != "" {
			by = []string{fmt.Sprintf("cells that were ok in run %s no longer are; stackmeter compare %[1]s %s says which", run.Against, run.ID)}
		}
		by = append(by, drifted(run.Checks)...)
	case run.Verdict == results.VerdictUndecided:
		s = undecided(run.Checks, run.Plan.Undecided, "")
		by = append([]string{s.By}, drifted(run.Checks)...)
	case run.Verdict == "" && len(run.Plan.Thresholds) > 0:
		s.Word, by = results.VerdictUndecided, []string{"it was never held against its thresholds"}
	default:
		if s.Good = true; len(run.Checks) > 0 {
			s.Word = cmp.Or(run.Verdict, run.Outcome)
		}
		by = append(answered(run), drifted(run.Checks)...)
	}
	s.By = strings.Join(by, "; ")
	return s
}

// namedAnswers is how many answers a standing has, or loads without one.
const namedAnswers = 3

// answered are the answers of a search, each with how sure it is.
func answered(run results.Run) (by []string) {
	for _, a := range run.Answers[:min(len(run.Answers), namedAnswers)] {
		by = append(by, fmt.Sprintf("%s at %s, %s", a.Topology, a.Load, sureText(run, a)))
	}
	if more := len(run.Answers) - namedAnswers; more > 0 {
		by = append(by, "and "+show.Plural(more, "more answer"))
	}
	return by
}

// sureText says how sure an answer is, and of one that is not as sure as was asked for
// what it lacks.
func sureText(run results.Run, a results.Answer) string {
	sure := "sure to " + inPercent(a.Sure)
	switch {
	case a.Decided && a.Sure == 0:
		sure = "by one start of each"
	case a.Decided:
	case a.Sure < evens:
		sure = "far from sure"
	case run.Plan.Search != nil && a.Sure >= run.Plan.Search.Confidence:
		sure += " of what was measured, but not to the end"
	default:
		sure = "only " + sure
	}
	if !a.Decided {
		sure += ", as " + ranOut(run)
	}
	return sure
}

// unanswered says for which loads a search found nothing.
func unanswered(run results.Run) []string {
	loads := run.Unanswered()
	if len(loads) > namedAnswers {
		loads = append(loads[:namedAnswers:namedAnswers], fmt.Sprintf("%d more loads", len(loads)-namedAnswers))
	}
	if len(loads) == 0 {
		return nil
	}
	return []string{"the search found no topology within the budgets at " + strings.Join(loads, ", ")}
}

// inPercent is how sure something is, in percent. It is never more than was shown: nothing
// is rounded up to 100%.
func inPercent(sure float64) string {
	decimals := 0
	if sure > 0.99 {
		decimals = 2
	}
	scale := math.Pow(10, float64(decimals))
	return strconv.FormatFloat(math.Floor(100*sure*scale+1e-6)/scale, 'f', -1, 64) + "%"
}

var (
	refusedBy = regexp.MustCompile(`it is not comparable with run (\S+), from which`)
	wereOK    = regexp.MustCompile(`^cells that were ok in (?:run (\S+)|the nights before) no longer are`)
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
		by = "" // a search's answers, which are no reasons
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
		if word == results.VerdictUndecided {
			readUndecided(run, by)
		}
		return nil
	default:
		return fmt.Errorf("cannot be %q: there is %s, %s, %s, %s and %s", show.Shorten(show.Line(word), 60), strings.Join(results.Verdicts(), ", "),
			results.OutcomeOK, results.OutcomeInterrupted, notFinished, brokenNight)
	}
	for _, reason := range strings.Split(by, "; ") {
		switch of := strings.LastIndex(reason, " at "); {
		case slices.Contains(known, reason), strings.HasPrefix(reason, cameSlowly):
		case missing.MatchString(reason):
			n, _ := strconv.Atoi(missing.FindStringSubmatch(reason)[1])
			run.Planned = len(records) + n
		case wereOK.MatchString(reason):
			run.Against = wereOK.FindStringSubmatch(reason)[1]
		case strings.HasPrefix(reason, "stackmeter compare "):
		case of > 0:
			run.Checks = append(run.Checks, results.Check{Threshold: reason[:of], Cell: reason[of+4:], Status: results.CheckBroken})
		default:
			run.Checks = append(run.Checks, results.Check{Threshold: reason, Cell: "cells that are not named", Status: results.CheckBroken})
		}
	}
	return nil
}

// readUndecided gives a run the checks that undecided said were undecided, if it said
// nothing else.
func readUndecided(run *results.Run, by string) {
	var checks []results.Check
	for _, reason := range strings.Split(by, "; ") {
		if strings.HasPrefix(reason, cameSlowly) {
			continue
		}
		text, is := strings.CutPrefix(reason, cannotSay)
		of := strings.LastIndex(text, " at ")
		if !is || of < 0 {
			return
		}
		checks = append(checks, results.Check{Threshold: text[:of], Cell: text[of+len(" at "):], Status: results.CheckUndecided})
	}
	run.Checks = append(run.Checks, checks...)
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
		return undecided(checks, c.Head.Plan.Undecided, ": no cell is in both runs")
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

// undecided says what there was no baseline for, and what is over a limit and not
// shown to be. The latter alone is what the scenario can let pass.
func undecided(checks []results.Check, then, otherwise string) Standing {
	s := Standing{Word: results.VerdictUndecided}
	over := verdict.Undecided(checks)
	var by []string
	if without := verdict.Uncompared(checks); len(without) > 0 {
		otherwise = " for " + strings.Join(without, ", ")
	} else if len(over) > 0 {
		s.Warn = then != gate.Fail
	}
	if !s.Warn && len(over) == 0 || strings.HasPrefix(otherwise, " for") {
		by = append(by, "nothing to compare with"+otherwise)
	}
	for _, at := range places(over) {
		by = append(by, cannotSay+at)
	}
	s.By = strings.Join(by, "; ")
	return s
}

// cameSlowly is before a threshold over whose limit a cell is since the anchor.
const cameSlowly = "came slowly: "

// drifted says what came slowly since the anchor.
func drifted(checks []results.Check) (by []string) {
	for _, at := range places(slices.DeleteFunc(slices.Clone(checks), func(c results.Check) bool { return c.Status != results.CheckDrifted })) {
		by = append(by, cameSlowly+at)
	}
	return by
}

// broken names the first thresholds that are broken, with the cell or the number
// of cells.
func broken(checks []results.Check) (by []string) {
	return places(slices.DeleteFunc(slices.Clone(checks), func(c results.Check) bool { return !c.Broken() }))
}

// places names the first thresholds of checks. All cells together come first, with
// their change.
func places(bad []results.Check) (by []string) {
	const named = 3
	byThreshold := verdict.GroupBy(bad, func(c results.Check) string { return c.Threshold })
	for _, of := range byThreshold[:min(len(byThreshold), named)] {
		where := of[0].Cell
		switch together := of[0].Cells > 0; {
		case together && len(of) > 1:
			where = whole(of[0]) + ", and " + show.Plural(len(of)-1, "cell") + " of them"
		case together, len(of) == 1 && of[0].Since != "":
			where = whole(of[0])
		case len(of) > 1:
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
