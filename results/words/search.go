package words

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/race"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// A Search is what a search found, for all that show it.
type Search struct {
	Goal     verdict.Goal
	Contests []race.Contest   // one for each load
	Answers  []results.Answer // theirs
	Whole    float64          // seconds: what measuring each cell as often as the plan's repeats say would take, as an estimate; 0: not known
}

// SearchOf is what a run's records say about its search; nil of a run that is none.
func SearchOf(run results.Run, records []results.Record) *Search {
	if run.Plan.Search == nil {
		return nil
	}
	s := &Search{}
	s.Goal, _ = verdict.NewGoal(run.Plan.Search.Recommend) // it was checked with the scenario
	made := race.New(run.Plan)
	for _, r := range slices.SortedStableFunc(slices.Values(records), func(a, b results.Record) int { return a.Started.Compare(b.Started) }) {
		made.Add(r)
	}
	s.Contests = made.Contests()
	s.Whole = wholeMatrix(run, made, len(records))
	for _, c := range s.Contests {
		sure := c.Sure
		// Of one start of each nothing says how much starts differ, and with nothing
		// beside it an answer is none.
		if !c.Tested || alone(c) {
			sure = 0
		}
		s.Answers = append(s.Answers, results.Answer{
			Load: c.Load.Name(), Topology: c.Answer, Sure: sure, Decided: decided(c),
			Why: s.why(run, c),
		})
	}
	return s
}

// Recommended are the answers as what is deployed for each load. One has no Best where
// there is no answer, or where short loads alone speak for it.
func (s *Search) Recommended(records []results.Record) []verdict.Recommendation {
	summaries := verdict.Summarise(records)
	var loads []verdict.Recommendation
	for _, c := range s.Contests {
		r := verdict.Recommendation{Load: c.Load, Goal: verdict.Goal{Objective: c.Objective, Under: s.Goal.Under}, Frontier: verdict.Frontier{Memory: verdict.MemoryKind(summaries)}}
		for _, cell := range summaries {
			if cell.Topology.Name == c.Answer && cell.Load == c.Load && cell.Sample(c.Objective) != nil {
				r.Best = &cell
			}
		}
		loads = append(loads, r)
	}
	return loads
}

// wholeMatrix estimates how many seconds the whole matrix would take in rounds with one
// start of each stack, from how long what was measured took.
func wholeMatrix(run results.Run, made *race.Race, records int) float64 {
	if records == 0 {
		return 0
	}
	beside := run.Spent[results.PhasePrepare] / float64(records) // of each cell
	sum := run.Spent[results.PhaseImages]
	for _, trial := range run.Plan.Trials {
		sum += made.StartSeconds(trial.Topology.Name)
		for _, cell := range trial.Cells {
			took := made.Seconds(trial.Topology.Name, cell.Load)
			if took == 0 {
				return 0
			}
			sum += float64(run.Plan.Repeats) * (took + beside)
		}
	}
	return sum
}

// count is how many candidates are in one of the states.
func count(c race.Contest, states ...string) int {
	n := 0
	for _, candidate := range c.Candidates {
		if slices.Contains(states, candidate.State) {
			n++
		}
	}
	return n
}

// decided reports whether nothing is left to find out: a candidate that was never started
// may be better than any answer.
func decided(c race.Contest) bool {
	return c.Reached && count(c, race.StateWaiting) == 0 || c.Answer == "" && !unknown(c)
}

// alone reports whether the answer is the only candidate that was measured, and others
// were never started.
func alone(c race.Contest) bool {
	return c.Answer != "" && count(c, race.StateWaiting) > 0 && count(c, race.StateWaiting, race.StateFailed, race.StateClosed) == len(c.Candidates)-1
}

// unknown reports whether there may be an answer among candidates that a search has not
// come to, or not to the end of.
func unknown(c race.Contest) bool { return count(c, race.StateWaiting, race.StateRacing) > 0 }

// why is the answer to one load with all that makes it sure, or not.
func (s *Search) why(run results.Run, c race.Contest) string {
	parts := append([]string{s.Sure(run, c)}, s.Open(c)...)
	all, measured := len(c.Candidates), 0
	for _, candidate := range c.Candidates {
		if candidate.Whole > 0 {
			measured++
		}
	}
	parts = append(parts, fmt.Sprintf("%d of %d %s measured to the end", measured, all, were(measured)))
	return strings.Join(parts, "; ")
}

// Open says what an answer that is not sure was chosen by, and which candidates may yet be
// better than it, or are not known.
func (s *Search) Open(c race.Contest) (parts []string) {
	if based := basis(c); based != "" && !c.Reached {
		parts = append(parts, based)
	}
	if racing := inTheRace(c); len(racing) > 0 && !c.Reached {
		names := racing[:min(len(racing), namedAnswers)]
		more := ""
		if left := len(racing) - len(names); left > 0 {
			more = fmt.Sprintf(" and %d more", left)
		}
		parts = append(parts, "still in the race: "+strings.Join(names, ", ")+more)
	}
	all := len(c.Candidates)
	for _, part := range []struct {
		n    int
		text string
	}{
		{count(c, race.StateWaiting), "of %d %s never started"},
		{count(c, race.StateFailed), "of %d %s not measured, because it failed"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d "+part.text, part.n, all, were(part.n)))
		}
	}
	return parts
}

// basis says what an answer that is not sure was chosen by.
func basis(c race.Contest) string {
	for _, one := range c.Candidates {
		if one.Topology == c.Answer && c.Tested {
			return fmt.Sprintf("chosen by an estimate, from %d short and %d whole repeats of it", one.Short, one.Whole)
		}
	}
	return ""
}

func were(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// inTheRace are the topologies that may be better than the answer.
func inTheRace(c race.Contest) (names []string) {
	for _, candidate := range c.Candidates {
		if candidate.State == race.StateRacing && candidate.Topology != c.Answer {
			names = append(names, candidate.Topology)
		}
	}
	return names
}

// Sure says how sure an answer is, and of what.
func (s *Search) Sure(run results.Run, c race.Contest) string {
	within := ""
	if bounds := s.Goal.Bounds(); len(bounds) > 0 {
		within = " within " + strings.Join(bounds, ", ")
	}
	all := len(c.Candidates)
	judged := all - count(c, race.StateWaiting, race.StateFailed)
	among := fmt.Sprintf("the %d", all)
	if judged < all {
		among = fmt.Sprintf("the %d that were measured", judged)
	}
	ended := ""
	if !decided(c) && (c.Answer != "" || unknown(c)) {
		ended = cmp.Or(map[string]string{"": "so far", results.OutcomeInterrupted: "it was interrupted", results.OutcomeInfrastructure: "it was cut short"}[run.Outcome],
			ranOut(run))
		if c.Answer != "" && !unknown(c) && run.Outcome != "" {
			ended += " before the answer was measured to the end"
		}
		ended += ": "
	}
	switch {
	case alone(c):
		return ended + "it is the only one that was measured"
	case c.Answer == "":
		return fmt.Sprintf("%snone of %s is%s", ended, among, cmp.Or(within, " an answer"))
	case judged == 1 && all > 1:
		return fmt.Sprintf("%sof %d it is the only one that was measured", ended, all)
	case !c.Tested:
		return fmt.Sprintf("%sof %s it has the least %s%s, by one start of each", ended, among, c.Objective.Title, within)
	}
	if c.Sure < evens {
		return fmt.Sprintf("%sfar from sure that none of %s is more than %.3g%% %s%s", ended, among, 100*run.Plan.Search.Within, comparative(c.Objective), within)
	}
	return fmt.Sprintf("%ssure to %s that none of %s is more than %.3g%% %s%s", ended, inPercent(c.Sure), among, 100*run.Plan.Search.Within, comparative(c.Objective), within)
}

// ranOut is why a search ended that is not sure. One without a limit of time had no room to
// measure candidates beside each other.
func ranOut(run results.Run) string {
	if run.Plan.Search != nil && run.Plan.Search.Time == 0 {
		return "there was no room for more"
	}
	return "the time was up"
}

// evens is how sure one has to be for a figure of it to say anything.
const evens = 0.5

func comparative(m results.Figure) string {
	if m.Name == results.MetricDuration {
		return "faster"
	}
	return "better in " + m.Title
}

// Took says how long a search took, and how long measuring the whole matrix would have
// taken. Where that is less, it says so too.
func (s *Search) Took(run results.Run) string {
	took := run.SpentTotal()
	all := fmt.Sprintf("measuring each cell %s", show.Plural(max(run.Plan.Repeats, 1), "time"))
	switch {
	case took == 0:
		return ""
	case s.Whole == 0:
		return WallTime(took)
	case took > s.Whole:
		return fmt.Sprintf("%s: longer than %s would have, about %s", WallTime(took), all, WallTime(s.Whole))
	}
	return fmt.Sprintf("%s: %s would have taken about %s", WallTime(took), all, WallTime(s.Whole))
}

// StateOf is what a candidate is called for a load: the answer, or its state.
func StateOf(c race.Contest, candidate race.Candidate) string {
	if candidate.Topology == c.Answer {
		return "answer"
	}
	return candidate.State
}

// RatioText is how a candidate stands to the answer, with its interval.
func RatioText(candidate race.Candidate) string {
	e := candidate.Evidence
	if e == nil {
		return Missing
	}
	text := fmt.Sprintf("%.3g", e.Ratio)
	if e.Low > 0 && e.High < maxRatio {
		text += fmt.Sprintf(" (%.3g to %.3g)", e.Low, e.High)
	}
	return text
}

// maxRatio is from where on a bound of a ratio says nothing.
const maxRatio = 100

// LoadOf is the load of an answer as tables call it.
func LoadOf(load scenarios.LoadSpec) string {
	return fmt.Sprintf("%s, %s", show.Line(verdict.ModeName(load)), show.Plural(load.Requests, "request"))
}
