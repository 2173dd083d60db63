package race

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// A Block is what can be measured in one round: candidates for one load, right after each
// other, the leader first and then those that are worth the most.
type Block struct {
	Load       scenarios.LoadSpec // short, or whole
	Topologies []string
	Worth      float64 // of measuring it; blocks are compared by it for each second
	Seconds    float64 // that its cells are likely to take
}

// A challenger is a candidate that may be measured beside the leader.
type challenger struct {
	*runner
	worth, seconds float64
}

const (
	// most is how many candidates a block has besides the leader: what is measured within
	// it is to be close together in time.
	most = 7

	// rounds are how many a stack that is started is likely to be measured in.
	rounds = 8

	// doubtful is the part of the chance to be wrong that was allowed from which on a load
	// is measured to find its answer, rather than to show that it is right.
	doubtful = 0.02
)

// Blocks are the best blocks of each load and length. While the answer of any load is in
// doubt, they are those of such loads, and are worth what they are likely to improve
// answers by. After that they are worth what they add to the evidence. overhead are the
// seconds that a cell takes besides its load, and start those until the stack of a topology
// is up.
func (r *Race) Blocks(overhead float64, start func(topology string) float64) []Block {
	r.judge()
	var doubted, others []Block
	for _, f := range r.fields {
		// Of what has no value, and of memory, more rounds say no more.
		racing := slices.DeleteFunc(slices.Clone(f.runners), func(c *runner) bool { return f.state(c) != StateRacing || math.IsNaN(c.effect) })
		if f.leader == nil || !f.tested || len(racing) == 0 {
			continue
		}
		doubt := r.doubt(f, racing) > doubtful*(1-r.plan.Search.Confidence)
		for length := range f.lengths {
			switch {
			case doubt:
				doubted = append(doubted, r.searching(f, length, racing, overhead, start))
			case len(doubted) == 0:
				others = append(others, f.block(length, overhead, start, r.proving(f, length, racing, overhead)))
			}
		}
	}
	if len(doubted) > 0 {
		return doubted
	}
	return others
}

// doubt is at most how likely it is that a candidate is more than Within better than the leader.
func (r *Race) doubt(f *field, racing []*runner) (p float64) {
	for _, c := range racing {
		p += below((f.leader.effect - c.effect - math.Log1p(r.plan.Search.Within)) / math.Sqrt(f.leader.variance+c.variance))
	}
	return p
}

// searching is the block that improves the answer by most: it is worth as much as one may
// expect the answer to get better by, as challengers are seen to be better than the leader
// (the knowledge gradient of Frazier, Powell and Dayanik, The Knowledge-Gradient Policy for
// Correlated Normal Beliefs, 2009), after as many repeats as are worth most each.
func (r *Race) searching(f *field, length int, racing []*runner, overhead float64, start func(string) float64) (best Block) {
	for repeats := 1; repeats <= 16; repeats *= 2 {
		leaders := r.learns(f, f.leader, length, repeats)
		var all []challenger
		for _, c := range racing {
			learns := math.Sqrt(leaders + r.learns(f, c, length, repeats))
			ahead := (c.effect - f.leader.effect) / learns
			worth := learns * (density(ahead) - ahead*below(-ahead))
			all = append(all, challenger{c, worth / float64(repeats), f.seconds(c, f.lengths[length]) + overhead})
		}
		if b := f.block(length, overhead, start, all); best.Topologies == nil || b.Worth/b.Seconds > best.Worth/best.Seconds {
			best = b
		}
	}
	return best
}

// learns is how much less variance a candidate's estimate has after some more repeats.
func (r *Race) learns(f *field, c *runner, length, repeats int) float64 {
	n, before := c.means[length].n, 0.0
	if n > 0 {
		before = r.now.precision(f, length, n)
	}
	return c.variance - 1/(1/c.variance+r.now.precision(f, length, n+repeats)-before)
}

// proving says what rounds add to the evidence that challengers are not more than
// Within better than the leader.
func (r *Race) proving(f *field, length int, racing []*runner, overhead float64) (all []challenger) {
	within := math.Log1p(r.plan.Search.Within)
	for _, c := range racing {
		noise := 2 * r.now.noise[f.class(length)]
		if d := c.duels[1+length]; d.df > 0 && d.variance > 0 {
			noise = d.variance
		}
		behind := max(0, c.effect-f.leader.effect+within-f.allowance(length))
		all = append(all, challenger{c, behind * behind / noise, f.seconds(c, f.lengths[length]) + overhead})
	}
	return all
}

// block takes the challengers that are worth most for their time, as many as are worth most
// together with the leader. Of those whose stacks are not up it takes those that are worth
// starting, but one challenger in any case. So it is the same once these have been started.
func (f *field) block(length int, overhead float64, start func(string) float64, all []challenger) Block {
	slices.SortStableFunc(all, func(a, b challenger) int { return cmp.Compare(b.worth/b.seconds, a.worth/a.seconds) })
	worth, took := 0.0, f.seconds(f.leader, f.lengths[length])+overhead
	b := Block{Load: f.lengths[length], Topologies: []string{f.leader.topology.Name}, Seconds: took + start(f.leader.topology.Name)/rounds}
	with := 0
	for with < min(most, len(all)) && (with == 0 || (worth+all[with].worth)/(took+all[with].seconds) >= worth/took) {
		worth, took, with = worth+all[with].worth, took+all[with].seconds, with+1
	}
	join := func(c challenger) {
		b.Topologies, b.Worth = append(b.Topologies, c.topology.Name), b.Worth+c.worth
		b.Seconds += c.seconds + start(c.topology.Name)/rounds
	}
	for _, c := range all[:with] {
		if c.worth/(c.seconds+start(c.topology.Name)/rounds) >= worth/took {
			join(c)
		}
	}
	if len(b.Topologies) == 1 {
		join(slices.MaxFunc(all[:with], func(x, y challenger) int {
			return cmp.Compare(x.worth/(x.seconds+start(x.topology.Name)/rounds), y.worth/(y.seconds+start(y.topology.Name)/rounds))
		}))
	}
	return b
}

// Promise is in how many loads a topology is likely to be the answer.
func (r *Race) Promise(topology string) (sum float64) {
	r.judge()
	for _, f := range r.fields {
		switch c := f.runner(topology); {
		case c == nil || f.leader == nil:
		case c == f.leader:
			sum++
		case f.tested && f.state(c) == StateRacing:
			sum += below((f.leader.effect - c.effect) / math.Sqrt(f.leader.variance+c.variance))
		}
	}
	return sum
}

// density and below are those of the standard normal distribution.
func density(x float64) float64 { return math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) }
func below(x float64) float64   { return math.Erfc(-x/math.Sqrt2) / 2 }

// Shortest is the shortest form of a load that its candidates are measured at.
func (r *Race) Shortest(load scenarios.LoadSpec) scenarios.LoadSpec { return r.field(load).lengths[0] }

// Answer is the answer for a load, empty if there is none as far as is known, and whether it
// was measured to the end.
func (r *Race) Answer(load scenarios.LoadSpec) (topology string, confirmed bool) {
	r.judge()
	f := r.field(load)
	if f.leader == nil {
		return "", false
	}
	return f.leader.topology.Name, r.confirmed(f)
}

// Settled reports whether no candidate for a load is in the race any more.
func (r *Race) Settled(load scenarios.LoadSpec) bool {
	r.judge()
	return r.field(load).settled()
}

// FirstPass reports whether the memory of the answer for a load is known under the whole load.
func (r *Race) FirstPass(load scenarios.LoadSpec) bool {
	r.judge()
	return r.field(load).firstPass()
}

// Waits reports whether nothing is known of a candidate for a load.
func (r *Race) Waits(topology string, load scenarios.LoadSpec) bool {
	f := r.field(load)
	c := f.runner(topology)
	return c != nil && f.state(c) == StateWaiting
}

// State is where a candidate for a load stands.
func (r *Race) State(topology string, load scenarios.LoadSpec) string {
	r.judge()
	f := r.field(load)
	if c := f.runner(topology); c != nil {
		return f.state(c)
	}
	return ""
}

// Closes says why a candidate that nothing is known of for a load need not be measured: a
// smaller one, or itself under a smaller load, ran out of memory or is over a budget of
// memory. It is empty if it has to be. No other knowledge closes a candidate.
func (r *Race) Closes(topology scenarios.Topology, load scenarios.LoadSpec) string {
	for _, f := range r.fields {
		if !load.AtLeast(f.load) {
			continue
		}
		for _, c := range f.runners {
			reason := ""
			switch {
			case c.failed != nil && c.failed.OutOfMemory != "":
				reason = "ran out of memory"
			case c.excess != nil && memory(c.excess.Budget.Metric):
				reason = "is " + c.excess.sentence()
			}
			switch {
			case reason == "":
			case c.topology.Name == topology.Name && f.load != load:
				return fmt.Sprintf("not measured: at %s, which is less, it %s", f.load.Name(), reason)
			case topology.LargerThan(c.topology):
				return fmt.Sprintf("not started: %s, which is smaller, %s at %s", c.topology.Name, reason, f.load.Name())
			}
		}
	}
	return ""
}

// Seconds is how long a cell is likely to take: as long as it took, or other candidates
// did. It is 0 where nothing is known.
func (r *Race) Seconds(topology string, load scenarios.LoadSpec) float64 {
	f := r.field(load)
	return f.seconds(f.runner(topology), load)
}

func (f *field) seconds(c *runner, load scenarios.LoadSpec) float64 {
	longest := c.longest
	for i := 0; longest == nil && i < len(f.runners); i++ {
		longest = f.runners[i].longest
	}
	if longest == nil || longest.Duration == nil {
		return 0
	}
	return *longest.Duration * float64(load.Requests) / float64(longest.Cell.Load.Requests)
}

// StartSeconds is how long the stack of a topology is likely to take until it is warm: as
// long as it took, or the longest of any. It is 0 where nothing is known.
func (r *Race) StartSeconds(topology string) float64 {
	if took, known := r.starts[topology]; known {
		return took
	}
	longest := 0.0
	for _, took := range r.starts {
		longest = max(longest, took)
	}
	return longest
}

func started(record *results.Record) (seconds float64) {
	if record.Stack == nil {
		return 0
	}
	for _, phase := range []*float64{record.Stack.StartS, record.Stack.ReadyS, record.Stack.WarmupS} {
		if phase != nil {
			seconds += *phase
		}
	}
	return seconds
}
