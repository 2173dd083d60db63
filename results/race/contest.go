package race

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// A Contest is what is known of one load.
type Contest struct {
	Load       scenarios.LoadSpec // whole
	Objective  results.Figure     // an open loop at a rate takes as long as its schedule: of those that serve it, the least memory is the best
	Tested     bool               // false: what is compared is the memory of one start each
	Answer     string             // topology; empty: none is within the budgets, as far as is known
	Sure       float64            // the confidence, up to the one asked for, that no candidate that was started is better than the answer by more than Within; 0 where it is not Tested
	FirstPass  bool               // the answer has a repeat of the whole load in the first pass over a stack, which its memory is from
	Confirmed  bool               // the answer was measured to the end: the whole load on a new start, as often as its budgets need
	Reached    bool               // Confirmed, and no candidate is in the race any more
	Candidates []Candidate        // the answer first, then by how good they are, then those of which nothing is known
}

// A Candidate is one topology for one load.
type Candidate struct {
	Topology string
	State    string
	Short    int       // repeats of short loads
	Whole    int       // repeats of the whole load
	Value    *float64  // the median of the objective over the repeats of the whole load; nil without any
	Evidence *Evidence // beside the leader; nil for the answer and where they have no round in common
	Reason   string    // in words: where it left and why, or why it was not started
}

// Contests are those of all loads, in the order of the plan.
func (r *Race) Contests() []Contest {
	r.judge()
	var all []Contest
	for _, f := range r.fields {
		all = append(all, r.contest(f))
	}
	return all
}

func (r *Race) contest(f *field) Contest {
	c := Contest{Load: f.load, Objective: f.figure, Tested: f.tested, Sure: f.sure, FirstPass: f.firstPass(), Confirmed: r.confirmed(f)}
	if f.leader != nil {
		c.Answer = f.leader.topology.Name
	}
	c.Reached = c.Confirmed && f.settled()
	runners := slices.Clone(f.runners)
	slices.SortStableFunc(runners, func(a, b *runner) int { return cmp.Compare(f.place(a), f.place(b)) })
	for _, one := range runners {
		c.Candidates = append(c.Candidates, r.candidate(f, one))
	}
	return c
}

// place orders candidates: by how good they seem, the leader first, the unknown last.
func (f *field) place(c *runner) float64 {
	switch {
	case c == f.leader:
		return math.Inf(-1)
	case math.IsNaN(c.effect):
		return math.Inf(1)
	}
	return c.effect
}

// candidate is a runner in words.
func (r *Race) candidate(f *field, c *runner) Candidate {
	wholes := c.wholes()
	one := Candidate{Topology: c.topology.Name, Short: c.measured() - len(wholes), Whole: len(wholes)}
	one.Value = median(f.figure, wholes)
	if c != f.leader && c.beside.Rounds > 0 {
		beside := c.beside
		one.Evidence = &beside
	}
	one.State = f.state(c)
	switch one.State {
	case StateOver:
		one.Reason = c.excess.sentence()
	case StateClosed:
		one.Reason = c.closed.Reason
	case StateFailed:
		one.Reason = failure(*c.failed)
	case StateLeft:
		left := *c.gone()
		one.Evidence, one.Reason = &left, r.leaving(f, left)
	case StateWaiting:
		one.Reason = "it was not started: the search ended before its turn"
	case StateSettled:
		one.Reason = fmt.Sprintf("it is not more than %s better than %s", percent(r.plan.Search.Within), f.leader.topology.Name)
	case StateRacing:
		one.Reason = "still in the race at the end"
	}
	if c == f.leader {
		one.Reason = "the answer"
	}
	return one
}

// state is where a candidate stands.
func (f *field) state(c *runner) string {
	switch {
	case c.excess != nil:
		return StateOver
	case c.closed != nil:
		return StateClosed
	case c.failed != nil:
		return StateFailed
	case c.gone() != nil:
		return StateLeft
	case c.measured() == 0:
		return StateWaiting
	case c == f.leader || c.settled:
		return StateSettled
	}
	return StateRacing
}

func (e breach) sentence() string {
	if e.Budget.Text == "" {
		return fmt.Sprintf("it did not serve the rate: %s/s at best", e.Budget.In(e.Value))
	}
	return fmt.Sprintf("over the budget in every repeat: %s %s, at best %s", e.Budget.Metric.Name, e.Budget.Text, e.Budget.In(e.Value))
}

// failure says why a candidate is out.
func failure(record results.Record) string {
	if record.Status == results.StatusOK {
		return fmt.Sprintf("%s were not as expected", show.Plural(record.Errors, "answer"))
	}
	first, _, _ := strings.Cut(record.Reason, "\n")
	return "it failed: " + first
}

// leaving says on what evidence a candidate left.
func (r *Race) leaving(f *field, e Evidence) string {
	where := ""
	if e.Length.Of > 0 {
		where = fmt.Sprintf(" of %s instead of %d", show.Plural(e.Length.Requests, "request"), e.Length.Of)
	}
	if !f.tested {
		return fmt.Sprintf("round %d: %s more %s than %s", e.Round, percent(e.Ratio-1), f.figure.Title, e.Leader)
	}
	return fmt.Sprintf("round %d: %s worse than %s, %s at least, by %s%s", e.Round, percent(e.Ratio-1), e.Leader, percent(e.Low-1), show.Plural(e.Rounds, "round"), where)
}

// settled reports whether nothing is left to find out about the load: no candidate that was
// started may be better than the answer by more than is asked.
func (f *field) settled() bool {
	return !slices.ContainsFunc(f.runners, func(c *runner) bool { return f.state(c) == StateRacing })
}

// firstPass reports whether the leader's memory is known under the whole load.
func (f *field) firstPass() bool {
	return f.leader != nil && slices.ContainsFunc(f.leader.wholes(), func(one repeat) bool { return FirstPass(one.record) })
}

func (r *Race) confirmed(f *field) bool {
	return f.firstPass() && len(f.leader.wholes()) >= r.wholes(f)
}

// wholes is how often the answer has to be measured to the end.
func (r *Race) wholes(f *field) int {
	if f.rate > 0 || slices.ContainsFunc(r.goal.Under, func(b verdict.Budget) bool { return !memory(b.Metric) }) {
		return wholeRepeats
	}
	return 1
}

// median is that of a figure; nil without any value.
func median(m results.Figure, repeats []repeat) *float64 {
	var values []float64
	for _, one := range repeats {
		if value := m.Of(one.record); value != nil {
			values = append(values, *value)
		}
	}
	if sample := stats.NewSample(values); sample != nil {
		return &sample.Median
	}
	return nil
}

func percent(share float64) string { return fmt.Sprintf("%.3g%%", 100*share) }
