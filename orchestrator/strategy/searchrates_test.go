package strategy

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/race"
	said "stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/goals"
)

// A candidate is what a topology can do, in the truth that a search looks for.
type candidate struct {
	workers  int
	capacity float64 // requests per second that it answers at most
	p99      float64 // seconds, up to its capacity
	mib      float64 // of the GPU or of main memory
}

// raced searches among candidates, with 1% of noise, and returns what is known in the end
// with its words.
func raced(t *testing.T, candidates []candidate, spec scenarios.LoadSpec, under map[string]string, onGPU bool) (race.Contest, results.Answer, *said.Search, []results.Record) {
	t.Helper()
	plan := scenarios.Plan{Fresh: scenarios.FreshRun, Repeats: 6, Search: &goals.Search{
		Recommend: goals.Recommend{Objective: results.MetricDuration, Under: under}, Within: 0.05, Confidence: 0.95,
	}}
	truth := map[string]candidate{}
	for _, c := range candidates {
		topology := scenarios.Topology{Name: "w" + string(rune('0'+c.workers)), Server: "gunicorn", Workers: c.workers, Threads: 1}
		truth[topology.Name] = c
		plan.Trials = append(plan.Trials, scenarios.Trial{Topology: topology, Repeat: 1, Cells: []scenarios.Cell{{Name: topology.Name + "/" + spec.Name(), Repeat: 1, Load: spec}}})
	}
	random := rand.New(rand.NewPCG(1, 2))
	s, _ := New(plan, nil)
	up := map[string]bool{}
	var made []results.Record
	for step := range 10_000 {
		next, more := s.Next(Capacity{
			Up:   func(trial scenarios.Trial) bool { return up[trial.Topology.Name] },
			Fits: func(...scenarios.Trial) bool { return true },
		})
		if !more {
			break
		}
		add := func(r results.Record) {
			r.Started = time.Unix(int64(step), 0)
			s.Add(r)
			made = append(made, r)
		}
		for _, pruned := range next.Prune {
			r := recordOf(pruned.Measurement, results.StatusPruned)
			r.Reason = pruned.Reason
			add(r)
		}
		for _, trial := range next.Start {
			up[trial.Topology.Name] = true
		}
		if m := next.Measure; m != nil {
			r, c := recordOf(*m, results.StatusOK), truth[m.Trial.Topology.Name]
			requests := float64(m.Cell.Load.Requests)
			r.Replies = m.Cell.Load.Requests
			seconds, p99 := requests/c.capacity, c.p99
			if rate := m.Cell.Load.Rate; rate > 0 {
				if seconds = requests / min(rate, c.capacity); c.capacity < rate { // the queue grows to the end
					p99 += requests/c.capacity - requests/rate
				}
			}
			noise := 1 + 0.01*random.NormFloat64()
			seconds *= noise
			r.Duration, r.Latency = &seconds, new(load.Latency)
			for range 100 {
				r.Latency.Record(time.Duration(p99 * noise * float64(time.Second)))
			}
			r.Memory.Reason, r.GPU.Reason = results.LaterRound, results.LaterRound
			if m.First {
				r.Memory.Reason, r.GPU.Reason = "", ""
				figure := results.MetricMemoryPeak
				if onGPU {
					figure = results.MetricGPUPeak
				}
				results.Metric(figure).Set(&r, c.mib*(1<<20))
			}
			add(r)
		}
		for _, trial := range next.Stop {
			delete(up, trial.Topology.Name)
		}
	}
	search := said.SearchOf(results.Run{Plan: plan, Outcome: results.OutcomeOK}, made)
	return search.Contests[0], search.Answers[0], search, made
}

// TestSearchOfRates: the answer for a rate is the topology with the least memory that
// serves it within the budgets, with how many of it another rate takes. One that does not
// serve it, or answers too late, is over the budget; one that needs more memory left.
func TestSearchOfRates(t *testing.T) {
	twenty := scenarios.LoadSpec{Client: scenarios.ClientOpen, Pool: scenarios.OpenPool, Rate: 20, Requests: 400}
	candidates := []candidate{{1, 12, 0.05, 500}, {2, 24, 0.8, 900}, {3, 36, 0.3, 1300}, {4, 48, 0.2, 1700}}
	for _, test := range []struct {
		name   string
		under  map[string]string
		gpu    bool
		answer string
		states []string // of w1 to w4
		copies int      // for 100/s
	}{
		{"p99", map[string]string{"p99": "500ms"}, false, "w3", []string{race.StateOver, race.StateOver, race.StateSettled, race.StateLeft}, 5},
		{"no budget", nil, false, "w2", []string{race.StateOver, race.StateSettled, race.StateLeft, race.StateLeft}, 5},
		{"memory of the GPU", map[string]string{"gpu_peak": "1.5GiB", "p99": "500ms"}, true, "w3", []string{race.StateOver, race.StateOver, race.StateSettled, race.StateOver}, 5},
		{"nothing fits", map[string]string{"memory_peak": "1GiB", "p99": "500ms"}, false, "", []string{race.StateOver, race.StateOver, race.StateOver, race.StateClosed}, 0},
	} {
		contest, answer, search, made := raced(t, candidates, twenty, test.under, test.gpu)
		if answer.Topology != test.answer || !answer.Decided || answer.Sure != 0 || contest.Tested {
			t.Errorf("%s: %+v, want %q", test.name, answer, test.answer)
		}
		for i, want := range test.states {
			name := "w" + string(rune('1'+i))
			if one := find(contest, name); one.State != want {
				t.Errorf("%s: %s is %s, not %s: %s", test.name, name, one.State, want, one.Reason)
			}
		}
		if copies := search.Recommended(made)[0].Copies(100); copies != test.copies {
			t.Errorf("%s: %d copies for 100/s, want %d", test.name, copies, test.copies)
		}
		if reason := find(contest, "w1").Reason; len(test.under) == 0 && !strings.Contains(reason, "it did not serve the rate: ") {
			t.Errorf("%s: w1: %s", test.name, reason)
		}
		if test.answer == "" && !strings.Contains(answer.Why, "none of the 4 is within memory_peak ≤ 1GiB, p99 ≤ 500ms") {
			t.Errorf("%s: %s", test.name, answer.Why)
		}
	}
}

// TestSearchWithinLatency: under a closed loop what answers too late in every repeat of the
// whole load is out, however fast it is, and what needs too much of the GPU's memory is.
func TestSearchWithinLatency(t *testing.T) {
	spec := scenarios.LoadSpec{Client: scenarios.ClientMT, Pool: 4, Requests: 400}
	candidates := []candidate{{1, 20, 0.3, 1000}, {2, 40, 0.4, 2000}, {3, 60, 0.9, 3000}, {4, 70, 0.4, 6000}}
	contest, answer, search, made := raced(t, candidates, spec, map[string]string{"p99": "500ms", "gpu_peak": "5GiB"}, true)
	if answer.Topology != "w2" || !answer.Decided || answer.Sure != 0.95 || !contest.Confirmed {
		t.Errorf("%+v", answer)
	}
	for name, want := range map[string]string{"w1": race.StateLeft, "w2": race.StateSettled, "w3": race.StateOver, "w4": race.StateOver} {
		if one := find(contest, name); one.State != want {
			t.Errorf("%s is %s, not %s: %s", name, one.State, want, one.Reason)
		}
	}
	if copies := search.Recommended(made)[0].Copies(100); copies != 3 {
		t.Errorf("%d copies for 100/s, want 3", copies)
	}
	whole := slices.DeleteFunc(slices.Clone(made), func(r results.Record) bool { return r.Topology.Name != "w3" || r.Cell.Load.Of > 0 })
	if len(whole) != 2 {
		t.Errorf("w3 was out after %d repeats of the whole load, want 2", len(whole))
	}
}
