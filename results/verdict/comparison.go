package verdict

import (
	"encoding/json"
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios"
)

// States of a cell in a comparison.
const (
	CellBoth         = "both"          // ok in both runs
	CellNew          = "new"           // in the head only
	CellGone         = "gone"          // not in the head's plan
	CellMissing      = "missing"       // in the head's plan, but the head has no record of it
	CellNewlyFailing = "newly failing" // every repeat ok in the base and not in the head, or some in the base and none in the head
	CellNewlyErring  = "newly erring"  // ok in both, with errors among the head's answers only
	CellNewlyOK      = "newly ok"      // the other way round
	CellFailing      = "failing"       // in both
	CellNewlyPruned  = "newly pruned"  // some repeat ok in the base, none started in the head
	CellPruned       = "pruned"        // not started in the head and not ok in the base
	CellChanged      = "changed"       // the same name, but another topology
)

// A Comparison puts the cells of a run, the head, beside those of another, the
// base.
type Comparison struct {
	Base, Head  results.Run
	Disparities []Disparity      // in kind, including those that the user allowed
	Notes       []Disparity      // between the machines, no obstacle to comparing
	Memory      string           // MemoryGPU or MemoryMain: which peak is compared
	Metrics     []results.Figure // in the order of a cell's Changes
	Cells       []CellComparison

	Nights int  // whose spread is in the changes, the most of any, see Between; 0: none are known
	Mean   bool // the changes are from the mean of the nights, not from the base
}

// A CellComparison is one cell in both runs.
type CellComparison struct {
	Name       string
	State      string
	Base, Head *Summary // nil where the run does not have the cell
	Changes    []Change // one for each metric that a side has; none where the cells cannot be compared
}

// A Change is one metric of one cell in both runs.
type Change struct {
	Metric     results.Figure
	Base, Head *stats.Sample    // nil if not measured
	Difference stats.Difference // in a Comparison, Shown and Able follow from the corrected p-value

	// Corrected is the p-value after Holm's correction for the cells that have
	// the metric. Compared is their number, or 1 outside of a Comparison.
	Corrected float64
	Compared  int

	// Nights is of how many nights the spread is in Difference and Interval, see
	// Comparison.Between; 0: they are of the repeats alone.
	Nights int

	// Interval is the relative change's, see stats.ChangeInterval. It is not
	// corrected.
	Interval *stats.Interval

	// Erring reports that a side has no repeat without errors among its
	// answers. An error is often a fast answer, so nothing is tested or shown.
	Erring bool

	// Needs is how many repeats of each side would probably show a difference
	// like this one, see stats.RepeatsLikely.
	Needs int
}

// Worse reports whether the change is shown and unwelcome.
func (c Change) Worse() bool { return c.Difference.Shown && c.worsens() }

// Better reports whether the change is shown and welcome.
func (c Change) Better() bool { return c.Difference.Shown && !c.worsens() }

func (c Change) worsens() bool {
	if c.Base == nil || c.Head == nil {
		return false
	}
	rises, falls := c.Head.Median > c.Base.Median, c.Head.Median < c.Base.Median
	if c.Nights > 0 {
		rises, falls = *c.Difference.Change > 0, *c.Difference.Change < 0
	}
	return c.Metric.Higher && falls || !c.Metric.Higher && rises
}

// Counts is the number of cells in each state.
func (c Comparison) Counts() map[string]int {
	counts := map[string]int{}
	for _, cell := range c.Cells {
		counts[cell.State]++
	}
	return counts
}

// Regressed reports whether any cell regressed, see CellRegressed.
func (c Comparison) Regressed() bool {
	return slices.ContainsFunc(c.Cells, func(cell CellComparison) bool {
		return CellRegressed(cell.State)
	})
}

// CellRegressed reports whether a cell in this state was measured in the base
// and fails, answers with errors, was pruned or has no record in the head.
func CellRegressed(state string) bool {
	return state == CellNewlyFailing || state == CellNewlyErring || state == CellNewlyPruned || state == CellMissing
}

// CompareRuns compares two runs cell by cell, in the order of Summarise. It
// matches cells by topology and load. Whether the runs may be compared at all is
// for the caller to decide, by Disparities.
func CompareRuns(base, head results.Run, baseRecords, headRecords []results.Record) Comparison {
	before, after := SummariseRun(base, baseRecords), SummariseRun(head, headRecords)
	base.Counts, head.Counts = new(base.Count(baseRecords)), new(head.Count(headRecords))
	c := Comparison{Base: base, Head: head, Disparities: Disparities(base, head), Notes: Notes(base, head), Memory: results.MemoryMain}
	if MemoryKind(before) == results.MemoryGPU && MemoryKind(after) == results.MemoryGPU {
		c.Memory = results.MemoryGPU
	}
	for _, name := range []string{results.MetricDuration, results.MetricP99, results.MetricThroughput, results.PeakMetric(c.Memory)} {
		c.Metrics = append(c.Metrics, results.Metric(name))
	}
	planned := CellsOf(head, nil)
	had := byName(before)
	has := byName(after)
	for i := range after {
		c.Cells = append(c.Cells, c.compare(had[after[i].Name()], &after[i], planned))
	}
	for i := range before {
		if has[before[i].Name()] == nil {
			c.Cells = append(c.Cells, c.compare(&before[i], nil, planned))
		}
	}
	for _, m := range c.Metrics {
		c.correct(m)
	}
	slices.SortStableFunc(c.Cells, func(a, b CellComparison) int { return compareSummaries(a.either(), b.either()) })
	return c
}

// correct corrects a metric's p-values for the number of cells in which it is
// compared.
func (c Comparison) correct(m results.Figure) {
	var changes []*Change
	var p []float64
	for _, cell := range c.Cells {
		for i := range cell.Changes {
			change := &cell.Changes[i]
			if change.Metric.Name == m.Name && change.Base != nil && change.Head != nil && !change.Erring {
				changes, p = append(changes, change), append(p, change.Difference.P)
			}
		}
	}
	for i, corrected := range stats.Holm(p) {
		change := changes[i]
		d := &change.Difference
		change.Corrected, change.Compared = corrected, len(p)
		d.Shown = corrected <= 1-stats.Confidence
		if change.Nights > 0 {
			d.Able, change.Needs = true, 0
			continue
		}
		d.Able = d.Shown || float64(len(p))*stats.SmallestP(d.N1, d.N2) <= 1-stats.Confidence
		change.Needs = stats.RepeatsLikely(change.Base, change.Head, len(p))
	}
}

// Topology is the head's, or the base's where the head does not have the cell.
func (c CellComparison) Topology() scenarios.Topology { return c.either().Topology }

func (c CellComparison) either() Summary {
	if c.Head != nil {
		return *c.Head
	}
	return *c.Base
}

func byName(summaries []Summary) map[string]*Summary {
	at := make(map[string]*Summary, len(summaries))
	for i := range summaries {
		at[summaries[i].Name()] = &summaries[i]
	}
	return at
}

// compare compares one cell. One side may be nil.
func (c Comparison) compare(base, head *Summary, planned map[string]scenarios.Topology) CellComparison {
	cell := CellComparison{Base: base, Head: head}
	cell.Name = cell.either().Name()
	switch {
	case base == nil:
		cell.State = CellNew
		return cell
	case head == nil:
		cell.State = CellGone
		if _, is := planned[cell.Name]; is {
			cell.State = CellMissing
		}
		return cell
	case !sameTopology(base.Topology, head.Topology):
		cell.State = CellChanged
		return cell
	case base.OK > 0 && head.Spared():
		cell.State = CellNewlyPruned
	case base.Whole() && !head.Whole(), base.OK > 0 && head.OK == 0:
		cell.State = CellNewlyFailing
	case base.Clean() && head.Errors > 0, base.CleanRepeat() && head.OK > 0 && !head.CleanRepeat():
		cell.State = CellNewlyErring
	case !base.Whole() && head.Whole():
		cell.State = CellNewlyOK
	case head.Spared():
		cell.State = CellPruned
	case !base.Whole():
		cell.State = CellFailing
	default:
		cell.State = CellBoth
	}
	for _, m := range c.Metrics {
		before, after := base.Sample(m), head.Sample(m)
		if before != nil || after != nil {
			change := newChange(m, before, after)
			if before != nil && after != nil && !(base.CleanRepeat() && head.CleanRepeat()) {
				change.void()
			}
			cell.Changes = append(cell.Changes, change)
		}
	}
	return cell
}

// sameTopology compares topologies as a store keeps them, which is without
// values of the environment that may be secrets.
func sameTopology(a, b scenarios.Topology) bool {
	x, errX := json.Marshal(a.Redacted())
	y, errY := json.Marshal(b.Redacted())
	return errX == nil && errY == nil && string(x) == string(y)
}

// newChange compares one metric. With a sample missing it shows nothing.
func newChange(m results.Figure, base, head *stats.Sample) Change {
	c := Change{Metric: m, Base: base, Head: head, Difference: stats.Compare(base, head), Compared: 1}
	c.Corrected = c.Difference.P
	if base != nil && head != nil {
		c.Interval, c.Needs = stats.ChangeInterval(base, head), stats.RepeatsLikely(base, head, 1)
	}
	return c
}

// void takes the tests back, because the figures are those of errors.
func (c *Change) void() {
	c.Erring, c.Interval, c.Needs = true, nil, 0
	c.Difference.P, c.Difference.Shown, c.Corrected, c.Compared = 1, false, 1, 0
}
