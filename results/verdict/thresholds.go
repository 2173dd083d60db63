package verdict

import (
	"math"
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios/threshold"
)

// CheckThresholds applies thresholds to the cells of a run.
//
// A threshold that names no baseline has to hold for every repeat that speaks
// for the cell, like a budget. A threshold that names a baseline compares
// medians. Where it does not hold, each figure that moved one of its comparisons to
// the wrong side is tested in that direction, whether its change is more than
// noise: by the one-sided Mann-Whitney test at 1 − Confidence, corrected for the
// number of figures and of cells to which the threshold applies.
//
// The figure errors is the sum over all repeats. base are the cells of the
// baseline, nil if there is none.
func CheckThresholds(thresholds []*threshold.Threshold, head, base []Summary) []results.Check {
	before := byName(base)
	var checks []results.Check
	for _, t := range thresholds {
		cells := make([]judged, len(head))
		for i, s := range head {
			cells[i] = judged{Check: results.Check{Threshold: t.Text, Cell: s.Name()}, threshold: t}
			if len(t.Base()) == 0 {
				cells[i].everyRepeat(s)
			} else {
				cells[i].against(s, before[s.Name()])
			}
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
	tests     []rankTest
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
func (c *judged) against(s Summary, base *Summary) {
	t := c.threshold
	c.Values, c.Missing = valuesOf(t.Own(), medianOf(s))
	if s.OK == 0 || len(c.Missing) > 0 {
		c.Status = results.CheckNotMeasured
		return
	}
	if base == nil || base.OK == 0 {
		c.withoutBase(nil)
		return
	}
	var absent []string
	if c.Base, absent = valuesOf(t.Base(), medianOf(*base)); len(absent) > 0 {
		c.withoutBase(absent)
		return
	}
	c.tests = testsOf(t, s, *base)
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
				test.over, test.p = true, test.Down
				if rise {
					test.p = test.Up
				}
				return false
			}
		}
		return true // errors are counted, not sampled, and need no test
	})
	switch over := func(test rankTest) bool { return test.over }; {
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

// A rankTest is the test of one figure of one cell.
type rankTest struct {
	stats.Difference
	figure    string
	over      bool    // the figure moved a comparison to its wrong side, so the test decides
	p         float64 // one-sided, in that direction; 1 if it is not over
	corrected float64
}

// smallest is the smallest p that this many repeats can give.
func (r rankTest) smallest() float64 { return stats.SmallestP(r.N1, r.N2) / 2 }

// testsOf are the tests of the figures that the threshold names of both sides.
func testsOf(t *threshold.Threshold, s, base Summary) (tests []rankTest) {
	for _, name := range t.Base() {
		if m, err := results.FindMetric(name); err == nil && name != results.MetricErrors && slices.Contains(t.Own(), name) {
			tests = append(tests, rankTest{Difference: stats.Compare(base.Sample(m), s.Sample(m)), figure: name, p: 1})
		}
	}
	return tests
}

// decide decides, for each cell that is over the limit of one threshold, whether
// the change is more than noise. All tests of the threshold are corrected for each
// other, including those of cells within the limit, because only the figures say
// which cells are over it.
func decide(cells []judged) {
	var p []float64
	for _, cell := range cells {
		for _, test := range cell.tests {
			p = append(p, test.p)
		}
	}
	corrected := stats.Holm(p)
	for i := range cells {
		c := &cells[i]
		for k := range c.tests {
			c.tests[k].corrected, corrected = corrected[0], corrected[1:]
		}
		if c.Status == "" {
			c.decide(len(p))
		}
	}
}

// decide judges by the tests. A change that is not shown is noise, unless there
// are too few repeats: to show anything at all, or to show after the correction
// what they show without it.
func (c *judged) decide(tests int) {
	c.Tests = tests
	for i := range c.tests {
		if test := &c.tests[i]; test.over && (c.P == nil || test.p < *c.P) {
			c.P, c.Corrected = &test.p, &test.corrected
		}
	}
	failsBy := func(counts func(rankTest) bool) bool {
		return c.threshold.Fails(c.Values, c.Base, func(figure string, _ bool) bool {
			return slices.ContainsFunc(c.tests, func(test rankTest) bool { return test.figure == figure && counts(test) })
		})
	}
	shown := func(test rankTest) bool { return test.corrected <= stats.OneSidedLevel }
	switch {
	case failsBy(shown):
		c.Status = results.CheckBroken
	case failsBy(func(test rankTest) bool {
		return shown(test) || test.smallest() > stats.OneSidedLevel || test.p <= stats.OneSidedLevel && float64(tests)*test.smallest() > stats.OneSidedLevel
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
