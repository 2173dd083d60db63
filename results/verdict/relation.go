package verdict

import (
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
)

// A Relation is how a cell of a run stands to another one of it in one metric.
//
// Both are in each round of the run, and the machine is much the same within a
// round: the ratio is the estimate over the rounds, see stats.Pair. So are interval and
// test, where there are rounds enough; otherwise they are those of two samples.
type Relation struct {
	Rounds   int             // that both have; 0: the ratio is that of the medians
	Ratio    *float64        // nil where one is missing, or of 0; of what was picked, what is to be expected of it
	Measured *float64        // where it was picked: the ratio in the rounds that picked it
	Among    int             // candidates that it was picked from; 0: none was picked, or too little is known
	Interval *stats.Interval // of the ratio; nil with too few repeats
	Across   bool            // one was measured in a lane that the other was not: the ratio is also one between lanes
	stats.Difference
}

// Beside compares a cell with another one of the same run.
func Beside(base, head Summary, m results.Figure) Relation {
	one, other := base.Sample(m), head.Sample(m)
	r := Relation{Difference: stats.Compare(one, other), Across: across(base.Speaking, head.Speaking)}
	if one == nil || other == nil {
		return r
	}
	if base.Name() == head.Name() { // nothing was measured of a cell beside itself
		r.Ratio = new(1.0)
		return r
	}
	if r.Change != nil {
		r.Ratio = new(1 + *r.Change)
	}
	if change := stats.ChangeInterval(one, other); change != nil {
		r.Interval = &stats.Interval{Low: 1 + change.Low, High: 1 + change.High, Confidence: change.Confidence}
	}
	first := map[int]float64{} // by round
	for i := range base.Speaking {
		if value := m.Of(&base.Speaking[i]); value != nil {
			first[base.Speaking[i].Cell.Repeat] = *value
		}
	}
	var from, to []float64
	for i := range head.Speaking {
		value := m.Of(&head.Speaking[i])
		if before, both := first[head.Speaking[i].Cell.Repeat]; both && value != nil {
			from, to = append(from, before), append(to, *value)
		}
	}
	paired := stats.Pair(from, to)
	if paired == nil {
		return r
	}
	r.Rounds, r.Ratio = paired.N, &paired.Ratio
	r.Change = paired.Change
	if paired.Interval != nil {
		r.Interval, r.Difference = paired.Interval, paired.Difference
	}
	return r
}

// across reports whether repeats of one cell were measured in lanes in which the same
// repeats of the other were not.
func across(one, other []results.Record) bool {
	lanes := map[int]int{} // by repeat
	for _, record := range one {
		lanes[record.Cell.Repeat] = record.Lane
	}
	return slices.ContainsFunc(other, func(record results.Record) bool {
		lane, both := lanes[record.Cell.Repeat]
		return both && lane != record.Lane
	})
}
