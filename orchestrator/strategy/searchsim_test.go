package strategy

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/race"
	"stackmeter/scenarios"
	"stackmeter/scenarios/goals"
)

// A matrix is what a simulated machine does: the truth that a search looks for.
type matrix struct {
	name       string
	topologies []scenarios.Topology
	loads      []scenarios.LoadSpec
	start      []float64   // seconds until a stack is warm, by topology
	seconds    [][]float64 // of the whole load, by topology and load; NaN: the stack runs out of memory
	memory     [][]float64 // bytes, likewise
	budget     float64     // of memory, in bytes; 0: none
}

const (
	simPreparation = 0.2 // seconds that a cell takes besides its load
	simBeside      = 4   // stacks that start at the same time, or are made ready in the time of one
	simRoom        = 16  // stacks beside each other
)

// fits reports whether a topology is within the budget under a load.
func (m matrix) fits(topology, load int) bool {
	return !math.IsNaN(m.seconds[topology][load]) && (m.budget == 0 || m.memory[topology][load] <= m.budget)
}

// best is the least duration within the budget.
func (m matrix) best(load int) float64 {
	best := math.Inf(1)
	for i := range m.topologies {
		if m.fits(i, load) {
			best = min(best, m.seconds[i][load])
		}
	}
	return best
}

// exhaustive is how long the whole matrix takes with six repeats of fresh: topology.
func (m matrix) exhaustive() float64 {
	sum := 0.0
	for i := range m.topologies {
		sum += m.start[i]
		for _, seconds := range m.seconds[i] {
			if !math.IsNaN(seconds) {
				sum += seconds + simPreparation
			}
		}
	}
	return 6 * sum
}

// A machine measures cells of a matrix: with noise, half of which is the cell's and half
// becomes less with more requests, with a drift, and with the end of a load, in which the
// last requests leave clients without any.
type machine struct {
	matrix
	noise, drift float64
	random       *rand.Rand
	phase        float64
	clock        float64 // seconds
	room         int     // stacks beside each other
	up           map[string]bool
	fails        string // a topology that does not start; empty: none
}

func newMachine(m matrix, noise float64, seed uint64) *machine {
	random := rand.New(rand.NewPCG(seed, 7))
	return &machine{matrix: m, noise: noise, drift: 0.1, random: random, phase: 2 * math.Pi * random.Float64(), room: simRoom, up: map[string]bool{}}
}

func (m *machine) index(topology string) int {
	return slices.IndexFunc(m.topologies, func(t scenarios.Topology) bool { return t.Name == topology })
}

// measure takes the time of a cell, and returns its duration; NaN: out of memory.
func (m *machine) measure(topology, load, requests int) float64 {
	whole := float64(m.loads[load].Requests)
	seconds := m.seconds[topology][load] * float64(requests) / whole
	if math.IsNaN(seconds) {
		m.clock += simPreparation
		return seconds
	}
	t := m.topologies[topology]
	slots := min(float64(max(1, t.Workers)*max(1, t.Threads)), float64(m.loads[load].Pool))
	seconds += m.seconds[topology][load] / whole * slots * m.random.Float64() / 2 * (1 - float64(requests)/whole)
	variance := m.noise * m.noise * (0.5 + 0.5*whole/float64(requests))
	seconds *= math.Exp(math.Sqrt(variance)*m.random.NormFloat64() + m.drift*math.Sin((m.clock+seconds/2)/120+m.phase))
	m.clock += seconds + simPreparation
	return seconds
}

// plan is a search of the matrix.
func (m matrix) plan(limit float64, seed uint64) scenarios.Plan {
	p := scenarios.Plan{Fresh: scenarios.FreshRun, Seed: seed, Repeats: 6, Search: &goals.Search{
		Recommend: goals.Recommend{Objective: results.MetricDuration}, Within: 0.02, Confidence: 0.95, Time: time.Duration(limit * float64(time.Second)),
	}}
	if m.budget > 0 {
		p.Search.Under = map[string]string{results.MetricGPUPeak: fmt.Sprintf("%.0fB", m.budget)}
	}
	for _, t := range m.topologies {
		trial := scenarios.Trial{Topology: t, Repeat: 1}
		for _, load := range m.loads {
			trial.Cells = append(trial.Cells, scenarios.Cell{Name: t.Name + "/" + load.Name(), Repeat: 1, Load: load})
		}
		p.Trials = append(p.Trials, trial)
	}
	return p
}

// search does what a search says, and returns what it found.
func (m *machine) search(t testing.TB, plan scenarios.Plan) []race.Contest {
	s := newSearch(plan, nil)
	m.run(t, plan, s)
	return s.race.Contests()
}

// run does what the strategy says until nothing is left to do or the time is over.
func (m *machine) run(t testing.TB, plan scenarios.Plan, s Strategy) {
	for range 1_000_000 {
		free := Capacity{
			Up:   func(trial scenarios.Trial) bool { return m.up[trial.Topology.Name] },
			Fits: func(trials ...scenarios.Trial) bool { return len(m.up)+len(trials) <= m.room },
		}
		if plan.Search.Time > 0 {
			left := plan.Search.Time - time.Duration(m.clock*float64(time.Second))
			free.Left = &left
		}
		step, more := s.Next(free)
		if !more {
			return
		}
		m.do(t, step, s)
	}
	t.Fatal("the search does not end")
}

func (m *machine) do(t testing.TB, step Step, s Strategy) {
	for _, p := range step.Prune {
		record := recordOf(p.Measurement, results.StatusPruned)
		record.Reason = p.Reason
		s.Add(record)
	}
	starting := 0.0
	for _, trial := range step.Start {
		if trial.Topology.Name == m.fails {
			for _, cell := range trial.Cells {
				s.Add(recordOf(Measurement{Trial: trial, Cell: cell}, results.StatusFailed))
			}
			continue
		}
		if m.up[trial.Topology.Name] {
			t.Fatalf("%s is started twice", trial.Topology.Name)
		}
		m.up[trial.Topology.Name] = true
		if len(m.up) > m.room {
			t.Fatalf("there is no room for %v", m.up)
		}
		starting = max(starting, m.start[m.index(trial.Topology.Name)])
	}
	m.clock += starting * float64((len(step.Start)+simBeside-1)/simBeside)
	if step.Measure != nil && m.up[step.Measure.Trial.Topology.Name] {
		record := m.record(*step.Measure)
		s.Add(record)
		if record.Status != results.StatusOK {
			delete(m.up, record.Topology.Name)
		}
	}
	for _, trial := range step.Stop {
		delete(m.up, trial.Topology.Name)
	}
}

func (m *machine) record(measured Measurement) results.Record {
	topology := m.index(measured.Trial.Topology.Name)
	load := slices.Index(m.loads, measured.Cell.Load.Whole())
	record := recordOf(measured, results.StatusOK)
	record.Started = time.Unix(0, 0).Add(time.Duration(m.clock * float64(time.Second)))
	seconds := m.measure(topology, load, measured.Cell.Load.Requests)
	record.Duration = &seconds
	record.Stack = &results.Stack{StartS: &m.start[topology], WarmupS: new(float64)}
	record.Memory.Reason = results.LaterRound
	if math.IsNaN(seconds) {
		record.Status, record.Reason, record.OutOfMemory, record.Duration = results.StatusFailed, "out of memory", results.MemoryGPU, nil
		return record
	}
	if measured.First {
		record.Memory.Reason = ""
		results.Metric(results.MetricGPUPeak).Set(&record, m.memory[topology][load])
	}
	return record
}

// generated is a matrix of as many topologies and loads: gunicorn's workers and threads,
// with nginx or without. Workers compute beside each other up to the machine's cores,
// threads share what the interpreter's lock leaves, and both interact with the load. Large
// ones run out of memory, and most are over the budget.
func generated(topologies, loads int, seed uint64) matrix {
	random := rand.New(rand.NewPCG(seed, uint64(topologies)))
	m := matrix{name: fmt.Sprintf("generated %d", topologies*loads), budget: 5 << 30}
	for i := range topologies {
		t := scenarios.Topology{Server: "gunicorn", Workers: []int{1, 2, 3, 4, 6, 8}[i/2%6], Threads: []int{1, 2, 4, 8}[i/12%4]}
		t.Name = fmt.Sprintf("gunicorn-w%d-t%d", t.Workers, t.Threads)
		if i%2 == 1 {
			t.Name, t.Proxy = "nginx+"+t.Name, "nginx"
		}
		m.topologies, m.start = append(m.topologies, t), append(m.start, 6+6*random.Float64())
	}
	for i := range loads {
		load := scenarios.LoadSpec{Client: scenarios.ClientMT, Pool: []int{1, 2, 4, 8, 16}[i%5], Requests: []int{200, 400, 800, 1600}[i/5%4]}
		m.loads = append(m.loads, load)
	}
	service, lock := 0.02+0.03*random.Float64(), 0.3+0.4*random.Float64()
	for _, t := range m.topologies {
		own := math.Exp(0.05 * random.NormFloat64())
		var seconds, memory []float64
		for _, load := range m.loads {
			slots := float64(t.Workers * t.Threads)
			busy := min(float64(load.Pool), slots, float64(t.Workers)*(1+lock*(1-1/float64(t.Threads))))
			rate := busy / (1 + busy*busy/16*0.3) / service
			if t.Proxy != "" {
				rate *= 0.95 + 0.1*min(1, float64(load.Pool)/8)
			}
			took := float64(load.Requests) / (rate * own * math.Exp(0.04*random.NormFloat64()))
			bytes := (0.3 + 0.8*float64(t.Workers) + 0.05*min(slots, float64(load.Pool))) * (1 << 30)
			if t.Workers >= 8 {
				took = math.NaN()
			}
			seconds, memory = append(seconds, took), append(memory, bytes)
		}
		m.seconds, m.memory = append(m.seconds, seconds), append(m.memory, memory)
	}
	return m
}

// A score counts answers of many searches.
type score struct {
	answers, right, sure, wrong int // loads; within 2% of the best; sure as asked; sure, but not within 2%
	time                        float64
	races                       int
}

func (s *score) add(m matrix, contests []race.Contest, clock float64) {
	s.races++
	s.time += clock / m.exhaustive()
	for i, c := range contests {
		load := slices.Index(m.loads, c.Load)
		at := slices.IndexFunc(m.topologies, func(t scenarios.Topology) bool { return t.Name == c.Answer })
		right := at >= 0 && m.fits(at, load) && m.seconds[at][load] <= 1.02*m.best(load)
		s.answers++
		if right {
			s.right++
		}
		if contests[i].Reached {
			s.sure++
			if !right {
				s.wrong++
			}
		}
	}
}

func (s score) String() string {
	return fmt.Sprintf("right %.3f sure %.3f wrong of those %.3f time %.3f", float64(s.right)/float64(s.answers), float64(s.sure)/float64(s.answers), float64(s.wrong)/float64(max(1, s.sure)), s.time/float64(s.races))
}

func find(contest race.Contest, topology string) *race.Candidate {
	for i, c := range contest.Candidates {
		if c.Topology == topology {
			return &contest.Candidates[i]
		}
	}
	return nil
}
