package strategy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/results/race"
	"stackmeter/scenarios"
)

// Within a share of the time that the whole matrix takes, a search finds what is within 2%
// of the best for 95% of the loads, and where it says that it is sure, it is right.
func TestSearchFindsTheBest(t *testing.T) {
	for _, c := range []struct {
		topologies, loads, races int
		share, right             float64
	}{
		{8, 6, 20, 0.25, 0.95},
		{40, 10, 4, 0.10, 0.95},
		{36, 20, 1, 0.05, 0.95},
	} {
		var s score
		for seed := range uint64(c.races) {
			m := generated(c.topologies, c.loads, seed)
			on := newMachine(m, 0.02, seed)
			contests := on.search(t, m.plan(c.share*m.exhaustive(), seed))
			s.add(m, contests, on.clock)
		}
		t.Logf("%d topologies and %d loads: %v", c.topologies, c.loads, s)
		if float64(s.right) < c.right*float64(s.answers) || s.wrong > 0 || s.time/float64(s.races) > c.share*1.01 {
			t.Errorf("%d topologies and %d loads: %v", c.topologies, c.loads, s)
		}
	}
}

// plain is a matrix of four topologies that differ by much, one of them over the budget,
// and one larger than that.
func plain() matrix {
	m := matrix{budget: 3 << 30, loads: []scenarios.LoadSpec{{Client: scenarios.ClientMT, Pool: 2, Requests: 400}, {Client: scenarios.ClientMT, Pool: 4, Requests: 400}}}
	for i, name := range []string{"w1", "w2", "w4", "w8"} {
		workers := 1 << i
		m.topologies = append(m.topologies, scenarios.Topology{Name: name, Server: "gunicorn", Workers: workers, Threads: 1})
		m.start = append(m.start, 5)
		m.seconds = append(m.seconds, []float64{20 / float64(min(2, workers)), 20 / float64(min(4, workers))})
		m.memory = append(m.memory, []float64{float64(workers) * (1 << 30), float64(workers) * (1 << 30)})
	}
	return m
}

// Without a limit of time a search ends when it is sure; what is over the budget of memory
// closes what is the same but larger, and that never starts.
func TestSearchUntilSure(t *testing.T) {
	m := plain()
	on := newMachine(m, 0.005, 1)
	on.drift = 0
	plan := m.plan(0, 1)
	s := &resuming{kept{search: newSearch(plan, nil)}, t}
	on.run(t, plan, s)
	for i, c := range s.race.Contests() {
		over := []string{race.StateOver, race.StateClosed}[i] // under the first load it was seen, so the second need not be
		states := map[string]string{}
		for _, one := range c.Candidates {
			states[one.Topology] = one.State
		}
		if !c.Reached || c.Answer != "w2" || c.Sure != 0.95 || states["w1"] != race.StateLeft ||
			states["w2"] != race.StateSettled || states["w4"] != over || states["w8"] != race.StateClosed {
			t.Errorf("%s: %s, sure %v, reached %v, %v", c.Load.Name(), c.Answer, c.Sure, c.Reached, states)
		}
	}
	for _, record := range s.made {
		if record.Topology.Name == "w8" && (record.Status != results.StatusPruned || !strings.Contains(record.Reason, "w4, which is smaller")) {
			t.Errorf("w8: %s %s", record.Status, record.Reason)
		}
	}
}

// With room for two stacks, candidates make room for each other until the answer is sure.
func TestSearchWithLittleRoom(t *testing.T) {
	m := generated(8, 2, 2)
	on := newMachine(m, 0.003, 2)
	on.drift, on.room = 0, 2
	contests := on.search(t, m.plan(0, 2))
	for i, c := range contests {
		at := on.index(c.Answer)
		if !c.Reached || at < 0 || m.seconds[at][i] > 1.02*m.best(i) {
			t.Errorf("%s: %+v", c.Load.Name(), c)
		}
	}
}

// kept is a search whose records are kept.
type kept struct {
	*search
	made []results.Record
}

func (k *kept) Add(record results.Record) {
	k.made = append(k.made, record)
	k.search.Add(record)
}

// resuming is a search that is begun anew from its records before each step, and has to say
// what the one that was not says.
type resuming struct {
	kept
	t *testing.T
}

func (r *resuming) Next(free Capacity) (Step, bool) {
	step, more := r.search.Next(free)
	resumed, moreResumed := newSearch(r.search.plan, r.made).Next(free)
	if !reflect.DeepEqual(step, resumed) || more != moreResumed {
		r.t.Errorf("after %d records: %s\nresumed: %s", len(r.made), words(step), words(resumed))
	}
	return step, more
}

// words are a step in words.
func words(s Step) string {
	text := ""
	for _, t := range s.Start {
		text += fmt.Sprintf(" start %s (%d)", t.Topology.Name, len(t.Cells))
	}
	if s.Measure != nil {
		text += fmt.Sprintf(" measure %s in round %d, first %v, of %v", s.Measure.Cell.Name, s.Measure.Cell.Repeat, s.Measure.First, s.Measure.Trial.Cells)
	}
	for _, t := range s.Stop {
		text += " stop " + t.Topology.Name
	}
	return fmt.Sprintf("%s, prune %d", text, len(s.Prune))
}

// A search that is resumed after any record goes on exactly as if it had not been stopped,
// within a round, too, as long as its stacks are up.
func TestSearchResumed(t *testing.T) {
	for _, c := range []struct {
		name              string
		topologies, loads int
		room              int
		share             float64
	}{{"room for all", 8, 3, 16, 0.4}, {"little room", 8, 3, 3, 0.5}, {"waves", 24, 2, 9, 0.2}, {"hardly any time", 8, 3, 16, 0.02}} {
		t.Run(c.name, func(t *testing.T) {
			m := generated(c.topologies, c.loads, 4)
			plan := m.plan(c.share*m.exhaustive(), 4)
			on := newMachine(m, 0.02, 4)
			on.room = c.room
			r := &resuming{kept{search: newSearch(plan, nil)}, t}
			on.run(t, plan, r)
			seen := map[results.Key]bool{}
			for _, record := range r.made {
				if key := repeatOf(record); seen[key] {
					t.Errorf("%v is measured twice", key)
				} else {
					seen[key] = true
				}
			}
		})
	}
}

// With nothing up, as after a run that was killed, a search goes on and comes to answers that are sure.
func TestSearchResumedWithNothingUp(t *testing.T) {
	m := generated(8, 3, 4)
	plan := m.plan(0, 4)
	whole := &kept{search: newSearch(plan, nil)}
	newMachine(m, 0.005, 4).run(t, plan, whole)
	for cut := 1; cut < len(whole.made); cut += len(whole.made)/15 + 1 {
		seen := map[results.Key]bool{}
		for _, record := range whole.made[:cut] {
			seen[repeatOf(record)] = true
		}
		s := &kept{search: newSearch(plan, whole.made[:cut])}
		newMachine(m, 0.005, 4).run(t, plan, s)
		for _, record := range s.made {
			if key := repeatOf(record); seen[key] {
				t.Errorf("cut at %d: %v is measured twice", cut, key)
			}
		}
		for _, c := range s.race.Contests() {
			if !c.Reached {
				t.Errorf("cut at %d: %s has no answer that is sure: %+v", cut, c.Load.Name(), c)
			}
		}
	}
}

// A candidate whose stack fails is out of the race, and no other is. Each time that the
// search is resumed it is tried again, until it has failed twice.
func TestSearchOfOneThatFails(t *testing.T) {
	m := plain()
	plan := m.plan(0, 1)
	var made []results.Record
	for resumed := range 4 {
		on := newMachine(m, 0.005, 1)
		on.drift, on.fails = 0, "w2"
		s := &kept{search: newSearch(plan, made), made: made}
		on.run(t, plan, s)
		made = s.made
		tried := map[int]bool{}
		for _, record := range made {
			if record.Status == results.StatusFailed {
				tried[record.Cell.Repeat] = true
			}
		}
		if len(tried) != min(2, 1+resumed) {
			t.Errorf("resumed %d times, it was tried in %d rounds", resumed, len(tried))
		}
		for _, c := range s.race.Contests() {
			if failed := find(c, "w2"); c.Answer != "w1" || !c.Reached || failed.State != race.StateFailed {
				t.Errorf("%s: %+v", c.Load.Name(), c)
			}
		}
	}
}

// With room for one stack nothing can be held against another. A search then ends with
// what it knows.
func TestSearchWithRoomForOne(t *testing.T) {
	m := generated(8, 2, 2)
	on := newMachine(m, 0.003, 2)
	on.drift, on.room = 0, 1
	for _, c := range on.search(t, m.plan(0, 2)) {
		if c.Answer == "" || !c.Confirmed || c.Reached {
			t.Errorf("%s: %+v", c.Load.Name(), c)
		}
	}
}

// What ran out of memory beside others is not started beside others again: it is measured
// without them before it counts as failed.
func TestSearchOfOneThatNeedsAllRoom(t *testing.T) {
	m := plain()
	on := newMachine(m, 0.005, 1)
	on.drift = 0
	s, alone := newSearch(m.plan(0, 1), nil), false
	is := func(trial scenarios.Trial) bool { return trial.Topology.Name == "w2" }
	free := Capacity{
		Up: func(trial scenarios.Trial) bool { return on.up[trial.Topology.Name] },
		Fits: func(trials ...scenarios.Trial) bool {
			return len(on.up)+len(trials) == 1 || !alone || !on.up["w2"] && !slices.ContainsFunc(trials, is)
		},
	}
	for range 10_000 {
		step, more := s.Next(free)
		if !more {
			if state := find(s.race.Contests()[0], "w2").State; !alone || state == race.StateWaiting || state == race.StateFailed {
				t.Errorf("w2 is %s, and ran out of memory: %v", state, alone)
			}
			return
		}
		if slices.ContainsFunc(step.Start, is) && len(on.up)+len(step.Start) > 1 {
			if alone {
				t.Fatalf("it is started beside others again:%s", words(step))
			}
			alone, step.Start = true, slices.DeleteFunc(step.Start, is)
		}
		on.do(t, step, s)
	}
	t.Error("the search does not end")
}
