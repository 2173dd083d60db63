package scenarios

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"stackmeter/scenarios/gate"
	"stackmeter/scenarios/goals"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/wire"
)

// A Plan is everything that a run will do, in order. It can be printed, stored
// and compared. Only two things are decided later: Until may leave out trials,
// and Prune may leave out cells.
//
// With Search the trials are candidates, each topology once with its whole loads.
// What is measured of them, how often and in what order follows from the records,
// and Cell.Repeat numbers the rounds.
type Plan struct {
	Scenario   string           `json:"scenario"` // its name
	App        App              `json:"app"`
	Request    wire.Request     `json:"request"`
	Resources  Resources        `json:"resources"`
	Client     Client           `json:"client"`
	Warmup     int              `json:"warmup"` // requests sent for each worker of a fresh stack and thrown away
	Order      string           `json:"order"`
	Prune      bool             `json:"prune,omitempty"` // leave out what a smaller topology ran out of memory at, see Topology.LargerThan
	Seed       uint64           `json:"seed"`            // of all that is drawn by chance
	Fresh      string           `json:"fresh"`
	Repeats    int              `json:"repeats"`          // the most, where Until may end them earlier; with Search those that the whole matrix would have
	Starts     int              `json:"starts,omitempty"` // of each stack, with fresh: run: each is up for as many of the repeats; 0 otherwise
	Lanes      int              `json:"lanes,omitempty"`  // that measure side by side; AutoLanes: one for each device; 0: one
	Until      *Until           `json:"until,omitempty"`  // nil: all of them
	Baseline   *Baseline        `json:"baseline,omitempty"`
	Thresholds []string         `json:"thresholds,omitempty"`
	Recommend  *goals.Recommend `json:"recommend,omitempty"`
	Search     *goals.Search    `json:"search,omitempty"` // nil: every cell is measured
	Trials     []Trial          `json:"trials"`
	Listed     []string         `json:"listed,omitempty"` // the names of all topologies, in the order of the file; see Reference

	gate.Gate // what a run of it is held against

	read []string // files of which the plan has the content, by their absolute paths

	PayloadFiles []wire.PayloadFile `json:"payload_files,omitempty"` // see WithPayloadFiles; none in a plan that is only looked at
}

// A Trial is the lifetime of one stack and the cells measured on it, from the
// lightest load to the heaviest. With fresh: run it is what is measured in a row on a
// stack that stays up.
type Trial struct {
	Topology Topology `json:"topology"`
	Repeat   int      `json:"repeat"` // from 1
	Cells    []Cell   `json:"cells"`
}

// A Cell is one topology under one load, in one repeat.
type Cell struct {
	Name   string   `json:"name"` // nginx+gunicorn-w1-t4/mt10/n100
	Repeat int      `json:"repeat"`
	Load   LoadSpec `json:"load"`
}

// Plan is everything that a run of the scenario will do. It is pure: the same
// scenario gives the same plan.
//
// Repeats are the outermost loop, so drift of the machine spreads over all
// topologies. Within a repeat the trials follow the order of the topologies. With
// order: shuffle they are permuted by a PCG generator, seeded with the scenario's
// seed and the number of the repeat, so each repeat has an order that does not
// depend on how many repeats there are. With prune as well, topologies that
// differ only in workers and threads go from the smallest to the largest, in the
// places that the shuffle gave them.
//
// With fresh: topology a trial is one topology with all its cells, from the
// lightest to the heaviest, because a server keeps the memory that it once took.
// With fresh: cell each cell is a trial, in the order of the file. With fresh: run
// the first repeat of each start is as with fresh: topology, and in those after it,
// the rounds, each cell is a trial.
func (s *Scenario) Plan() Plan {
	p := Plan(s.settings)
	for _, t := range s.Topologies {
		p.Listed = append(p.Listed, t.Name)
	}
	loads := slices.Clone(s.Loads)
	if s.Fresh != FreshCell {
		slices.SortStableFunc(loads, lighter)
	}
	for repeat := 1; repeat <= s.listed(); repeat++ {
		trials := s.trials(loads, repeat)
		if s.Order == OrderShuffle && s.Search == nil {
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

// listed is how many repeats the plan has trials of.
func (s *Scenario) listed() int {
	if s.Search != nil {
		return 1
	}
	return s.Repeats
}

// trials is one repeat, in the order of the scenario.
func (s *Scenario) trials(loads []LoadSpec, repeat int) []Trial {
	p := Plan(s.settings)
	var trials []Trial
	for _, t := range s.Topologies {
		cells := make([]Cell, len(loads))
		for i, load := range loads {
			cells[i] = Cell{Name: t.Name + "/" + load.Name(), Repeat: repeat, Load: load}
		}
		if s.Fresh == FreshTopology || p.FirstPass(repeat) {
			trials = append(trials, Trial{Topology: t, Repeat: repeat, Cells: cells})
			continue
		}
		for i := range cells {
			trials = append(trials, Trial{Topology: t, Repeat: repeat, Cells: cells[i : i+1 : i+1]})
		}
	}
	return trials
}

// Start is the number of the start, from 1, whose stacks a repeat is measured on with
// fresh: run. It is 0 otherwise: each repeat has stacks of its own.
func (p Plan) Start(repeat int) int {
	if p.Fresh != FreshRun {
		return 0
	}
	return (repeat-1)/p.rounds() + 1
}

// FirstPass reports whether a repeat is the first over stacks that then stay up.
func (p Plan) FirstPass(repeat int) bool {
	return p.Fresh == FreshRun && (repeat-1)%p.rounds() == 0
}

// rounds is how many repeats a start has. A search has no number of them.
func (p Plan) rounds() int {
	if p.Search != nil {
		return math.MaxInt
	}
	return max(1, p.Repeats/max(1, p.Starts))
}

// lighter orders loads by how much of a server's memory they are likely to take:
// by the number of clients, then by how long they go on. Open loops come last,
// by rate: only the server bounds what they have under way.
func lighter(a, b LoadSpec) int {
	rank := func(l LoadSpec) int { return slices.Index([]string{ClientSingle, ClientMP, ClientMT}, l.Client) }
	last := func(yes bool) int { return map[bool]int{true: 1}[yes] }
	rate := func(l LoadSpec) float64 {
		if l.Client == ClientOpen && l.Rate == 0 {
			return math.Inf(1) // max, and where a search ends is not known
		}
		return l.Rate
	}
	return cmp.Or(
		cmp.Compare(last(a.Client == ClientOpen), last(b.Client == ClientOpen)),
		cmp.Compare(rate(a), rate(b)),
		cmp.Compare(a.P99, b.P99),
		cmp.Compare(a.Pool, b.Pool),
		cmp.Compare(a.Requests, b.Requests),
		cmp.Compare(rank(a), rank(b)),
		cmp.Compare(last(a.KeepAlive), last(b.KeepAlive)),
		cmp.Compare(a.Arrivals, b.Arrivals),
	)
}

// Cells is the number of cells of all trials, with all repeats.
func (p Plan) Cells() int {
	n := 0
	for _, t := range p.Trials {
		n += len(t.Cells)
	}
	return n
}

// Reference is the topology that ratios refer to among cells of so many requests: the
// baseline's, or else the first of the file that has such a cell, if one has it for the
// baseline's client then for that. It is empty where no topology has one, and where the
// plan does not know the file's order, as that of an imported run does not.
func (p Plan) Reference(requests int) string {
	var b Baseline
	if p.Baseline != nil {
		b = *p.Baseline
	}
	if b.Topology != "" {
		return b.Topology
	}
	const some, taken = 1, 2
	has := map[string]int{}
	for _, trial := range p.Trials {
		for _, cell := range trial.Cells {
			switch name := trial.Topology.Name; {
			case cell.Load.Requests != requests:
			case b.Takes(cell.Load):
				has[name] = taken
			default:
				has[name] = max(has[name], some)
			}
		}
	}
	reference := ""
	for _, name := range p.Listed {
		if has[name] > has[reference] {
			reference = name
		}
	}
	return reference
}

// Only returns the part of the plan that a pattern names. A pattern without a
// slash is matched against the names of topologies (gunicorn-*), one with two
// parts against topology and client mode (*/mt5), a longer one against the whole
// name of a cell (flask/single/n100). Each part is a pattern of path.Match: a
// star does not cross a slash. If nothing matches, the error lists what there is.
func (p Plan) Only(glob string) (Plan, error) {
	parts := strings.Split(glob, "/")
	if _, err := path.Match(glob, ""); err != nil || glob == "" {
		return Plan{}, fmt.Errorf("--only %s is not a pattern: for example gunicorn-* or */mt5", show.Quote(glob))
	}
	kept := p
	kept.Trials = nil
	for _, t := range p.Trials {
		var cells []Cell
		for _, c := range t.Cells {
			if matches(parts, c.Name) {
				cells = append(cells, c)
			}
		}
		if len(cells) > 0 {
			t.Cells = cells
			kept.Trials = append(kept.Trials, t)
		}
	}
	if len(kept.Trials) == 0 {
		return Plan{}, fmt.Errorf("--only %s matches nothing: there are\n  %s", show.Quote(glob), strings.Join(p.names(len(parts)), "\n  "))
	}
	return kept, nil
}

// matches reports whether a cell's name matches the parts of a valid pattern.
func matches(parts []string, name string) bool {
	names := strings.Split(name, "/")
	if len(parts) <= 2 && len(parts) < len(names) {
		names = names[:len(parts)]
	}
	return slices.EqualFunc(parts, names, func(pattern, name string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// names lists what a pattern with so many parts could have matched, in the order
// of the plan, up to a limit.
func (p Plan) names(parts int) []string {
	const most = 20
	var all []string
	for _, t := range p.Trials {
		for _, c := range t.Cells {
			names := strings.Split(c.Name, "/")
			if parts <= 2 {
				names = names[:parts]
			}
			all = append(all, strings.Join(names, "/"))
		}
	}
	all = distinct(all)
	if len(all) > most {
		return append(all[:most:most], fmt.Sprintf("and %d more", len(all)-most))
	}
	return all
}
