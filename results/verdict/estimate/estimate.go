// Package estimate says how long a plan will take, from what was measured before.
package estimate

import (
	"fmt"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
)

// An Estimate is how long a plan will take.
type Estimate struct {
	Seconds float64
	Most    bool // the plan may end earlier: it has an until, a search or a pruning

	Known int // cells whose duration is that of earlier ones
	Cells int // all of them
	Runs  int // that the estimate is from; 0: all of it is a guess
}

// What is taken where nothing was measured.
const (
	guessedStack   = 10.0 // seconds to start a stack, warm it up and remove it
	guessedRequest = 0.05 // seconds for which a request keeps its client
)

// A Past is a run that an estimate is from.
type Past struct {
	Run     results.Run
	Records []results.Record
}

// Of estimates the time of a plan from earlier runs of its scenario. Of a cell
// that was measured it takes the median of its durations; of one that was not, what
// other cells of the same load took for a request, or else a guess. A schedule is as
// long as it is. Images that are yet to be pulled or built are not in it.
func Of(plan scenarios.Plan, past []Past) Estimate {
	e := Estimate{Most: plan.Until != nil || plan.Search != nil || plan.Prune}
	durations, paces, overheads := map[string][]float64{}, map[string][]float64{}, []float64{}
	for _, p := range past {
		stacks := map[string]bool{}
		for _, r := range p.Records {
			if r.Duration == nil || *r.Duration <= 0 || r.Cell.Load.Requests <= 0 {
				continue
			}
			durations[r.Cell.Name] = append(durations[r.Cell.Name], *r.Duration)
			paces[verdict.ModeName(r.Cell.Load)] = append(paces[verdict.ModeName(r.Cell.Load)], *r.Duration/float64(r.Cell.Load.Requests))
			stacks[stackOf(p.Run.Plan, r.Topology.Name, r.Cell)] = true
		}
		if total := p.Run.SpentTotal(); total > 0 && len(stacks) > 0 {
			rest := total - p.Run.Spent[results.PhaseMeasure] - p.Run.Spent[results.PhaseImages]
			overheads = append(overheads, max(0, rest)/float64(len(stacks)))
			e.Runs++
		}
	}
	stacks := map[string]bool{}
	for _, trial := range plan.Trials {
		for _, cell := range trial.Cells {
			stacks[stackOf(plan, trial.Topology.Name, cell)] = true
			seconds, known := cellSeconds(cell, durations, paces)
			e.Cells++
			if known {
				e.Known++
			}
			e.Seconds += seconds
		}
	}
	if plan.Search != nil { // the plan has each candidate once
		e.Seconds, e.Cells, e.Known = e.Seconds*float64(plan.Repeats), e.Cells*plan.Repeats, e.Known*plan.Repeats
		if limit := plan.Search.Time.Seconds(); limit > 0 {
			e.Seconds = min(e.Seconds, limit)
		}
	}
	each := guessedStack
	if len(overheads) > 0 {
		each = stats.NewSample(overheads).Median
	}
	e.Seconds += each * float64(len(stacks))
	return e
}

// stackOf tells the stacks of a plan apart.
func stackOf(plan scenarios.Plan, topology string, cell scenarios.Cell) string {
	switch plan.Fresh {
	case scenarios.FreshCell:
		return fmt.Sprint(topology, cell.Name, cell.Repeat)
	case scenarios.FreshRun:
		return fmt.Sprint(topology, plan.Start(cell.Repeat))
	}
	return fmt.Sprint(topology, cell.Repeat)
}

func cellSeconds(cell scenarios.Cell, durations, paces map[string][]float64) (seconds float64, known bool) {
	load := cell.Load
	if of := durations[cell.Name]; len(of) > 0 {
		return stats.NewSample(of).Median, true
	}
	if load.Rate > 0 {
		return float64(load.Requests) / load.Rate, true
	}
	if of := paces[verdict.ModeName(load)]; len(of) > 0 {
		return stats.NewSample(of).Median * float64(load.Requests), false
	}
	return guessedRequest * float64(load.Requests), false
}
