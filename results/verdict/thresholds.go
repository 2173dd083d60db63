package verdict

import (
	"maps"
	"math"
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios/threshold"
)

// CheckThresholds applies thresholds to the cells of a run.
//
// A threshold that names no baseline has to hold for every repeat that speaks
// for the cell, like a budget. A threshold that names a baseline is about changes,
// and what moved to its wrong side is tested in that direction. Where enough nights
// are known, a change is one between nights, see nightLevel. Otherwise it is one between the
// repeats of the head and of the latest night: medians are compared, by the
// one-sided Mann-Whitney test at 1 − Confidence, corrected for the number of figures
// and of cells to which the threshold applies.
//
// The figure errors is the sum over all repeats, and of nights the most of any.
// nights are the cells of the baseline, the latest first; none if there is none.
func CheckThresholds(thresholds []*threshold.Threshold, head []Summary, nights ...[]Summary) []results.Check {
	w := newWindow(head, nights)
	var checks []results.Check
	for _, t := range thresholds {
		var cells []*judged
		if whole := w.wholeOf(t); whole != nil {
			cells = append(cells, whole)
		}
		for _, s := range head {
			c := &judged{Check: results.Check{Threshold: t.Text, Cell: s.Name()}, threshold: t}
			if len(t.Base()) == 0 {
				c.everyRepeat(s)
			} else {
				c.against(s, w)
			}
			cells = append(cells, c)
		}
		decide(cells)
		for _, c := range cells {
			checks = append(checks, c.Check)
		}
	}
	return checks
}

// A judged is a Check in the making, with its tests.
type judged struct {
	results.Check
	threshold *threshold.Threshold
	tests     []test
}

// everyRepeat judges a threshold that names no baseline. The check shows the
// first repeat that breaks it, otherwise the last one.
func (c *judged) everyRepeat(s Summary) {
	t := c.threshold
	c.Status = results.CheckOK
	if s.OK == 0 {
		c.Status, c.Missing = results.CheckNotMeasured, t.Own()
		return
	}
	for i := range s.Speaking {
		r := &s.Speaking[i]
		c.Values, c.Missing = valuesOf(t.Own(), func(m results.Figure) *float64 {
			if m.Name == results.MetricErrors {
				return new(float64(s.Errors))
			}
			if sample := s.Sample(m); sample != nil && r.Spares(m) {
				return &sample.Max
			}
			return m.Of(r)
		})
		c.Repeat = r.Cell.Repeat
		holds, err := t.Holds(c.Values, nil)
		if len(c.Missing) > 0 || err != nil {
			c.Status = results.CheckNotMeasured
			return
		}
		if !holds {
			c.Status = results.CheckBroken
			return
		}
	}
	if len(s.Speaking) == 1 && s.OK == 1 {
		c.Repeat = 0
	}
}

// against judges a threshold that names a baseline. It leaves the status empty
// where the tests decide.
func (c *judged) against(s Summary, w *window) {
	t := c.threshold
	c.Values, c.Missing = valuesOf(t.Own(), medianOf(s))
	if s.OK == 0 || len(c.Missing) > 0 {
		c.Status = results.CheckNotMeasured
		return
	}
	base := w.latest(s.Name())
	if base == nil {
		c.withoutBase(nil)
		return
	}
	var absent []string
	if c.Base, absent = valuesOf(t.Base(), medianOf(*base)); len(absent) > 0 {
		c.withoutBase(absent)
		return
	}
	if !c.overNights(s, w) {
		for _, m := range sampled(t) {
			before, own := base.Sample(m), s.Sample(m)
			d := stats.Compare(before, own)
			c.tests = append(c.tests, test{figure: m.Name, up: d.Up, down: d.Down, p: 1, smallest: stats.SmallestP(d.N1, d.N2) / 2})
		}
	}
	c.compare()
}

// overNights puts in the means over nights and their tests, if all that the threshold
// compares has them.
func (c *judged) overNights(s Summary, w *window) bool {
	var tests []test
	values, base := maps.Clone(c.Values), maps.Clone(c.Base)
	for _, m := range sampled(c.threshold) {
		one, has := w.of(m)[s.Name()]
		if !has {
			c.Nights = 0
			return false
		}
		values[m.Name], base[m.Name] = one.own, one.base
		c.Nights, tests = one.Nights, append(tests, one.test(m.Name, 1))
	}
	if len(tests) == 0 {
		return false
	}
	if _, has := base[results.MetricErrors]; has {
		for _, night := range w.cells[s.Name()] {
			base[results.MetricErrors] = max(base[results.MetricErrors], float64(night.Errors))
		}
	}
	c.Values, c.Base, c.tests = values, base, tests
	return true
}

// compare judges by the figures, as far as they decide, and says which tests decide the rest.
func (c *judged) compare() {
	t := c.threshold
	holds, err := t.Holds(c.Values, c.Base)
	if err != nil {
		c.Status, c.tests = results.CheckNotMeasured, nil
		return
	}
	if holds {
		c.Status = results.CheckOK
		return
	}
	fails := t.Fails(c.Values, c.Base, func(figure string, rise bool) bool {
		for i := range c.tests {
			if test := &c.tests[i]; test.figure == figure {
				test.over, test.rise, test.p = true, rise, test.down
				if rise {
					test.p = test.up
				}
				return false
			}
		}
		return true // errors are counted, not sampled, and need no test
	})
	switch over := func(test test) bool { return test.over }; {
	case fails:
		c.Status = results.CheckBroken
	case !slices.ContainsFunc(c.tests, over):
		c.Status = results.CheckOK
	}
}

// withoutBase judges by the cell's figures alone, as far as they decide.
func (c *judged) withoutBase(absent []string) {
	switch can, does, err := c.threshold.WithoutBase(c.Values); {
	case err != nil:
		c.Status = results.CheckNotMeasured
	case !can:
		c.Status = results.CheckBroken
	case does:
		c.Status = results.CheckOK
	default:
		c.Status, c.Missing = results.CheckNoBaseline, absent
	}
}

// A test is that of one figure of one cell, or of all cells together.
type test struct {
	figure     string
	up, down   float64  // one-sided, in either direction
	nights     *nightly // nil: between repeats
	times      float64  // between nights: how often the logarithm counts, see wholeShare
	smallest   float64  // between repeats: p that so many can give
	over, rise bool     // the figure moved a comparison to its wrong side, so the test decides; and it rose
	p          float64  // in that direction; 1 if it is not over
	corrected  float64
}

// decide decides, for each cell that is over the limit of one threshold, whether
// the change is more than noise. All tests of the threshold are corrected for each
// other, including those of cells within the limit, because only the figures say
// which cells are over it. All cells together are a test of its own, and so are tests
// of repeats, which have another level.
func decide(cells []*judged) {
	for _, family := range GroupBy(cells, func(c *judged) [2]bool { return [2]bool{c.Cells > 0, c.Nights > 0} }) {
		var p []float64
		for _, c := range family {
			for _, test := range c.tests {
				p = append(p, test.p)
			}
		}
		corrected := stats.Holm(p)
		for _, c := range family {
			for k := range c.tests {
				c.tests[k].corrected, corrected = corrected[0], corrected[1:]
			}
			if c.Status == "" {
				c.decide(len(p))
			}
		}
	}
}

// decide judges by the tests.
func (c *judged) decide(tests int) {
	c.Tests = tests
	for i := range c.tests {
		if test := &c.tests[i]; test.over && (c.P == nil || test.p < *c.P) {
			c.P, c.Corrected = &test.p, &test.corrected
			if test.nights != nil {
				c.Change = test.change()
			}
		}
	}
	if c.Nights > 0 {
		c.byNights()
		return
	}
	c.byRepeats(tests)
}

// failsBy reports whether the threshold fails by the changes of the figures whose
// tests count.
func (c *judged) failsBy(counts func(test) bool) bool {
	return c.threshold.Fails(c.Values, c.Base, func(figure string, _ bool) bool {
		return slices.ContainsFunc(c.tests, func(test test) bool { return test.figure == figure && counts(test) })
	})
}

// byRepeats judges by tests of the repeats of two nights. A change that is not shown
// is noise, unless there are too few repeats: to show anything at all, or to show after
// the correction what they show without it.
func (c *judged) byRepeats(tests int) {
	shown := func(test test) bool { return test.corrected <= stats.OneSidedLevel }
	switch {
	case c.failsBy(shown):
		c.Status = results.CheckBroken
	case c.failsBy(func(test test) bool {
		return shown(test) || test.smallest > stats.OneSidedLevel || test.p <= stats.OneSidedLevel && float64(tests)*test.smallest > stats.OneSidedLevel
	}):
		c.Status, c.Needs = results.CheckUndecided, stats.RepeatsForOneSided(tests)
	default:
		c.Status = results.CheckNoise
	}
}

func medianOf(s Summary) func(results.Figure) *float64 {
	return func(m results.Figure) *float64 {
		if m.Name == results.MetricErrors && s.OK+s.Failed > 0 { // a pruned cell has no answers
			return new(float64(s.Errors))
		}
		if sample := s.Sample(m); sample != nil {
			return &sample.Median
		}
		return nil
	}
}

// valuesOf returns the figures with these names, and the names of those that are
// missing.
func valuesOf(names []string, of func(results.Figure) *float64) (values map[string]float64, missing []string) {
	values = map[string]float64{}
	for _, name := range names {
		m, err := results.FindMetric(name)
		if err != nil {
			missing = append(missing, name)
			continue
		}
		if v := of(m); v != nil && !math.IsNaN(*v) {
			values[name] = *v
		} else {
			missing = append(missing, name)
		}
	}
	return values, missing
}
