package verdict

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios/threshold"
)

// How a gate decides on a night that is held against the nights before it, for each
// threshold that names a baseline. A change is worse where it moved the threshold to
// its wrong side.
//
// All cells together come first: their geometric mean breaks the threshold where it
// is shown to be worse at nightLevel, and its limit is exceeded with limitConfidence.
// That limit is the share 1/wholeShare of the one for a cell, because all cells together are known
// better than one, and what slows them all costs as much as a cell's limit long before
// each is over it. Then each cell by itself: it breaks the threshold where it is shown to be
// worse at nightLevel, corrected for the number of cells (Holm), and its limit is
// exceeded with limitConfidence. What is over its limit and does not break it so is
// undecided. So of unchanged builds at most 2 in 100 nights fail, one by each.
//
// The second condition has a level of its own because it is asked only of what is
// shown to have changed: with 95% most of what is 10% slower would be undecided at
// a limit of 5% for as long as a week.
const (
	nightLevel      = 0.01
	limitConfidence = 0.80
	wholeShare      = 3

	// anchorLevel is nightLevel where a run is held against its anchor. An anchor that was a
	// lucky night is one for as many nights as it is the anchor.
	anchorLevel = 0.0025
)

// A window is the nights that the cells of a run are held against.
type window struct {
	cells map[string][]*Summary // of each cell the nights that hold it, the latest first
	head  []Summary
	by    map[string]map[string]nightly // by figure and cell
}

// A nightly is a figure of a cell beside the nights before.
type nightly struct {
	stats.Departure
	own, base float64 // geometric means, in the figure's base unit
	series    stats.Nights
	nights    string // the runs that they are
	cells     int    // whose mean it is; 0: one cell
}

func newWindow(head []Summary, nights [][]Summary) *window {
	w := &window{cells: map[string][]*Summary{}, head: head, by: map[string]map[string]nightly{}}
	for _, night := range nights {
		for i := range night {
			if s := &night[i]; s.OK > 0 {
				w.cells[s.Name()] = append(w.cells[s.Name()], s)
			}
		}
	}
	return w
}

// latest is the last night that holds the cell, or nil.
func (w *window) latest(cell string) *Summary {
	if nights := w.cells[cell]; len(nights) > 0 {
		return nights[0]
	}
	return nil
}

// of is a figure of the cells that have it in the head and in FewestNights nights or
// more. What is not above 0 has no logarithm.
func (w *window) of(m results.Figure) map[string]nightly {
	if known, has := w.by[m.Name]; has {
		return known
	}
	var names, runs []string
	var series []stats.Nights
	for _, s := range w.head {
		own, has := meanLog(s.Sample(m))
		if !has {
			continue
		}
		one, of := stats.Nights{Head: own}, ""
		for _, night := range w.cells[s.Name()] {
			if before, has := meanLog(night.Sample(m)); has {
				one.Before, of = append(one.Before, before), of+" "+night.Speaking[0].Run
			}
		}
		if len(one.Before) >= stats.FewestNights {
			names, series, runs = append(names, s.Name()), append(series, one), append(runs, of)
		}
	}
	found := map[string]nightly{}
	for i, d := range stats.Depart(series) {
		found[names[i]] = nightly{d, math.Exp(series[i].Head), math.Exp(series[i].Head - d.By), series[i], runs[i], 0}
	}
	w.by[m.Name] = found
	return found
}

// meanLog is the mean of the logarithms of a sample.
func meanLog(s *stats.Sample) (mean float64, has bool) {
	if s == nil || s.Min <= 0 {
		return 0, false
	}
	for _, v := range s.Values {
		mean += math.Log(v) / float64(s.N)
	}
	return mean, true
}

// together is the geometric mean of the cells that were measured in the same nights,
// of the most such cells, and how many they are. A single one is no mean: of fewer than
// two there is none.
func (w *window) together(m results.Figure) (whole nightly, cells int) {
	of := w.of(m)
	var all, most []nightly
	for _, s := range w.head { // in the same order each time
		if one, has := of[s.Name()]; has {
			all = append(all, one)
		}
	}
	for _, group := range GroupBy(all, func(one nightly) string { return one.nights }) {
		if len(group) > len(most) {
			most = group
		}
	}
	if len(most) < 2 {
		return nightly{}, 0
	}
	var each []stats.Nights
	for _, one := range most {
		each = append(each, one.series)
	}
	series := meanOf(each)
	d := stats.Depart([]stats.Nights{series})[0]
	return nightly{d, math.Exp(series.Head), math.Exp(series.Head - d.By), series, most[0].nights, len(most)}, len(most)
}

// test is that of a figure whose logarithm counts so many times.
func (n nightly) test(figure string, times float64) test {
	return test{figure: figure, up: n.Up, down: n.Down, p: 1, nights: &n, times: times}
}

// change is what a check says of the test's figure.
func (t test) change() *results.CheckChange {
	interval := t.nights.Interval()
	return &results.CheckChange{Figure: t.figure, By: math.Expm1(t.nights.By), Low: interval.Low, High: interval.High}
}

// wholeOf judges the geometric mean of all cells by a threshold that names a
// baseline. It is nil where there is nothing to judge: too few nights, a single
// cell, or a threshold that is not about changes alone.
func (w *window) wholeOf(t *threshold.Threshold) *judged {
	c := &judged{threshold: t, Check: results.Check{Threshold: t.Text}}
	c.Values, c.Base = map[string]float64{}, map[string]float64{}
	for _, m := range sampled(t) {
		whole, cells := w.together(m)
		if cells == 0 {
			return nil
		}
		c.Cells, c.Nights = cells, whole.Nights
		c.Values[m.Name], c.Base[m.Name] = whole.base*math.Exp(wholeShare*whole.By), whole.base
		c.tests = append(c.tests, whole.test(m.Name, wholeShare))
	}
	if !c.aboutChanges() {
		return nil
	}
	c.Cell, c.Change = fmt.Sprintf("all %d cells together", c.Cells), c.tests[0].change()
	c.compare()
	return c
}

// aboutChanges reports whether the threshold names nothing but what the check has tests of, and
// holds where nothing changed.
func (c *judged) aboutChanges() bool {
	t := c.threshold
	if len(c.tests) == 0 || slices.ContainsFunc(slices.Concat(t.Own(), t.Base()), func(name string) bool { _, has := c.Values[name]; return !has }) {
		return false
	}
	unchanged, err := t.Holds(c.Base, c.Base)
	return err == nil && unchanged
}

// sampled are the figures that the threshold names of both sides and that repeats
// have each a value of.
func sampled(t *threshold.Threshold) (figures []results.Figure) {
	for _, name := range t.Base() {
		if m, err := results.FindMetric(name); err == nil && name != results.MetricErrors && slices.Contains(t.Own(), name) {
			figures = append(figures, m)
		}
	}
	return figures
}

// byNights decides on what is over its limit.
func (c *judged) byNights() {
	level := nightLevel
	if c.Since != "" {
		if level = anchorLevel; c.Cells == 0 && c.Tests == 1 {
			level *= 2 // there is no test of all cells beside it
		}
	}
	least := maps.Clone(c.Values) // as little worse as limitConfidence leaves it
	for _, test := range c.tests {
		switch reach := test.times * test.nights.Reach(limitConfidence); {
		case test.over && test.rise:
			least[test.figure] *= math.Exp(-reach)
		case test.over:
			least[test.figure] *= math.Exp(reach)
		}
	}
	within, err := c.threshold.Holds(least, c.Base)
	c.Status = results.CheckUndecided
	if c.failsBy(func(test test) bool { return test.corrected <= level }) && err == nil && !within {
		c.Status = results.CheckBroken
	}
}
