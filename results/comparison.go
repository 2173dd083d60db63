package results

import (
	"encoding/json"
	"math"
	"slices"

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
	Base, Head  Run
	Disparities []Disparity // in kind; what was allowed is among them
	Notes       []Disparity // of the machines, that are no reason not to compare
	Memory      string      // MemoryGPU or MemoryMain: which peak is compared
	Metrics     []Metric    // that are compared, in the order of a cell's Changes
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
	Metric     Metric
	Base, Head *Sample    // nil where it was not measured
	Difference Difference // in a Comparison, Shown and Able are of the corrected p-value

	// Corrected is the p-value after Holm's correction for the Compared cells
	// that have the metric; Compared is 1 outside of a Comparison.
	Corrected float64
	Compared  int

	// Interval is that of the relative change (0.05 is 5% more), at Confidence
	// or above; nil with too few repeats, or where a value is not above 0. It
	// is of Hodges and Lehmann's shift, on the ratios of all pairs, and agrees
	// with the rank test before its correction. See Hodges and Lehmann, Estimates of Location Based
	// on Rank Tests (1963).
	Interval *Interval

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
func CompareRuns(base, head Run, baseRecords, headRecords []Record) Comparison {
	before, after := Summarise(baseRecords), Summarise(headRecords)
	c := Comparison{Base: base, Head: head, Disparities: Disparities(base, head), Notes: Notes(base, head), Memory: MemoryMain}
	if MemoryKind(before) == MemoryGPU && MemoryKind(after) == MemoryGPU {
		c.Memory = MemoryGPU
	}
	for _, name := range []string{MetricDuration, MetricP99, MetricThroughput, PeakMetric(c.Memory)} {
		if m, err := FindMetric(name); err == nil {
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
func (c Comparison) correct(m Metric) {
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
	for i, corrected := range holm(p) {
		change := changes[i]
		d := &change.Difference
		change.Corrected, change.Compared = corrected, len(p)
		d.Shown = corrected <= 1-Confidence
		d.Able = d.Shown || float64(len(p))*smallestP(d.N1, d.N2) <= 1-Confidence
		change.Needs = repeatsLikely(change.Base.Values, change.Head.Values, len(p))
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
func NewChange(m Metric, base, head *Sample) Change {
	c := Change{Metric: m, Base: base, Head: head, Difference: Compare(base, head), Compared: 1}
	c.Corrected = c.Difference.P
	if base == nil || head == nil {
		return c
	}
	c.Interval = intervalBetween(base, head)
	c.Needs = repeatsLikely(base.Values, head.Values, 1)
	return c
}

// void takes back what was tested of figures that are those of errors.
func (c *Change) void() {
	c.Erring, c.Interval, c.Needs = true, nil, 0
	c.Difference.P, c.Difference.Shown, c.Corrected, c.Compared = 1, false, 1, 0
}

// intervalBetween is changeInterval of two samples, of which either may be
// missing.
func intervalBetween(base, head *Sample) *Interval {
	if base == nil || head == nil {
		return nil
	}
	return changeInterval(base.Values, head.Values)
}

// changeInterval is the interval of the ratio of head to base, less 1.
func changeInterval(base, head []float64) *Interval {
	n, m := len(base), len(head)
	if n == 0 || m == 0 || base[0] <= 0 || head[0] <= 0 {
		return nil
	}
	outside, confidence := pairsOutside(n, m)
	if outside == 0 {
		return nil
	}
	ratios := make([]float64, 0, n*m)
	for _, b := range base {
		for _, h := range head {
			ratios = append(ratios, h/b-1)
		}
	}
	slices.Sort(ratios)
	return &Interval{Low: ratios[outside-1], High: ratios[len(ratios)-outside], Confidence: confidence}
}

// mostPairs is the largest product of sample sizes whose rank sums are counted.
const mostPairs = 900

// pairsOutside is the number of the ordered pairwise ratio, from either end,
// that bounds an interval of Confidence; 0 when all of them do not. A bound at
// number k is missed with the probability that the U statistic is below k.
func pairsOutside(n, m int) (k int, confidence float64) {
	tail := (1 - Confidence) / 2
	if n*m > mostPairs {
		mean, deviation := float64(n*m)/2, math.Sqrt(float64(n)*float64(m)*float64(n+m+1)/12)
		const z = 1.959964 // 97.5%
		return max(0, int(math.Floor(mean-z*deviation))), Confidence
	}
	below := 0.0
	for u, share := range rankSums(n, m) {
		if below+share > tail {
			return u, 1 - 2*below
		}
		below += share
	}
	return 0, 0
}

// rankSums is the distribution of the U statistic of Mann and Whitney under
// the hypothesis that both samples come from one: the share of the orders for
// each value from 0 to n·m. They are the coefficients of a Gaussian binomial.
func rankSums(n, m int) []float64 {
	counts := make([]float64, n*m+1)
	counts[0] = 1
	for i := 1; i <= n; i++ {
		for u := len(counts) - 1; u >= m+i; u-- { // times 1 − x^(m+i)
			counts[u] -= counts[u-m-i]
		}
		for u := i; u < len(counts); u++ { // divided by 1 − x^i
			counts[u] += counts[u-i]
		}
	}
	total := 0.0
	for _, c := range counts {
		total += c
	}
	for u := range counts {
		counts[u] /= total
	}
	return counts
}

// repeatsLikely applies Noether's formula to the share of pairs in which the
// head is above the base, for a power of 80% in one of so many tests.
func repeatsLikely(base, head []float64, tests int) int {
	above := 0.0
	for _, b := range base {
		for _, h := range head {
			switch {
			case h > b:
				above++
			case h == b:
				above += 0.5
			}
		}
	}
	share := above/float64(len(base)*len(head)) - 0.5
	if share == 0 {
		return 0
	}
	const power = 0.841621 // of 80%
	z := math.Sqrt2*math.Erfinv(1-(1-Confidence)/float64(tests)) + power
	needs := math.Ceil(z * z / (6 * share * share))
	return max(RepeatsForDifference(tests), int(min(needs, 1e6)))
}
