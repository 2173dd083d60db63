package strategy

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"stackmeter/results"
	"stackmeter/results/race"
	"stackmeter/scenarios"
)

const (
	// cellOverhead is what a cell takes besides its load, in seconds.
	cellOverhead = 0.3

	// spare is how much more time than they are likely to take cells and starts are given.
	spare = 1.1
)

// search is a race of candidates in rounds, see package race.
//
// Stacks join the race as many as there is room for, the smallest first, and are measured
// under all loads at their shortest. Then each round is the block of candidates for one load
// that is worth most for the time that it takes, stacks that it has to start included. What
// nothing needs any more is stopped, and what seems the worst makes room. At last each
// answer is measured to the end on a new start.
//
// Rounds are made from the records of the rounds before alone, and from what is up and what
// fits. So a resumed search goes on within the round that it was stopped in.
type search struct {
	plan     scenarios.Plan
	order    []scenarios.Topology // smallest first
	race     *race.Race
	round    int                         // under way, or the last one
	begun    []results.Record            // the records of a round that a run was stopped in, which is to be planned as it was
	forgiven map[results.Key]bool        // failures that do not count
	queue    []Measurement               // what is left of the round
	reserve  float64                     // seconds, to measure the answers to the end
	alone    map[scenarios.LoadSpec]bool // loads whose leaders were measured for want of room for a challenger
	over     bool                        // nothing is left to find out
}

func newSearch(plan scenarios.Plan, made []results.Record) *search {
	s := &search{plan: plan, race: race.New(plan), alone: map[scenarios.LoadSpec]bool{}}
	for _, trial := range plan.Trials {
		s.order = append(s.order, trial.Topology)
	}
	slices.SortStableFunc(s.order, func(a, b scenarios.Topology) int {
		return cmp.Or(cmp.Compare(max(1, a.Workers)*max(1, a.Replicas), max(1, b.Workers)*max(1, b.Replicas)), cmp.Compare(a.Threads, b.Threads), cmp.Compare(a.Concurrency, b.Concurrency))
	})
	for _, record := range made {
		s.round = max(s.round, record.Cell.Repeat)
	}
	s.forgiven = forgiven(made)
	for _, record := range made {
		if record.Cell.Repeat == s.round {
			s.begun = append(s.begun, record)
		} else if !s.forgiven[repeatOf(record)] {
			s.race.Add(record)
		}
	}
	return s
}

// forgiven are the failures that do not count when a run goes on: a candidate that failed
// once is tried again. One that ran out of memory, or failed in two rounds, is not.
func forgiven(made []results.Record) map[results.Key]bool {
	candidate := func(r results.Record) results.Key {
		return results.Key{Topology: r.Topology.Name, Load: r.Cell.Load.Whole().Name()}
	}
	failures := map[results.Key]int{}
	for _, record := range made {
		if record.Status == results.StatusFailed {
			failures[candidate(record)]++
		}
	}
	once := map[results.Key]bool{}
	for _, record := range made {
		once[repeatOf(record)] = record.Status == results.StatusFailed && record.OutOfMemory == "" && failures[candidate(record)] == 1
	}
	return once
}

// Next implements Strategy.
func (s *search) Next(free Capacity) (Step, bool) {
	if s.over || free.Left != nil && *free.Left <= 0 {
		s.queue = nil
		return s.stop(free, s.order)
	}
	if s.begun != nil {
		s.goOn(free)
	}
	if pruned := s.close(); len(pruned) > 0 {
		return Step{Prune: pruned}, true
	}
	// What went down, and has no room beside the others any more, waits until it has.
	s.queue = slices.DeleteFunc(s.queue, func(m Measurement) bool { return !free.Up(m.Trial) && !free.Fits(m.Trial) })
	for len(s.queue) > 0 && !s.time(free, spare*s.cost(s.queue[0])) {
		s.queue = s.queue[1:]
	}
	if len(s.queue) > 0 {
		return s.measure(free), true
	}
	if step, any := s.stop(free, s.needless()); any {
		return step, true
	}
	if step, any := s.stop(free, s.plans(free)); any {
		return step, true
	}
	if len(s.queue) == 0 {
		s.over = true
		return s.stop(free, s.order)
	}
	s.round = s.next()
	s.number()
	return s.measure(free), true
}

// goOn plans the round that a run was stopped in, as it was planned, and takes out of it
// what was measured.
func (s *search) goOn(free Capacity) {
	s.plans(free)
	s.number()
	begun := s.begun
	if slices.ContainsFunc(s.queue, func(m Measurement) bool { return free.Up(m.Trial) }) {
		// A round begins with the start of all its stacks.
		s.queue = slices.DeleteFunc(s.queue, func(m Measurement) bool { return !free.Up(m.Trial) })
	}
	s.begun = nil
	for _, record := range begun {
		s.done(record)
		if !s.forgiven[repeatOf(record)] {
			s.race.Add(record)
		}
	}
}

// next is the number of the round that is planned.
func (s *search) next() int {
	if s.begun != nil {
		return s.round
	}
	return s.round + 1
}

// number numbers the measurements of the round.
func (s *search) number() {
	for i := range s.queue {
		s.queue[i].Cell.Repeat, s.queue[i].Trial.Repeat = s.round, s.round
	}
}

// measure starts the stacks that the round needs and are not up, and measures its next
// cell.
func (s *search) measure(free Capacity) Step {
	var step Step
	for _, m := range s.queue {
		started := slices.ContainsFunc(step.Start, func(t scenarios.Trial) bool { return t.Topology.Name == m.Trial.Topology.Name })
		if !started && !free.Up(m.Trial) {
			step.Start = append(step.Start, s.trial(m.Trial.Topology))
		}
	}
	next := s.queue[0]
	next.Trial = s.trial(next.Trial.Topology)
	next.Trial.Cells = slices.DeleteFunc(next.Trial.Cells, func(c scenarios.Cell) bool { return c == next.Cell })
	next.Trial.Cells = append([]scenarios.Cell{next.Cell}, next.Trial.Cells...)
	step.Measure = &next
	return step
}

// trial is what is left of the round for a topology.
func (s *search) trial(topology scenarios.Topology) scenarios.Trial {
	trial := scenarios.Trial{Topology: topology, Repeat: s.round}
	for _, m := range s.queue {
		if m.Trial.Topology.Name == topology.Name {
			trial.Cells = append(trial.Cells, m.Cell)
		}
	}
	return trial
}

// Add implements Strategy.
func (s *search) Add(record results.Record) {
	s.race.Add(record)
	s.done(record)
}

// done takes what was measured out of the round.
func (s *search) done(record results.Record) {
	s.queue = slices.DeleteFunc(s.queue, func(m Measurement) bool {
		// A candidate that is closed has no more cells.
		closed := record.Status == results.StatusPruned && m.Cell.Load.Whole() == record.Cell.Load
		return m.Trial.Topology.Name == record.Topology.Name && (closed || m.Cell.Name == record.Cell.Name && m.Cell.Repeat == record.Cell.Repeat)
	})
}

// Why implements Strategy: who was never started.
func (s *search) Why() []Reason {
	var reasons []Reason
	for _, trial := range s.plan.Trials {
		waiting := 0
		for _, cell := range trial.Cells {
			if s.race.Waits(trial.Topology.Name, cell.Load) {
				waiting++
			}
		}
		if waiting == len(trial.Cells) {
			reasons = append(reasons, Reason{Topology: trial.Topology.Name, Text: trial.Topology.Name + " was never started: the search ended before its turn", Cells: waiting})
		}
	}
	return reasons
}

// loads are those of the scenario, the lightest first.
func (s *search) loads() []scenarios.Cell { return s.plan.Trials[0].Cells }

// is reports whether a topology is in one of the states for any load.
func (s *search) is(topology string, states ...string) bool {
	return slices.ContainsFunc(s.loads(), func(cell scenarios.Cell) bool {
		return slices.Contains(states, s.race.State(topology, cell.Load))
	})
}

// stop stops those of some stacks that are up, and reports whether there are any.
func (s *search) stop(free Capacity, which []scenarios.Topology) (Step, bool) {
	var step Step
	for _, t := range which {
		if stack := s.trial(t); free.Up(stack) {
			step.Stop = append(step.Stop, stack)
		}
	}
	return step, len(step.Stop) > 0
}

// close finds the candidates that need not be started.
func (s *search) close() []Pruned {
	var pruned []Pruned
	for _, trial := range s.plan.Trials {
		for _, cell := range trial.Cells {
			if !s.race.Waits(trial.Topology.Name, cell.Load) {
				continue
			}
			if reason := s.race.Closes(trial.Topology, cell.Load); reason != "" {
				cell.Repeat = max(1, s.round)
				one := scenarios.Trial{Topology: trial.Topology, Repeat: cell.Repeat, Cells: []scenarios.Cell{cell}}
				pruned = append(pruned, Pruned{Measurement{Trial: one, Cell: cell}, reason})
			}
		}
	}
	return pruned
}

// needless are the stacks that no load needs any more.
func (s *search) needless() []scenarios.Topology {
	return slices.DeleteFunc(slices.Clone(s.order), func(t scenarios.Topology) bool {
		return s.is(t.Name, race.StateRacing, race.StateWaiting) || slices.ContainsFunc(s.loads(), func(cell scenarios.Cell) bool {
			answer, confirmed := s.race.Answer(cell.Load)
			return answer == t.Name && !(confirmed && s.race.Settled(cell.Load))
		})
	})
}

// plans makes the queue of the next round. It returns stacks that have to be stopped first.
func (s *search) plans(free Capacity) (stop []scenarios.Topology) {
	s.queue, s.reserve = nil, s.ends()
	if stop := s.join(free); len(stop) > 0 || len(s.queue) > 0 {
		return stop
	}
	ends := slices.ContainsFunc(s.begun, func(r results.Record) bool {
		return r.Status == results.StatusOK && r.Cell.Load.Of == 0 && race.FirstPass(&r)
	})
	if !ends {
		if stop := s.challenge(free); len(stop) > 0 || len(s.queue) > 0 {
			return stop
		}
	}
	return s.confirm(free)
}

// join measures candidates that wait, and that there is room for, at the shortest length of
// each load, beside its leader. The lightest load comes first, because a stack's memory is
// that of its first pass, and in it the smallest stack, because it closes what is larger.
func (s *search) join(free Capacity) (stop []scenarios.Topology) {
	r := room{free: free}
	var joining []scenarios.Topology
	full := false
	for _, t := range s.order {
		if !s.is(t.Name, race.StateWaiting) {
			continue
		}
		if r.takes(t) {
			joining = append(joining, t)
		} else {
			full = true
		}
	}
	if len(joining) == 0 && full && s.begun == nil {
		// Those that were up for as long as it takes to know something of them make room.
		return s.worst(free, nil, func(up int) int { return (up + 1) / 2 })
	}
	for _, cell := range s.loads() {
		shortest := s.race.Shortest(cell.Load)
		leader, _ := s.race.Answer(cell.Load)
		for _, t := range s.order {
			joins := slices.ContainsFunc(joining, func(j scenarios.Topology) bool { return j.Name == t.Name }) && s.race.Waits(t.Name, cell.Load)
			if joins {
				m := s.cell(t, shortest)
				m.First = !free.Up(m.Trial) || s.begins(t.Name)
				s.queue = append(s.queue, m)
			} else if t.Name == leader && len(joining) > 0 && r.takes(t) {
				s.queue = append(s.queue, s.cell(t, shortest))
			}
		}
	}
	if len(s.queue) > 0 && s.begun == nil && !s.time(free, spare*s.cost(s.queue[0])) {
		s.queue = nil
	}
	return nil
}

// begins reports whether the first pass over a stack is in the round that is gone on with.
func (s *search) begins(topology string) bool {
	if s.begun == nil {
		return false
	}
	return slices.ContainsFunc(s.begun, func(r results.Record) bool {
		return r.Topology.Name == topology && race.FirstPass(&r)
	}) || !s.is(topology, race.StateRacing, race.StateSettled, race.StateLeft, race.StateOver)
}

// challenge holds candidates for one load against its leader: the block that is worth most
// for its time.
func (s *search) challenge(free Capacity) (stop []scenarios.Topology) {
	start := func(topology string) float64 {
		if free.Up(scenarios.Trial{Topology: s.topology(topology)}) {
			return 0
		}
		return s.race.StartSeconds(topology)
	}
	blocks := s.race.Blocks(cellOverhead, start)
	slices.SortStableFunc(blocks, func(a, b race.Block) int { return cmp.Compare(b.Worth/b.Seconds, a.Worth/a.Seconds) })
	for _, b := range blocks {
		if s.begun != nil {
			if !slices.ContainsFunc(s.begun, func(r results.Record) bool { return r.Cell.Load == b.Load }) {
				continue
			}
		} else if !s.time(free, spare*(b.Seconds+longest(b.Topologies, start))) {
			continue
		}
		r := room{free: free}
		var fit []scenarios.Topology
		for _, name := range b.Topologies {
			if t := s.topology(name); r.takes(t) {
				fit = append(fit, t)
			}
		}
		missing := len(b.Topologies) - len(fit)
		if missing > 0 && s.begun == nil {
			stop = s.worst(free, b.Topologies, func(int) int { return missing })
		}
		lacks := len(fit) < 2 || fit[0].Name != b.Topologies[0]
		if lacks && len(stop) == 0 { // other challengers make room for the leader and the first
			stop = s.worst(free, b.Topologies[:2], func(int) int { return 1 })
		}
		if len(stop) > 0 {
			return stop
		}
		whole := b.Load.Whole()
		if lacks && (len(fit) == 0 || s.alone[whole] || free.Up(scenarios.Trial{Topology: fit[0]})) {
			continue // no two of them have room beside each other
		}
		s.alone[whole] = lacks // what the first one takes says whether another fits
		for _, t := range fit {
			s.queue = append(s.queue, s.cell(t, b.Load))
		}
		random := rand.New(rand.NewPCG(s.plan.Seed, uint64(s.next())))
		random.Shuffle(len(s.queue), func(i, j int) { s.queue[i], s.queue[j] = s.queue[j], s.queue[i] })
		return nil
	}
	return nil
}

// longest is how long the stacks of topologies take that start at the same time.
func longest(topologies []string, start func(string) float64) (seconds float64) {
	for _, name := range topologies {
		seconds = max(seconds, start(name))
	}
	return seconds
}

// confirm measures the answers to the end, on a new start of their stacks, as far as there is
// time. It returns those that are up: they have to be stopped first.
func (s *search) confirm(free Capacity) (stop []scenarios.Topology) {
	s.reserve = 0
	r := room{free: free}
	full, took := false, 0.0
	for _, cell := range s.loads() {
		answer, confirmed := s.race.Answer(cell.Load)
		if answer == "" || confirmed {
			continue
		}
		m := s.cell(s.topology(answer), cell.Load)
		m.First = !s.race.FirstPass(cell.Load)
		needs := s.cost(m)
		if m.First && s.begun == nil && !slices.ContainsFunc(s.queue, func(q Measurement) bool { return q.Trial.Topology.Name == answer }) {
			needs += s.race.StartSeconds(answer)
		}
		if !s.time(free, took+needs) {
			continue
		}
		took += needs
		switch {
		case m.First && free.Up(m.Trial) && s.begun == nil:
			stop = append(stop, m.Trial.Topology)
		case r.takes(m.Trial.Topology):
			s.queue = append(s.queue, m)
		default:
			full = true
		}
	}
	if len(s.queue) == 0 && full { // the others have to make room
		stop = s.order
	}
	if len(stop) > 0 {
		s.queue = nil
	}
	return stop
}

// A room is what there is beside the stacks that are up.
type room struct {
	free     Capacity
	starting []scenarios.Trial
}

// takes reports whether a stack is up, or starts, or has room to, and then it does.
func (r *room) takes(t scenarios.Topology) bool {
	trial := scenarios.Trial{Topology: t}
	if r.free.Up(trial) || slices.ContainsFunc(r.starting, func(s scenarios.Trial) bool { return s.Topology.Name == t.Name }) {
		return true
	}
	if !r.free.Fits(append(slices.Clone(r.starting), trial)...) {
		return false
	}
	r.starting = append(r.starting, trial)
	return true
}

// worst are as many of the stacks that are up as are to make room: those that promise least,
// and none of those that are kept.
func (s *search) worst(free Capacity, keep []string, many func(up int) int) []scenarios.Topology {
	up := slices.DeleteFunc(slices.Clone(s.order), func(t scenarios.Topology) bool {
		return slices.Contains(keep, t.Name) || !free.Up(scenarios.Trial{Topology: t})
	})
	promise := map[string]float64{}
	for _, t := range up {
		promise[t.Name] = s.race.Promise(t.Name)
	}
	slices.SortStableFunc(up, func(a, b scenarios.Topology) int { return cmp.Compare(promise[a.Name], promise[b.Name]) })
	return up[:min(len(up), many(len(up)))]
}

// time reports whether there is time for a part of a round before the answers have to be
// measured to the end.
func (s *search) time(free Capacity, seconds float64) bool {
	return free.Left == nil || seconds+spare*s.reserve <= free.Left.Seconds()
}

// ends is how long it is likely to take to measure the answers to the end, in seconds.
func (s *search) ends() (seconds float64) {
	starts := map[string]bool{}
	for _, cell := range s.loads() {
		answer, confirmed := s.race.Answer(cell.Load)
		if answer == "" || confirmed {
			continue
		}
		seconds += s.race.Seconds(answer, cell.Load) + cellOverhead
		if !starts[answer] {
			starts[answer] = true
			seconds += s.race.StartSeconds(answer)
		}
	}
	return seconds
}

// cost is how long a cell is likely to take, in seconds.
func (s *search) cost(m Measurement) float64 {
	return s.race.Seconds(m.Trial.Topology.Name, m.Cell.Load) + cellOverhead
}

func (s *search) topology(name string) scenarios.Topology {
	return s.order[slices.IndexFunc(s.order, func(t scenarios.Topology) bool { return t.Name == name })]
}

// cell is a measurement of the round that is planned.
func (s *search) cell(t scenarios.Topology, load scenarios.LoadSpec) Measurement {
	return Measurement{Trial: scenarios.Trial{Topology: t}, Cell: scenarios.Cell{Name: t.Name + "/" + load.Name(), Load: load}}
}
