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
	CellGone         = "gone"          // no longer asked for
	CellMissing      = "missing"       // the head planned it and holds no record of it
	CellNewlyFailing = "newly failing" // every repeat ok in the base, and not in the head; or some, and none in the head
	CellNewlyErring  = "newly erring"  // ok in both, and the answers of the head have errors that those of the base had not
	CellNewlyOK      = "newly ok"      // the other way round
	CellFailing      = "failing"       // in both
	CellNewlyPruned  = "newly pruned"  // some repeat ok in the base, and not started in the head
	CellPruned       = "pruned"        // not started in the head, nor ok in the base
	CellChanged      = "changed"       // of the same name, and asked for differently
)

// A Comparison is what became of a run's cells since another run.
type Comparison struct {
	Base, Head  results.Run
	Disparities []Disparity      // in kind; what was allowed is among them
	Notes       []Disparity      // of the machines, that are no reason not to compare
	Memory      string           // MemoryGPU or MemoryMain: which peak is compared
	Metrics     []results.Metric // that are compared, in the order of a cell's Changes
	Cells       []CellComparison
}

// A CellComparison is one cell in both runs.
type CellComparison struct {
	Name       string
	State      string
	Base, Head *Summary // nil where the run does not have the cell
	Changes    []Change // of each of the metrics that a side has; none where the cells cannot be compared
}

// A Change is one metric of one cell in both runs.
type Change struct {
	Metric     results.Metric
	Base, Head *stats.Sample    // nil where it was not measured
	Difference stats.Difference // in a Comparison, Shown and Able are of the corrected p-value

	// Corrected is the p-value after Holm's correction for the Compared cells
	// that have the metric; Compared is 1 outside of a Comparison.
	Corrected float64
	Compared  int

	// Interval is that of the relative change (0.05 is 5% more), see
	// ChangeInterval; it is not corrected.
	Interval *stats.Interval

	// Erring: a side has no repeat without errors among its answers. An error
	// is often a fast answer, so nothing is tested and nothing is shown.
	Erring bool

	// Needs is how many repeats of each side would show a difference like this
	// one four times in five; 0 where the samples do not hint at any. See
	// Noether, Sample Size Determination for Some Common Nonparametric Tests
	// (1987).
	Needs int
}

// Worse reports whether the change is shown and in the direction that nobody
// wants.
func (c Change) Worse() bool { return c.Difference.Shown && c.worsens() }

// Better reports whether the change is shown and welcome.
func (c Change) Better() bool { return c.Difference.Shown && !c.worsens() }

func (c Change) worsens() bool {
	if c.Base == nil || c.Head == nil {
		return false
	}
	if c.Metric.Higher {
		return c.Head.Median < c.Base.Median
	}
	return c.Head.Median > c.Base.Median
}

// Counts are the numbers of cells by state.
func (c Comparison) Counts() map[string]int {
	counts := map[string]int{}
	for _, cell := range c.Cells {
		counts[cell.State]++
	}
	return counts
}

// Regressed reports whether a cell of the base no longer gives what it gave: it
// fails in the head, answers with errors or was pruned, or the head planned it
// and holds no record.
func (c Comparison) Regressed() bool {
	return slices.ContainsFunc(c.Cells, func(cell CellComparison) bool {
		return CellRegressed(cell.State)
	})
}

// CellRegressed reports whether a state is that of a cell which no longer gives
// what it gave.
func CellRegressed(state string) bool {
	return state == CellNewlyFailing || state == CellNewlyErring || state == CellNewlyPruned || state == CellMissing
}

// CompareRuns puts the cells of two runs beside each other. Cells are matched
// by what was asked for: topology and load. The order is that of Summarise.
// Whether the runs may be compared at all is said by Disparities.
func CompareRuns(base, head results.Run, baseRecords, headRecords []results.Record) Comparison {
	before, after := Summarise(baseRecords), Summarise(headRecords)
	c := Comparison{Base: base, Head: head, Disparities: Disparities(base, head), Notes: Notes(base, head), Memory: results.MemoryMain}
	if MemoryKind(before) == results.MemoryGPU && MemoryKind(after) == results.MemoryGPU {
		c.Memory = results.MemoryGPU
	}
	for _, name := range []string{results.MetricDuration, results.MetricP99, results.MetricThroughput, results.PeakMetric(c.Memory)} {
		if m, err := results.FindMetric(name); err == nil {
			c.Metrics = append(c.Metrics, m)
		}
	}
	planned := plannedNames(head.Plan)
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

// correct corrects what is said about a metric for the number of cells in which
// it is compared.
func (c Comparison) correct(m results.Metric) {
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
		d.Able = d.Shown || float64(len(p))*stats.SmallestP(d.N1, d.N2) <= 1-stats.Confidence
		change.Needs = stats.RepeatsLikely(change.Base, change.Head, len(p))
	}
}

// Topology is that of the head, or of the base where the head has none.
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

func plannedNames(plan scenarios.Plan) map[string]bool {
	names := map[string]bool{}
	for _, trial := range plan.Trials {
		for _, cell := range trial.Cells {
			names[cell.Name] = true
		}
	}
	return names
}

// compare compares one cell, of which one side may be missing.
func (c Comparison) compare(base, head *Summary, planned map[string]bool) CellComparison {
	cell := CellComparison{Base: base, Head: head}
	switch {
	case base == nil:
		cell.Name, cell.State = head.Name(), CellNew
		return cell
	case head == nil:
		cell.Name, cell.State = base.Name(), CellGone
		if planned[cell.Name] {
			cell.State = CellMissing
		}
		return cell
	case !sameTopology(base.Topology, head.Topology):
		cell.Name, cell.State = head.Name(), CellChanged
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
	cell.Name = head.Name()
	for _, m := range c.Metrics {
		before, after := base.Sample(m), head.Sample(m)
		if before != nil || after != nil {
			change := NewChange(m, before, after)
			if before != nil && after != nil && !(base.CleanRepeat() && head.CleanRepeat()) {
				change.void()
			}
			cell.Changes = append(cell.Changes, change)
		}
	}
	return cell
}

// sameTopology compares what was asked for. Values of the environment that may
// be secrets are not kept by a store and not compared.
func sameTopology(a, b scenarios.Topology) bool {
	x, errX := json.Marshal(a.Redacted())
	y, errY := json.Marshal(b.Redacted())
	return errX == nil && errY == nil && string(x) == string(y)
}

// NewChange compares one metric. Without a sample on a side nothing is shown.
func NewChange(m results.Metric, base, head *stats.Sample) Change {
	c := Change{Metric: m, Base: base, Head: head, Difference: stats.Compare(base, head), Compared: 1}
	c.Corrected = c.Difference.P
	if base == nil || head == nil {
		return c
	}
	c.Interval = stats.ChangeInterval(base, head)
	c.Needs = stats.RepeatsLikely(base, head, 1)
	return c
}

// void takes back what was tested of figures that are those of errors.
func (c *Change) void() {
	c.Erring, c.Interval, c.Needs = true, nil, 0
	c.Difference.P, c.Difference.Shown, c.Corrected, c.Compared = 1, false, 1, 0
}
