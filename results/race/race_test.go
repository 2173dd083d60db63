package race

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/goals"
)

var mt1, mt4 = scenarios.LoadSpec{Client: scenarios.ClientMT, Pool: 1, Requests: 400}, scenarios.LoadSpec{Client: scenarios.ClientMT, Pool: 4, Requests: 400}

// racing is a search among gunicorns with as many workers each, under some loads.
func racing(workers []int, under map[string]string, loads ...scenarios.LoadSpec) scenarios.Plan {
	p := scenarios.Plan{Search: &goals.Search{Recommend: goals.Recommend{Objective: results.MetricDuration, Under: under}, Within: 0.02, Confidence: 0.95}}
	for i, n := range workers {
		t := scenarios.Topology{Name: fmt.Sprintf("%c", 'a'+i), Server: "gunicorn", Workers: n, Threads: 1}
		trial := scenarios.Trial{Topology: t}
		for _, load := range loads {
			trial.Cells = append(trial.Cells, scenarios.Cell{Name: t.Name + "/" + load.Name(), Load: load})
		}
		p.Trials = append(p.Trials, trial)
	}
	return p
}

// measured is a record that is ok, of a later round than its stack's first.
func measured(p scenarios.Plan, candidate int, load scenarios.LoadSpec, round int, seconds float64) results.Record {
	t := p.Trials[candidate].Topology
	r := results.Record{Topology: t, Cell: scenarios.Cell{Name: t.Name + "/" + load.Name(), Repeat: round, Load: load}, Status: results.StatusOK, Duration: &seconds}
	r.Memory.Reason = results.LaterRound
	return r
}

// first makes a record one of a stack's first pass.
func first(r results.Record, gib float64) results.Record {
	r.Memory.Reason = ""
	results.Metric(results.MetricGPUPeak).Set(&r, gib*(1<<30))
	return r
}

func states(c Contest) string {
	all := map[string]string{}
	for _, one := range c.Candidates {
		all[one.Topology] = one.State
	}
	return strings.TrimPrefix(fmt.Sprint(all), "map")
}

// With noise of 2% a candidate that is 20% worse leaves after some rounds, one that is as
// good as the answer stays until it is shown not to be better, and the answer is sure then.
func TestLeavesAndSettles(t *testing.T) {
	p := racing([]int{1, 2, 3}, nil, mt1)
	r, random := New(p), rand.New(rand.NewPCG(1, 1))
	left, settled := 0, 0
	for round := 1; round <= 60; round++ {
		for i, seconds := range []float64{10, 10, 12} {
			r.Add(measured(p, i, mt1, round, seconds*math.Exp(0.02*random.NormFloat64())))
		}
		c := r.Contests()[0]
		if strings.Contains(states(c), "c:left") && left == 0 {
			left = round
		}
		if !strings.Contains(states(c), "racing") && settled == 0 {
			settled = round
		}
		if (settled > 0) != (c.Sure == 0.95) || c.Reached {
			t.Fatalf("round %d: sure %v, reached %v, %s", round, c.Sure, c.Reached, states(c))
		}
	}
	if left < 2 || left > 10 || settled <= left || settled > 50 {
		t.Errorf("it left in round %d, and the answer was sure in round %d", left, settled)
	}
	c := r.Contests()[0]
	worst := c.Candidates[2]
	if worst.Topology != "c" || worst.Evidence.Round != left || worst.Evidence.Rounds != left || worst.Evidence.Low <= 1.02 || !strings.Contains(worst.Reason, fmt.Sprintf("round %d: ", left)) {
		t.Errorf("%+v %+v", worst, worst.Evidence)
	}
	r.Add(first(measured(p, 0, mt1, 61, 10), 1))
	r.Add(first(measured(p, 1, mt1, 61, 10), 1))
	if c := r.Contests()[0]; !c.Confirmed || !c.Reached {
		t.Errorf("after it was measured to the end: %+v", c)
	}
}

// What a short load shows counts as far as its end cannot explain it: with 4 clients and 20
// requests that is 18%.
func TestEndOfShortLoads(t *testing.T) {
	p := racing([]int{1, 2, 3}, nil, mt4)
	r, random := New(p), rand.New(rand.NewPCG(1, 1))
	short := r.Shortest(mt4)
	if short.Requests != 20 || short.Of != 400 {
		t.Fatalf("the shortest is %+v", short)
	}
	for round := 1; round <= 100; round++ {
		for i, seconds := range []float64{10, 11, 14} {
			r.Add(measured(p, i, short, round, seconds*math.Exp(0.005*random.NormFloat64())))
		}
	}
	if got := states(r.Contests()[0]); got != "[a:settled b:racing c:left]" {
		t.Error(got)
	}
}

// A budget of memory, and running out of it, close what is larger, under loads that are not
// less. They close nothing else.
func TestCloses(t *testing.T) {
	p := racing([]int{1, 2, 4, 8}, map[string]string{results.MetricGPUPeak: "3GiB"}, mt1, mt4)
	r := New(p)
	none := func(candidate int, load scenarios.LoadSpec) {
		t.Helper()
		if reason := r.Closes(p.Trials[candidate].Topology, load); reason != "" {
			t.Errorf("%d is closed: %s", candidate, reason)
		}
	}
	closed := func(candidate int, load scenarios.LoadSpec, why string) {
		t.Helper()
		if reason := r.Closes(p.Trials[candidate].Topology, load); !strings.Contains(reason, why) {
			t.Errorf("%d: %q", candidate, reason)
		}
	}
	r.Add(first(measured(p, 0, mt1, 1, 10), 1))
	none(1, mt1)
	r.Add(first(measured(p, 1, mt4, 1, 9), 3.5))
	closed(2, mt4, "b, which is smaller, is over the budget in every repeat: gpu_peak 3GiB, at best 3.5 GiB at mt4/n400")
	closed(3, mt4, "b, which is smaller")
	none(0, mt4)
	none(2, mt1) // less is asked of it there
	if c := r.Contests()[1]; c.Answer != "" || !strings.Contains(states(c), "b:over-budget") {
		t.Errorf("%q %s", c.Answer, states(c))
	}
	failed := measured(p, 2, mt1, 2, 0)
	failed.Status, failed.Reason, failed.OutOfMemory = results.StatusFailed, "out of memory", results.MemoryGPU
	r.Add(failed)
	closed(3, mt1, "c, which is smaller, ran out of memory")
	closed(2, mt4, "at mt1/n400, which is less, it ran out of memory")
	none(1, mt1)
	// A start that takes less shows that it can.
	r.Add(first(measured(p, 1, mt4, 3, 9), 2.5))
	if c := r.Contests()[1]; c.Answer != "b" {
		t.Errorf("%q %s", c.Answer, states(c))
	}
}

// A budget of anything else is judged by two repeats of the whole load.
func TestOtherBudgets(t *testing.T) {
	p := racing([]int{1, 2}, map[string]string{results.MetricDuration: "9s"}, mt1)
	r := New(p)
	short := r.Shortest(mt1)
	for round := 1; round <= 3; round++ {
		r.Add(measured(p, 0, short, round, 10))
	}
	r.Add(measured(p, 0, mt1, 4, 10))
	if c := r.Contests()[0]; c.Answer != "a" {
		t.Errorf("%q %s", c.Answer, states(c))
	}
	r.Add(measured(p, 0, mt1, 5, 10))
	if c := r.Contests()[0]; c.Answer != "" || states(c) != "[a:over-budget b:waiting]" {
		t.Errorf("%q %s", c.Answer, states(c))
	}
}

// How often a race claims what is not true, at any of its looks: that a candidate is worse
// than the best which is not, or that none is better where one is.
func TestFalseClaims(t *testing.T) {
	const races, rounds = 100, 50
	for _, c := range []struct {
		name    string
		seconds []float64 // of each candidate
		noise   float64
	}{
		{"all the same", []float64{10, 10, 10, 10, 10, 10}, 0.02},
		{"all the same, much noise", []float64{10, 10, 10, 10, 10, 10}, 0.1},
		{"one is better by little more than asked", []float64{10, 10, 9.79, 10, 10, 10}, 0.02},
		{"steps of a little less than asked", []float64{10, 10.19, 10.38, 10.57}, 0.03},
		{"noises differ", []float64{10, 10, 10, 10}, -0.05},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := racing([]int{1, 2, 3, 4, 6, 8}[:len(c.seconds)], nil, mt1)
			best := c.seconds[0]
			for _, s := range c.seconds {
				best = min(best, s)
			}
			wrong, sure := 0, 0
			for seed := range uint64(races) {
				r, random := New(p), rand.New(rand.NewPCG(seed, 5))
				drift, untrue := 0.0, false
				for round := 1; round <= rounds; round++ {
					drift += 0.03 * random.NormFloat64()
					for i, s := range c.seconds {
						noise := c.noise
						if noise < 0 { // half of them have a fifth
							noise = -noise / (1 + 4*float64(i%2))
						}
						r.Add(measured(p, i, mt1, round, s*math.Exp(drift+noise*random.NormFloat64())))
					}
					for _, one := range r.Contests()[0].Candidates {
						truth := c.seconds[one.Topology[0]-'a']
						untrue = untrue || one.State == StateLeft && truth <= 1.02*best
					}
				}
				now := r.Contests()[0]
				if r.fields[0].settled() {
					sure++
					untrue = untrue || c.seconds[now.Answer[0]-'a'] > 1.02*best
				}
				if untrue {
					wrong++
				}
			}
			t.Logf("%d of %d are sure in the end, %d claimed what is not true", sure, races, wrong)
			if wrong > 0.05*races {
				t.Errorf("%d of %d races claimed what is not true", wrong, races)
			}
		})
	}
}

// What the machine drifts by is no candidate's: one that was measured while it was fast is
// not the answer for it, although no round holds them all against each other.
func TestEstimateFollowsDrift(t *testing.T) {
	p := racing([]int{1, 2, 3}, nil, mt1)
	r, random := New(p), rand.New(rand.NewPCG(1, 1))
	at := time.Unix(1000, 0)
	truth := []float64{10, 10.6, 11}
	round := 0
	for step := range 60 {
		fast := 0.3 * math.Sin(float64(step)/10) // the machine is up to a third slower, and faster
		round++
		pair := []int{0, 1}
		if step > 20 { // now it is fast: only the worst are measured
			pair = []int{1, 2}
		}
		for _, i := range pair {
			record := measured(p, i, mt1, round, truth[i]*math.Exp(fast+0.01*random.NormFloat64()))
			record.Started = at
			at = at.Add(10 * time.Second)
			r.Add(record)
		}
	}
	c := r.Contests()[0]
	if c.Answer != "a" || c.Candidates[1].Topology != "b" {
		t.Errorf("%s, then %s", c.Answer, c.Candidates[1].Topology)
	}
	f := r.fields[0]
	for i := range truth {
		if got := f.runners[i].effect - f.runners[0].effect; math.Abs(got-math.Log(truth[i]/truth[0])) > 0.02 {
			t.Errorf("candidate %d: %.3f, %.3f is true", i, got, math.Log(truth[i]/truth[0]))
		}
	}
}

// What a race is asked meanwhile changes nothing.
func TestLooksChangeNothing(t *testing.T) {
	p := racing([]int{1, 2, 3, 4}, nil, mt1, mt4)
	quiet, asked, random := New(p), New(p), rand.New(rand.NewPCG(1, 1))
	for round := 1; round <= 12; round++ {
		for i, seconds := range []float64{10, 10.2, 11, 14} {
			for _, load := range []scenarios.LoadSpec{mt1, mt4} {
				record := measured(p, i, load, round, seconds*math.Exp(0.02*random.NormFloat64()))
				quiet.Add(record)
				asked.Add(record)
				asked.Contests()
				asked.Blocks(0.3, func(string) float64 { return 0 })
			}
		}
	}
	said := func(r *Race) (text string) {
		for _, c := range r.Contests() {
			text += fmt.Sprintln(c.Load.Name(), c.Answer, c.Sure, states(c))
			for _, one := range c.Candidates {
				text += fmt.Sprintln(one.Topology, one.Reason, cmp.Or(one.Evidence, &Evidence{}))
			}
		}
		return text
	}
	if a, b := said(quiet), said(asked); a != b || len(a) < 200 {
		t.Errorf("%s\n%s", a, b)
	}
}

// Blocks have the leader first, then those that may be better. One that is far behind is in
// none while the answer is in doubt, and one whose stack takes long to start is in one only
// where nobody else is.
func TestBlocks(t *testing.T) {
	p := racing([]int{1, 2, 3, 4}, nil, mt1)
	r := New(p)
	for i, seconds := range []float64{10.05, 10, 10.05, 30} {
		r.Add(measured(p, i, mt1, 1, seconds))
	}
	for _, c := range []struct {
		slow   string
		others int
	}{{"", 2}, {"a", 1}, {"c", 1}} {
		blocks := r.Blocks(0.3, func(topology string) float64 {
			if topology == c.slow {
				return 1e6
			}
			return 0
		})
		if len(blocks) != 4 {
			t.Fatalf("%d blocks", len(blocks))
		}
		for _, b := range blocks {
			leader := r.fields[0].leader.topology.Name
			names := strings.Join(b.Topologies, "")
			if b.Topologies[0] != leader || strings.Contains(names, "d") || c.slow != leader && len(b.Topologies) != 1+c.others || b.Seconds <= 0 || b.Worth <= 0 {
				t.Errorf("without %q: %s of %s, worth %v", c.slow, names, b.Load.Name(), b.Worth)
			}
			if c.slow != "" && c.slow != leader && strings.Contains(names, c.slow) {
				t.Errorf("%s is in %s", c.slow, names)
			}
		}
	}
}

// Where memory is the objective, one start of each decides.
func TestMemoryIsNotTested(t *testing.T) {
	p := racing([]int{1, 2, 3}, nil, mt1)
	p.Search.Objective = results.MetricGPUPeak
	r := New(p)
	if got := r.Shortest(mt1); got != mt1 {
		t.Errorf("a short load does not show what the whole one takes: %+v", got)
	}
	for i, gib := range []float64{2, 1, 1.01} {
		r.Add(first(measured(p, i, mt1, 1, 10), gib))
	}
	c := r.Contests()[0]
	if c.Tested || c.Answer != "b" || !c.Reached || states(c) != "[a:left b:settled c:settled]" {
		t.Errorf("%+v", c)
	}
}

// Where memory could not be measured, rounds do not help: there are none.
func TestUnknownMemoryIsNotRacedFor(t *testing.T) {
	p := racing([]int{1, 2}, nil, mt1)
	p.Search.Objective = results.MetricGPUPeak
	r := New(p)
	r.Add(first(measured(p, 0, mt1, 1, 10), 2))
	r.Add(measured(p, 1, mt1, 1, 10))
	if blocks := r.Blocks(0.3, func(string) float64 { return 0 }); len(blocks) > 0 {
		t.Errorf("%+v", blocks)
	}
	if c := r.Contests()[0]; c.Answer != "a" || c.Reached || states(c) != "[a:settled b:racing]" {
		t.Errorf("%+v", c)
	}
}

// How alike starts are in memory says nothing of how much durations vary.
func TestMemoryIsNoNoise(t *testing.T) {
	open := scenarios.LoadSpec{Client: scenarios.ClientOpen, Rate: 10, Requests: 400}
	p := racing(make([]int, 24), map[string]string{results.MetricGPUPeak: "100GiB"}, open, mt1)
	r, random := New(p), rand.New(rand.NewPCG(1, 1))
	for i := range p.Trials {
		one := first(measured(p, i, open, 1, 40), 1+0.001*float64(i))
		one.Replies = open.Requests
		r.Add(one)
		r.Add(first(measured(p, i, mt1, 1, 10*math.Exp(0.06*random.NormFloat64())), 1))
	}
	again := first(measured(p, 0, open, 2, 40), 1+1e-6) // the answer, on a new start
	again.Replies = open.Requests
	r.Add(again)
	if got := states(r.Contests()[1]); strings.Contains(got, "left") || strings.Count(got, "settled") > 1 {
		t.Errorf("after one round with noise of 6%%: %s", got)
	}
}
