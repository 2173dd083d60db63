package estimate

import (
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// TestEstimate estimates two topologies under two loads, three repeats each.
func TestEstimate(t *testing.T) {
	plan := func(fresh string) scenarios.Plan {
		p := scenarios.Plan{Scenario: "s", Fresh: fresh, Repeats: 3, Starts: 1}
		for repeat := 1; repeat <= 3; repeat++ {
			for _, name := range []string{"flask", "gunicorn-w1-t4"} {
				trial := scenarios.Trial{Topology: scenarios.Topology{Name: name}, Repeat: repeat}
				for _, pool := range []int{5, 10} {
					load := scenarios.LoadSpec{Requests: 100, Client: scenarios.ClientMT, Pool: pool}
					trial.Cells = append(trial.Cells, scenarios.Cell{Name: name + "/" + load.Name(), Repeat: repeat, Load: load})
				}
				p.Trials = append(p.Trials, trial)
			}
		}
		return p
	}
	// Each cell took 2 s, each stack 4 s beside that; of the second topology there is
	// nothing, or all.
	past := func(topologies int) Past {
		p := Past{Run: results.Run{Plan: plan(scenarios.FreshTopology), Spent: map[string]float64{results.PhaseImages: 500}}}
		for _, trial := range plan(scenarios.FreshTopology).Trials {
			if topologies == 1 && trial.Topology.Name != "flask" {
				continue
			}
			p.Run.Spent[results.PhaseReady] += 4
			for _, cell := range trial.Cells {
				p.Run.Spent[results.PhaseMeasure] += 2
				p.Records = append(p.Records, results.Record{Topology: trial.Topology, Cell: cell, Status: results.StatusOK, Duration: new(2.0)})
			}
		}
		return p
	}
	for name, test := range map[string]struct {
		fresh string
		past  []Past
		want  Estimate
	}{
		"a guess":               {scenarios.FreshTopology, nil, Estimate{Seconds: 6*guessedStack + 12*100*guessedRequest, Cells: 12}},
		"known":                 {scenarios.FreshTopology, []Past{past(2)}, Estimate{Seconds: 6*4 + 12*2, Cells: 12, Known: 12, Runs: 1}},
		"half of it is known":   {scenarios.FreshTopology, []Past{past(1)}, Estimate{Seconds: 6*4 + 12*2, Cells: 12, Known: 6, Runs: 1}},
		"a stack each cell":     {scenarios.FreshCell, []Past{past(2)}, Estimate{Seconds: 12*4 + 12*2, Cells: 12, Known: 12, Runs: 1}},
		"stacks that stay up":   {scenarios.FreshRun, []Past{past(2)}, Estimate{Seconds: 2*4 + 12*2, Cells: 12, Known: 12, Runs: 1}},
		"a run without figures": {scenarios.FreshTopology, []Past{{}}, Estimate{Seconds: 6*guessedStack + 12*100*guessedRequest, Cells: 12}},
	} {
		if got := Of(plan(test.fresh), test.past); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
	p := plan(scenarios.FreshTopology)
	p.Until = &scenarios.Until{}
	for i := range p.Trials {
		for c := range p.Trials[i].Cells {
			p.Trials[i].Cells[c].Load = scenarios.LoadSpec{Requests: 100, Client: scenarios.ClientOpen, Rate: 20}
		}
	}
	if got := Of(p, nil); got.Seconds != 6*guessedStack+12*5 || !got.Most || got.Known != 12 {
		t.Errorf("an open loop: %+v", got)
	}
}
