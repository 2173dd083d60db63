package strategy

import (
	"fmt"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// failFast measures nothing more once a cell has failed.
type failFast struct {
	Strategy
	memory bool   // a cell that ran out of it counts, too
	failed string // the cell that did
}

// FailFast wraps the strategy of a plan so that nothing more is measured once a cell has
// failed. A resumed run begins with that cell. What runs out of memory ends no search: it
// is what the search has to find out.
func FailFast(plan scenarios.Plan) func(Strategy) Strategy {
	return func(s Strategy) Strategy { return &failFast{Strategy: s, memory: plan.Search == nil} }
}

// Next implements Strategy.
func (f *failFast) Next(free Capacity) (Step, bool) {
	if f.failed != "" {
		return Step{}, false
	}
	return f.Strategy.Next(free)
}

// Add implements Strategy.
func (f *failFast) Add(record results.Record) {
	f.Strategy.Add(record)
	if record.Status == results.StatusFailed && f.failed == "" && (f.memory || record.OutOfMemory == "") {
		f.failed = fmt.Sprintf("%s, repeat %d", record.Cell.Name, record.Cell.Repeat)
	}
}

// Why implements Strategy.
func (f *failFast) Why() []Reason {
	why := f.Strategy.Why()
	if f.failed == "" {
		return why
	}
	return append(why, Reason{Text: "nothing was measured after " + show.Line(f.failed) + " had failed (--fail-fast); --resume goes on with it"})
}
