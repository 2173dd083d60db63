package results

import (
	"math"
	"slices"

	"stackmeter/scenarios"
)

// Verdicts of a run about its thresholds. A run without any has none.
const (
	VerdictPassed  = "passed"  // complete, every cell ok, and no threshold broken
	VerdictFailed  = "failed"  // a cell failed, was pruned or is missing, or a threshold is broken
	VerdictRefused = "refused" // the baseline differs in kind, so that thresholds could not be judged
)

// Statuses of a Check.
const (
	CheckOK          = "ok"
	CheckBroken      = "broken"
	CheckUndecided   = "undecided"    // over the limit, and so few repeats cannot tell that from noise; counts as broken
	CheckNotMeasured = "not measured" // a figure that it names is null, it divides by 0, or the cell failed or was pruned; counts as broken
	CheckNoise       = "within noise" // over the limit, and no difference from the baseline is shown; counts as kept
	CheckNoBaseline  = "no baseline"  // the baseline has no such cell or figure, or there is none; counts as kept
)

// A Check is one threshold applied to one cell.
type Check struct {
	Threshold string             `json:"threshold"`
	Cell      string             `json:"cell"`
	Status    string             `json:"status"`
	Values    map[string]float64 `json:"values,omitempty"` // of the cell, in base units; those that were measured
	Base      map[string]float64 `json:"base,omitempty"`   // of the baseline's cell
	Missing   []string           `json:"missing,omitempty"`
	Repeat    int                `json:"repeat,omitempty"`      // whose values these are; 0: medians
	P         *float64           `json:"p,omitempty"`           // of the change, one-sided
	Corrected *float64           `json:"p_corrected,omitempty"` // for the Tests of the threshold (Holm)
	Tests     int                `json:"tests,omitempty"`
	Needs     int                `json:"needs_repeats,omitempty"`
}

// Broken reports whether the check fails a run: nothing that could not be
// judged passes for want of a figure.
func (c Check) Broken() bool {
	return c.Status == CheckBroken || c.Status == CheckUndecided || c.Status == CheckNotMeasured
}

// CheckThresholds applies thresholds to the cells of a run.
//
// A threshold that names no baseline has to hold for every repeat that speaks
// for the cell, as a budget has. One that names a baseline is about medians;
// where it does not hold, a rank test has to show, in the direction of the
// change, that the change is more than noise: the Mann-Whitney test, one-sided, at
// 1 − Confidence, corrected for the number of cells that the threshold is held
// against.
//
// errors is the sum over all repeats. base are the cells of the baseline; nil
// when there is none.
func CheckThresholds(thresholds []*scenarios.Threshold, head, base []Summary) []Check {
	before := byName(base)
	var checks []Check
	for _, t := range thresholds {
		made, tests := make([]Check, len(head)), make([][]rankTest, len(head))
		for i := range head {
			made[i] = Check{Threshold: t.Text, Cell: head[i].Name()}
			if len(t.Base()) == 0 {
				made[i].everyRepeat(t, head[i])
			} else {
				tests[i] = made[i].against(t, head[i], before[head[i].Name()])
			}
		}
		decide(made, tests)
		checks = append(checks, made...)
	}
	return checks
}

// everyRepeat judges a threshold that is about the cell alone. The first
// repeat that breaks it is shown, otherwise the last.
func (c *Check) everyRepeat(t *scenarios.Threshold, s Summary) {
	c.Status = CheckOK
	if s.OK == 0 {
		c.Status, c.Missing = CheckNotMeasured, t.Own()
		return
	}
	for _, r := range s.Speaking {
		c.Values, c.Missing = valuesOf(t.Own(), func(m Metric) *float64 {
			if m.Name == MetricErrors {
				errors := float64(s.Errors)
				return &errors
			}
			return m.Of(r)
		})
		c.Repeat = r.Cell.Repeat
		if len(c.Missing) > 0 {
			c.Status = CheckNotMeasured
			return
		}
		holds, err := t.Holds(c.Values, nil)
		if err != nil {
			c.Status = CheckNotMeasured
			return
		}
		if !holds {
			c.Status = CheckBroken
			return
		}
	}
	if len(s.Speaking) == 1 && s.OK == 1 {
		c.Repeat = 0
	}
}

// against judges a threshold that names a baseline, and returns the tests that
// it takes. Where they decide, there is no status yet.
func (c *Check) against(t *scenarios.Threshold, s Summary, base *Summary) []rankTest {
	c.Values, c.Missing = valuesOf(t.Own(), medianOf(s))
	if s.OK == 0 || len(c.Missing) > 0 {
		c.Status = CheckNotMeasured
		return nil
	}
	if base == nil || base.OK == 0 {
		c.Status = CheckNoBaseline
		return nil
	}
	var absent []string
	if c.Base, absent = valuesOf(t.Base(), medianOf(*base)); len(absent) > 0 {
		c.Status, c.Missing = CheckNoBaseline, absent
		return nil
	}
	tests, exact := testsOf(t, s, *base)
	holds, err := t.Holds(c.Values, c.Base)
	if err != nil {
		c.Status = CheckNotMeasured
		return nil
	}
	if holds {
		c.Status = CheckOK
		return tests
	}
	own, _ := valuesOf(t.Own(), medianOf(*base))
	if holds, err := t.Holds(own, c.Base); err != nil || !holds || exact || len(tests) == 0 {
		// Where the baseline itself would break the threshold it asks for an
		// improvement, and noise is no excuse for not having made one; nor is it
		// where nothing can be tested.
		c.Status = CheckBroken
		return tests
	}
	for i := range tests {
		tests[i].over = true
	}
	return tests
}

// A rankTest is the one-sided test of one figure of one cell.
type rankTest struct {
	p        float64
	smallest float64 // that so many repeats could give
	over     bool    // the cell is over the limit, so that the test decides
}

// testsOf are the tests of the figures that both sides are asked for. exact:
// one of them is a count of what happened and no sample of it, and needs none.
func testsOf(t *scenarios.Threshold, s, base Summary) (tests []rankTest, exact bool) {
	for _, name := range t.Base() {
		m, err := FindMetric(name)
		if err != nil || !slices.Contains(t.Own(), name) {
			continue
		}
		if name == MetricErrors {
			return nil, true
		}
		d := Compare(base.Sample(m), s.Sample(m))
		tests = append(tests, rankTest{p: d.P / 2, smallest: smallestP(d.N1, d.N2) / 2})
	}
	return tests, false
}

// decide says of each check of one threshold that is over the limit whether the
// change is more than noise. One figure whose change is shown is enough. All
// tests of the threshold are corrected for each other, those of cells within
// the limit as well: which ones are over it is known only from the figures.
// Such a cell has nothing to show, and is last in the order.
func decide(checks []Check, tests [][]rankTest) {
	var p []float64
	for _, cell := range tests {
		for _, test := range cell {
			if test.over {
				p = append(p, test.p)
			} else {
				p = append(p, 1)
			}
		}
	}
	corrected := holm(p)
	for i := range checks {
		var own []float64
		own, corrected = corrected[:len(tests[i])], corrected[len(tests[i]):]
		for j, test := range tests[i] {
			if test.over {
				checks[i].decide(test, own[j], len(p))
			}
		}
	}
}

// decide takes one test of many into the check. What is not shown is noise,
// unless the repeats are too few to show anything alone, or show by themselves
// what they are too few to show of so many.
func (c *Check) decide(test rankTest, corrected float64, tests int) {
	c.Tests = tests
	if c.P == nil || test.p < *c.P {
		c.P, c.Corrected = &test.p, &corrected
	}
	undecided := test.smallest > sideLevel || test.p <= sideLevel && float64(tests)*test.smallest > sideLevel
	switch {
	case corrected <= sideLevel:
		c.Status, c.Needs = CheckBroken, 0
	case c.Status == CheckBroken:
	case undecided:
		c.Status, c.Needs = CheckUndecided, repeatsForSide(tests)
	case c.Status == "":
		c.Status = CheckNoise
	}
}

// sideLevel is the level of a one-sided test. Three repeats on each side reach
// it exactly, and 1 − 0.95 is a little below 0.05 in binary.
const sideLevel = 1 - Confidence + 1e-9

// repeatsForSide is the fewest repeats of each side with which a one-sided
// test can show anything, of so many that are corrected for each other.
func repeatsForSide(tests int) int {
	n := 1
	for float64(tests)*smallestP(n, n)/2 > sideLevel {
		n++
	}
	return n
}

func medianOf(s Summary) func(Metric) *float64 {
	return func(m Metric) *float64 {
		if m.Name == MetricErrors && s.OK+s.Failed > 0 { // a pruned cell has no answers
			errors := float64(s.Errors)
			return &errors
		}
		if sample := s.Sample(m); sample != nil {
			return &sample.Median
		}
		return nil
	}
}

// valuesOf are the figures of those names, and the names of those that are
// missing.
func valuesOf(names []string, of func(Metric) *float64) (values map[string]float64, missing []string) {
	values = map[string]float64{}
	for _, name := range names {
		m, err := FindMetric(name)
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

// Judge is the verdict about a run: its cells and its checks.
func Judge(run Run, records []Record, checks []Check) string {
	counts := run.Count(records)
	if counts.Bad() > 0 || counts.Missing() > 0 || counts.OK == 0 || slices.ContainsFunc(checks, Check.Broken) {
		return VerdictFailed
	}
	return VerdictPassed
}
