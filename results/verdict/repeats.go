package verdict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// How the repeats of a trial ended.
const (
	EndWithin  = "within"  // every interval is as narrow as the plan asks
	EndMaximum = "maximum" // all planned repeats were made, and one is not
	endFailing = "failing" // every repeat failed or was pruned, so more of them would tell nothing
	endNone    = ""        // they have not ended
)

// Repeats says which trials of a plan with Until are still needed. Make it with
// NewRepeats and tell it of each record with Add.
//
// It decides about whole trials, not single cells: with fresh: topology the
// cells of a topology share a stack, and leaving some of them out would change
// what the others find. With fresh: run it decides about each cell.
type Repeats struct {
	plan    scenarios.Plan
	whole   map[results.Key]scenarios.Trial // by each of its cells; with the cells that are done
	records map[cellKey][]results.Record    // each repeat once
}

type cellKey struct{ topology, cell string }

// NewRepeats starts with the records that there are already. Of a record only the
// cell, the repeat, the status, the errors and the duration count.
func NewRepeats(plan scenarios.Plan, records []results.Record) *Repeats {
	if plan.Fresh == scenarios.FreshRun { // cells share no stack that would have to start again for them
		plan.Trials = eachCell(plan.Trials)
	}
	r := &Repeats{plan: plan, whole: map[results.Key]scenarios.Trial{}, records: map[cellKey][]results.Record{}}
	for _, trial := range plan.Trials {
		for _, cell := range trial.Cells {
			r.whole[results.Key{Topology: trial.Topology.Name, Load: cell.Name, Repeat: trial.Repeat}] = trial
		}
	}
	for _, record := range records {
		r.Add(record)
	}
	return r
}

// LooksOf are the numbers of repeats after which a plan with Until looks whether they are
// enough. Fewer repeats than make an interval decide nothing.
func LooksOf(plan scenarios.Plan) stats.Looks {
	if plan.Until == nil {
		return stats.Looks{}
	}
	return stats.Looks{First: max(plan.Until.Min, stats.RepeatsForInterval()), Last: plan.Repeats}
}

// eachCell makes a trial of each cell.
func eachCell(trials []scenarios.Trial) []scenarios.Trial {
	var each []scenarios.Trial
	for _, trial := range trials {
		for _, cell := range trial.Cells {
			each = append(each, scenarios.Trial{Topology: trial.Topology, Repeat: trial.Repeat, Cells: []scenarios.Cell{cell}})
		}
	}
	return each
}

// Add adds a record. It replaces one of the same cell and repeat.
func (r *Repeats) Add(record results.Record) {
	if r.plan.Until == nil {
		return // every trial is needed, whatever the records say
	}
	key := cellKey{record.Topology.Name, record.Cell.Name}
	others := slices.DeleteFunc(r.records[key], func(o results.Record) bool { return o.Cell.Repeat == record.Cell.Repeat })
	r.records[key] = append(others, record)
}

// Needed reports whether a trial has to be run, going by the records of the
// repeats before it. Without Until every trial is needed.
func (r *Repeats) Needed(trial scenarios.Trial) bool {
	if r.plan.Until == nil || len(trial.Cells) == 0 {
		return true
	}
	if whole, found := r.whole[results.Key{Topology: trial.Topology.Name, Load: trial.Cells[0].Name, Repeat: trial.Repeat}]; found {
		trial = whole
	}
	end, _ := r.before(trial, trial.Repeat)
	return end == endNone
}

// before says how a trial stands before this repeat, and how wide the widest of
// its cells' intervals is: nil if one of them has none.
func (r *Repeats) before(trial scenarios.Trial, repeat int) (end string, widest *float64) {
	var widths []float64
	counted := 0 // cells that have a duration
	for _, cell := range trial.Cells {
		records := slices.DeleteFunc(slices.Clone(r.records[cellKey{trial.Topology.Name, cell.Name}]),
			func(record results.Record) bool { return record.Cell.Repeat >= repeat })
		if len(records) < r.plan.Until.Min {
			return endNone, nil
		}
		_, speaking := results.Speaking(records)
		if sample := sampleOf(results.Metric(results.MetricDuration), speaking, LooksOf(r.plan)); sample != nil {
			counted++
			if width := sample.HalfWidth(); width != nil {
				widths = append(widths, *width)
			}
		}
	}
	if counted == 0 {
		return endFailing, nil
	}
	if len(widths) < counted {
		return endNone, nil
	}
	most := slices.Max(widths)
	if most <= r.plan.Until.Within {
		return EndWithin, &most
	}
	return endNone, &most
}

// An End is how the repeats of one trial's cells ended.
type End struct {
	Topology string   `json:"topology"`
	Cells    []string `json:"cells"`      // names
	Repeats  int      `json:"repeats"`    // made
	Needless int      `json:"-"`          // planned cells that were left out because no more repeats were needed
	How      string   `json:"ended"`      // one of the End constants
	Width    *float64 `json:"half_width"` // half the widest of the cells' intervals, as a share of the median; nil if a cell has none
}

// Ends says how the repeats of each trial ended, ordered by topology. It is nil
// without Until.
func (r *Repeats) Ends() []End {
	if r.plan.Until == nil {
		return nil
	}
	var ends []End
	for _, trials := range GroupBy(r.plan.Trials, func(t scenarios.Trial) string { return strings.Join(cellsOf(t), "\x00") }) {
		end := End{Topology: trials[0].Topology.Name, Cells: cellsOf(trials[0])}
		begun := map[int]bool{} // repeats
		for _, name := range end.Cells {
			for _, record := range r.records[cellKey{end.Topology, name}] {
				begun[record.Cell.Repeat] = true
				end.Repeats = max(end.Repeats, record.Cell.Repeat)
			}
		}
		end.How, end.Width = r.before(trials[0], end.Repeats+1)
		if end.How == endNone && end.Repeats >= r.plan.Repeats {
			end.How = EndMaximum
		}
		for _, trial := range trials {
			if !begun[trial.Repeat] && !r.Needed(trial) {
				end.Needless += len(trial.Cells)
			}
		}
		ends = append(ends, end)
	}
	slices.SortStableFunc(ends, func(a, b End) int { return cmp.Compare(a.Topology, b.Topology) })
	return ends
}

// cellsOf are the names of a trial's cells.
func cellsOf(trial scenarios.Trial) []string {
	var names []string
	for _, cell := range trial.Cells {
		names = append(names, cell.Name)
	}
	return names
}

// Sentence says how the repeats ended and why.
func (e End) Sentence(plan scenarios.Plan) string {
	width := ""
	if e.Width != nil {
		width = fmt.Sprintf("±%.2g%%", 100**e.Width)
	}
	within := 100 * plan.Until.Within
	made := fmt.Sprintf("%s: %d of at most %s", e.name(), e.Repeats, show.Plural(plan.Repeats, "repeat"))
	switch e.How {
	case EndWithin:
		return fmt.Sprintf("%s, until every median duration was known within %.3g%% (%s)", made, within, width)
	case EndMaximum:
		if width == "" {
			return fmt.Sprintf("%s: the maximum was reached before every median duration had an interval", made)
		}
		return fmt.Sprintf("%s: the maximum was reached before every median duration was known within %.3g%% (%s)", made, within, width)
	case endFailing:
		return made + ": none of them was ok, so that more would tell nothing"
	}
	return made + ", and not at an end"
}

// name is the topology's, or the cell's where a trial is one cell.
func (e End) name() string {
	if len(e.Cells) == 1 {
		return e.Cells[0]
	}
	return e.Topology
}
