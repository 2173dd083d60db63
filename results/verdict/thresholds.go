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
// medians. Where it does not hold, it is broken if a rank test shows that the
// change is more than noise: the one-sided Mann-Whitney test at 1 − Confidence,
// corrected for the number of cells to which the threshold applies.
//
// The figure errors is the sum over all repeats. base are the cells of the
// baseline, nil if there is none.
func CheckThresholds(thresholds []*threshold.Threshold, head, base []Summary) []results.Check {
	before := byName(base)
	var checks []results.Check
	for _, t := range thresholds {
		cells := make([]judged, len(head))
		for i, s := range head {
			cells[i].Check = results.Check{Threshold: t.Text, Cell: s.Name()}
			if len(t.Base()) == 0 {
				cells[i].everyRepeat(t, s)
			} else {
				cells[i].against(t, s, before[s.Name()])
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
	tests []rankTest
}

// everyRepeat judges a threshold that names no baseline. The check shows the
// first repeat that breaks it, otherwise the last one.
func (c *judged) everyRepeat(t *threshold.Threshold, s Summary) {
	c.Status = results.CheckOK
	if s.OK == 0 {
		c.Status, c.Missing = results.CheckNotMeasured, t.Own()
		return
	}
	for i := range s.Speaking {
		r := &s.Speaking[i]
		c.Values, c.Missing = valuesOf(t.Own(), func(m results.Figure) *float64 {
			if m.Name == results.MetricErrors {
				errors := float64(s.Errors)
				return &errors
			}
			return m.Of(r)
		})
		c.Repeat = r.Cell.Repeat
		if len(c.Missing) > 0 {
			c.Status = results.CheckNotMeasured
			return
		}
		holds, err := t.Holds(c.Values, nil)
		if err != nil {
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
func (c *judged) against(t *threshold.Threshold, s Summary, base *Summary) {
	c.Values, c.Missing = valuesOf(t.Own(), medianOf(s))
	if s.OK == 0 || len(c.Missing) > 0 {
		c.Status = results.CheckNotMeasured
		return
	}
	if base == nil || base.OK == 0 {
		c.Status = results.CheckNoBaseline
		return
	}
	var absent []string
	if c.Base, absent = valuesOf(t.Base(), medianOf(*base)); len(absent) > 0 {
		c.Status, c.Missing = results.CheckNoBaseline, absent
		return
	}
	var exact bool
	c.tests, exact = testsOf(t, s, *base)
	holds, err := t.Holds(c.Values, c.Base)
	if err != nil {
		c.Status, c.tests = results.CheckNotMeasured, nil
		return
	}
	if holds {
		c.Status = results.CheckOK
		return
	}
	own, _ := valuesOf(t.Own(), medianOf(*base))
	if holds, err := t.Holds(own, c.Base); err != nil || !holds || exact || len(c.tests) == 0 {
		// If the baseline itself breaks the threshold, the threshold asks for an
		// improvement, and noise is no excuse for not making one. Nor is it where
		// nothing can be tested.
		c.Status = results.CheckBroken
		return
	}
	for i := range c.tests {
		c.tests[i].over = true
	}
}

// A rankTest is the one-sided test of one figure of one cell.
type rankTest struct {
	p        float64
	smallest float64 // the smallest p that this many repeats can give
	over     bool    // the cell is over the limit, so the test decides
}

// testsOf are the tests of the figures that the threshold names of both sides.
// exact reports that one of them is errors, which are counted, not sampled, and
// need no test.
func testsOf(t *threshold.Threshold, s, base Summary) (tests []rankTest, exact bool) {
	for _, name := range t.Base() {
		m, err := results.FindMetric(name)
		if err != nil || !slices.Contains(t.Own(), name) {
			continue
		}
		if name == results.MetricErrors {
			return nil, true
		}
		d := stats.Compare(base.Sample(m), s.Sample(m))
		tests = append(tests, rankTest{p: d.P / 2, smallest: stats.SmallestP(d.N1, d.N2) / 2})
	}
	return tests, false
}

// decide decides, for each cell that is over the limit of one threshold, whether
// the change is more than noise. One figure whose change is shown is enough. All
// tests of the threshold are corrected for each other, including those of cells
// within the limit, because only the figures say which cells are over it. Cells
// within the limit count with p = 1.
func decide(cells []judged) {
	var p []float64
	for _, cell := range cells {
		for _, test := range cell.tests {
			if test.over {
				p = append(p, test.p)
			} else {
				p = append(p, 1)
			}
		}
	}
	corrected := stats.Holm(p)
	for i := range cells {
		for _, test := range cells[i].tests {
			if test.over {
				cells[i].decide(test, corrected[0], len(p))
			}
			corrected = corrected[1:]
		}
	}
}

// decide adds one test to the check. A change that is not shown is noise, unless
// there are too few repeats: to show anything at all, or to show after the
// correction what they show without it.
func (c *judged) decide(test rankTest, corrected float64, tests int) {
	c.Tests = tests
	if c.P == nil || test.p < *c.P {
		c.P, c.Corrected = &test.p, &corrected
	}
	undecided := test.smallest > stats.OneSidedLevel || test.p <= stats.OneSidedLevel && float64(tests)*test.smallest > stats.OneSidedLevel
	switch {
	case corrected <= stats.OneSidedLevel:
		c.Status, c.Needs = results.CheckBroken, 0
	case c.Status == results.CheckBroken:
	case undecided:
		c.Status, c.Needs = results.CheckUndecided, stats.RepeatsForOneSided(tests)
	case c.Status == "":
		c.Status = results.CheckNoise
	}
}

func medianOf(s Summary) func(results.Figure) *float64 {
	return func(m results.Figure) *float64 {
		if m.Name == results.MetricErrors && s.OK+s.Failed > 0 { // a pruned cell has no answers
			errors := float64(s.Errors)
			return &errors
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
