package scenarios

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// Plan is everything that a run of the scenario will do. It is pure: the same
// scenario gives the same plan.
//
// Repeats are outermost, so that drift of the machine spreads over all
// topologies. Within a repeat the trials are in the order of the topologies,
// or, with order: shuffle, permuted by a PCG generator whose two words of seed
// are the scenario's seed and the number of the repeat: each repeat has an
// order of its own that does not depend on how many there are. With prune the
// topologies that differ in their workers and threads alone then go from the
// smallest to the largest, in the places that the shuffle gave to them; what is
// listed stays as it is listed.
//
// With fresh: topology a trial is one topology with all its cells, from the
// lightest to the heaviest, because a server keeps the memory that it once
// took. With fresh: cell each cell is a trial, in the order of the file.
func (s *Scenario) Plan() Plan {
	p := Plan{
		Scenario:   s.Name,
		App:        s.App,
		Request:    s.Request,
		Resources:  s.Resources,
		Client:     s.Client,
		Warmup:     s.Warmup,
		Order:      s.Order,
		Prune:      s.Prune,
		Seed:       s.Seed,
		Fresh:      s.Fresh,
		Repeats:    s.Repeats,
		Until:      s.Until,
		Baseline:   s.Baseline,
		Thresholds: s.Thresholds,
		Recommend:  s.Recommend,
	}
	loads := slices.Clone(s.Loads)
	if s.Fresh == FreshTopology {
		slices.SortStableFunc(loads, lighter)
	}
	for repeat := 1; repeat <= s.Repeats; repeat++ {
		trials := s.trials(loads, repeat)
		if s.Order == OrderShuffle {
			random := rand.New(rand.NewPCG(s.Seed, uint64(repeat)))
			random.Shuffle(len(trials), func(i, j int) { trials[i], trials[j] = trials[j], trials[i] })
			if s.Prune {
				smallestFirst(trials)
			}
		}
		p.Trials = append(p.Trials, trials...)
	}
	return p
}

// trials is one repeat in the order of the scenario.
func (s *Scenario) trials(loads []LoadSpec, repeat int) []Trial {
	var trials []Trial
	for _, t := range s.Topologies {
		cells := make([]Cell, len(loads))
		for i, load := range loads {
			cells[i] = Cell{Name: t.Name + "/" + load.Name(), Repeat: repeat, Load: load}
		}
		if s.Fresh == FreshTopology {
			trials = append(trials, Trial{Topology: t, Repeat: repeat, Cells: cells})
			continue
		}
		for i := range cells {
			trials = append(trials, Trial{Topology: t, Repeat: repeat, Cells: cells[i : i+1 : i+1]})
		}
	}
	return trials
}

// lighter orders loads by what they are likely to take of a server's memory:
// the number of clients first, then how long they go on. Open loops come last,
// by their rate, because nothing but the server bounds what is under way.
func lighter(a, b LoadSpec) int {
	rank := func(l LoadSpec) int { return slices.Index([]string{ClientSingle, ClientMP, ClientMT}, l.Client) }
	open := func(l LoadSpec) int {
		if l.Client == ClientOpen {
			return 1
		}
		return 0
	}
	rate := func(l LoadSpec) float64 {
		if l.Client == ClientOpen && l.Rate == 0 {
			return math.Inf(1) // max, and where a search ends is not known
		}
		return l.Rate
	}
	keep := func(l LoadSpec) int {
		if l.KeepAlive {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(open(a), open(b)),
		cmp.Compare(rate(a), rate(b)),
		cmp.Compare(a.P99, b.P99),
		cmp.Compare(a.Pool, b.Pool),
		cmp.Compare(a.Requests, b.Requests),
		cmp.Compare(rank(a), rank(b)),
		cmp.Compare(keep(a), keep(b)),
		cmp.Compare(a.Arrivals, b.Arrivals),
	)
}
