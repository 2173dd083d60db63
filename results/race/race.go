// Package race judges a search: which topology is the best for each load, how sure that
// is, and where each of the others left.
//
// It is pure. What it says follows from a plan and its records, in the order in which
// they were made, so the strategy that decides what is measured next and every report
// say the same.
//
// Two things are kept apart. An estimate (see estimate) uses all that was measured to say
// which candidate seems the best, and what is worth measuring next (see Blocks): it names
// the answer. Whether a candidate leaves, and how sure an answer is, is judged only by the
// rounds that a candidate and the leader are both in, at one length. What is measured in a
// round is measured soon after each other, so what drifts is the round's, and not in the
// difference of two candidates of it. That difference is judged by stats.AnytimeP, which may
// be looked at after every round. With K candidates each is judged at (1 − confidence) /
// (K − 1), in equal parts for each length: the answer can only be wrong where the test of a
// pair of the truly best one and another errs, and there are K − 1 such pairs. How much the
// difference of a pair varies from round to round is estimated from its own rounds and from
// all others', see stats.Moderate.
package race

import (
	"cmp"
	"math"
	"slices"
	"time"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
)

// States of a candidate.
const (
	StateWaiting = "waiting"     // it was not started
	StateRacing  = "racing"      // it may still be the answer, or be more than Within better
	StateSettled = "settled"     // it is not more than Within better than the answer
	StateLeft    = "left"        // it is more than Within worse than the best
	StateOver    = "over-budget" // in every repeat
	StateFailed  = "failed"
	StateClosed  = "closed" // a smaller one was over a budget of memory, or ran out of it
)

// A Race is the judgement on a search. Make it with New and tell it of each record with
// Add, in the order in which they were made.
type Race struct {
	plan   scenarios.Plan
	goal   verdict.Goal
	round  int // of the last record
	fields []*field
	loads  map[scenarios.LoadSpec]*field
	values []*value // of all fields, in their order
	began  time.Time
	starts map[string]float64 // seconds, by topology

	before estimate // at the end of the round before this one
	now    estimate
	judged bool // since the last record
}

// A field is the race for one load.
type field struct {
	number     int                // of the race's
	load       scenarios.LoadSpec // whole
	lengths    []scenarios.LoadSpec
	figure     results.Figure // that decides
	tested     bool           // differences of it are tested
	rate       float64        // that has to be served; 0: none
	runners    []*runner
	topologies map[string]*runner // those, by name
	leader     *runner
	sure       float64
}

// A runner is one candidate for one load.
type runner struct {
	topology scenarios.Topology
	repeats  [][]repeat      // that are ok, by slot, each round once
	longest  *results.Record // of those, the one with most requests
	failed   *results.Record // the last record, if it failed
	closed   *results.Record // why it was pruned
	excess   *breach
	left     *Evidence // in a round that is over
	leaving  *Evidence // as it seems from all records
	settled  bool
	beside   Evidence
	duels    [1 + classes]duel // by slot

	effect   float64       // the logarithm of the objective, as an estimate; NaN: not known
	variance float64       // of that
	means    [classes]mean // by length
}

func (c *runner) gone() *Evidence { return cmp.Or(c.left, c.leaving) }

// New is the race of a plan with a Search, before anything was measured. The goal's
// budgets and objective are readable: a scenario was checked for it.
func New(plan scenarios.Plan) *Race {
	r := &Race{plan: plan, loads: map[scenarios.LoadSpec]*field{}, starts: map[string]float64{}}
	r.goal, _ = verdict.NewGoal(plan.Search.Recommend)
	for _, trial := range plan.Trials {
		for _, cell := range trial.Cells {
			f := r.field(cell.Load)
			if f == nil {
				f = newField(cell.Load, r.goal)
				f.number = len(r.fields)
				r.fields, r.loads[cell.Load] = append(r.fields, f), f
			}
			c := &runner{topology: trial.Topology, repeats: make([][]repeat, f.slots()), effect: math.NaN()}
			f.runners, f.topologies[trial.Topology.Name] = append(f.runners, c), c
		}
	}
	r.before = newEstimate(r.fields)
	return r
}

func newField(load scenarios.LoadSpec, goal verdict.Goal) *field {
	f := &field{load: load, figure: goal.Objective, topologies: map[string]*runner{}}
	if load.Client == scenarios.ClientOpen && load.Rate > 0 && verdict.Scheduled(goal.Objective) {
		f.rate, f.figure = load.Rate, results.Metric(results.MetricMemoryPeak)
		for _, b := range goal.Under {
			if b.Metric.Name == results.MetricGPUPeak {
				f.figure = b.Metric
			}
		}
	}
	f.tested = !memory(f.figure)
	f.lengths = []scenarios.LoadSpec{load}
	if f.tested {
		f.lengths = append(short(load), load)
	}
	return f
}

// memory reports whether a figure is measured in a stack's first pass only.
func memory(m results.Figure) bool {
	return m.Name == results.MetricGPUPeak || m.Name == results.MetricMemoryPeak
}

// short are the short forms of a load, the shortest first, each of them twice as long as the
// one before at least. All have four requests for each client at least: the last requests
// of a load leave clients without any, and how much that costs differs between topologies.
// Loads that are not so many requests as fast as possible have no short form.
func short(load scenarios.LoadSpec) (lengths []scenarios.LoadSpec) {
	if load.Client == scenarios.ClientOpen {
		return nil
	}
	const least, clients, tenth, third = 20, 4, 10, 3
	shortest := max(least, clients*load.Pool)
	last := 0
	for _, requests := range []int{shortest, load.Requests / tenth, load.Requests / third} {
		if requests >= shortest && requests >= 2*last && requests < load.Requests {
			lengths, last = append(lengths, load.Short(requests)), requests
		}
	}
	return lengths
}

// allowance is how much longer, as a logarithm, one candidate may take than another at a
// short length although it does not at the whole one: the last requests, up to one for
// each client, are answered while others wait for no more.
func (f *field) allowance(length int) float64 {
	load := f.lengths[length]
	if load.Of == 0 {
		return 0
	}
	return math.Log1p(float64(load.Pool) / float64(load.Requests))
}

func (r *Race) field(load scenarios.LoadSpec) *field { return r.loads[load.Whole()] }

func (f *field) runner(topology string) *runner { return f.topologies[topology] }

// Add adds a record. It replaces one of the same cell and round. A record of a new round
// shows that the rounds before it are over: they are judged.
func (r *Race) Add(record results.Record) {
	f := r.field(record.Cell.Load)
	if f == nil {
		return
	}
	c := f.runner(record.Topology.Name)
	if c == nil {
		return
	}
	if record.Cell.Repeat > r.round {
		r.judge()
		r.before, r.round = r.now, record.Cell.Repeat
		for _, f := range r.fields {
			for _, c := range f.runners {
				c.left = c.gone()
			}
		}
	}
	r.judged = false
	length := slices.Index(f.lengths, record.Cell.Load)
	if length < 0 {
		return
	}
	same := func(o repeat) bool {
		return o.round == record.Cell.Repeat && o.record.Cell.Load == record.Cell.Load
	}
	for slot := range c.repeats {
		if slices.ContainsFunc(c.repeats[slot], same) {
			c.repeats[slot] = slices.DeleteFunc(c.repeats[slot], same)
			r.values = slices.DeleteFunc(r.values, func(v *value) bool {
				return v.runner == c && v.length == length && v.round == record.Cell.Repeat
			})
		}
	}
	c.failed = nil
	switch {
	case record.Status == results.StatusPruned:
		c.closed = &record
	case record.Status != results.StatusOK || record.Errors > 0:
		c.failed = &record
	default:
		r.measured(f, c, length, &record)
	}
	c.excess = r.over(f, c)
}

// measured adds a record that is ok.
func (r *Race) measured(f *field, c *runner, length int, record *results.Record) {
	one, slot := f.repeat(record), f.slot(record)
	c.repeats[slot] = append(c.repeats[slot], one)
	if c.longest == nil || c.longest.Cell.Load.Requests <= record.Cell.Load.Requests {
		c.longest = record
	}
	if took := started(record); took > 0 {
		r.starts[c.topology.Name] = took
	}
	at := r.middle(record)
	if one.badness == nil || !f.tested {
		return
	}
	log := *one.badness
	if f.figure.Name == results.MetricDuration {
		log -= math.Log(float64(record.Cell.Load.Requests))
	}
	r.values = append(r.values, &value{field: f, runner: c, length: length, round: one.round, at: at, log: log})
}

// slots are one for first passes, and the lengths. In a first pass a stack has all its
// loads one after the other, and its neighbours theirs before or after that. What drifts meanwhile is in
// the difference of two, which is judged by the noise of first passes.
func (f *field) slots() int { return 1 + len(f.lengths) }

func (f *field) slot(record *results.Record) int {
	if FirstPass(record) {
		return 0
	}
	return 1 + slices.Index(f.lengths, record.Cell.Load)
}

// FirstPass reports whether a record is of the first pass over its stack, in which alone
// memory is measured.
func FirstPass(record *results.Record) bool {
	return record.Memory.Reason != results.LaterRound && record.GPU.Reason != results.LaterRound
}

// A repeat is a record that is ok.
type repeat struct {
	record  *results.Record
	round   int
	badness *float64 // the logarithm of what decides, turned so that less is better; nil where it is not known
}

func (f *field) repeat(record *results.Record) repeat {
	r := repeat{record: record, round: record.Cell.Repeat}
	if value := f.figure.Of(record); value != nil && *value > 0 {
		log := math.Log(*value)
		if f.figure.Higher {
			log = -log
		}
		r.badness = &log
	}
	return r
}

// wholes are the repeats of the whole load.
func (c *runner) wholes() []repeat {
	return slices.DeleteFunc(slices.Concat(c.repeats...), func(r repeat) bool { return r.record.Cell.Load.Of > 0 })
}

// measured is how many repeats there are of all lengths.
func (c *runner) measured() (n int) {
	for _, repeats := range c.repeats {
		n += len(repeats)
	}
	return n
}

// over is the budget that the candidate breaks in every repeat; nil: none, as far as is
// known. Memory is measured once for each start, and a short load does not take more of it
// than the whole one. Other figures are those of the whole load, at least twice.
func (r *Race) over(f *field, c *runner) *breach {
	for _, budget := range r.goal.Under {
		repeats, least := c.wholes(), wholeRepeats
		if memory(budget.Metric) {
			repeats, least = slices.Concat(c.repeats...), 1
		}
		if e := excess(repeats, budget, least); e != nil {
			return e
		}
	}
	if f.rate > 0 {
		served := results.Metric(results.MetricThroughput)
		return excess(c.wholes(), verdict.Budget{Metric: served, Limit: verdict.ServedShare * f.rate}, wholeRepeats)
	}
	return nil
}

// wholeRepeats are how many repeats of a whole load a budget is judged by, unless it is
// one of memory.
const wholeRepeats = 2

// A breach is a budget that every repeat breaks, and the value that is the least over it.
type breach struct {
	Budget verdict.Budget
	Value  float64 // in the unit of the budget's metric
}

func excess(repeats []repeat, b verdict.Budget, least int) *breach {
	var values []float64
	for _, one := range repeats {
		if value := b.Metric.Of(one.record); value != nil {
			values = append(values, *value)
		}
	}
	slices.SortFunc(values, func(x, y float64) int {
		if b.Metric.Higher {
			x, y = y, x
		}
		return cmp.Compare(x, y)
	})
	if len(values) < least {
		return nil
	}
	if nearest := values[0]; b.Metric.Higher && nearest < b.Limit || !b.Metric.Higher && nearest > b.Limit {
		return &breach{b, nearest}
	}
	return nil
}
