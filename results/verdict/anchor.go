package verdict

import (
	"fmt"
	"math"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios/threshold"
)

// An Anchor is one earlier run that a run is held against beside its last nights: what came
// slowly is over the limit of no single night, and is seen from there.
type Anchor struct {
	Run   string // its id, or the tag that the scenario names it by
	Name  string // what it is called in the name of a check
	Cells []Summary
}

// AnchorNights is how many nights the anchor is looked for in that no tag names, and FirstName
// what it is called.
const (
	AnchorNights = 60
	FirstName    = "the first of the last 60 nights"
)

// FirstPassed is the anchor that no tag names: the first run among the earlier ones, of which
// the last comes first, that counts for LastPassed, is of the head's kind and has one of the
// cells. Nil: there is none.
func FirstPassed(head results.Run, earlier []results.Run) *results.Run {
	cells := CellsOf(head, nil)
	for i := range earlier {
		run := &earlier[len(earlier)-1-i]
		if !mayBeBase(*run, head) || len(Disparities(*run, head)) > 0 {
			continue
		}
		for name := range CellsOf(*run, nil) {
			if _, has := cells[name]; has {
				return run
			}
		}
	}
	return nil
}

// CheckAnchor holds all cells together, and then each cell, against the anchor, in the way
// that CheckThresholds holds them against the nights, with a spread between nights that does
// not count what comes slowly. All together have a check whatever comes of it, and a cell only
// where it drifted. A threshold of which there is nothing to say has none.
func CheckAnchor(thresholds []*threshold.Threshold, head []Summary, nights [][]Summary, anchor Anchor) (checks []results.Check) {
	w, at := newWindow(head, nights), byName(anchor.Cells)
	whole, each := map[string]map[string]nightly{}, map[string]map[string]nightly{} // by figure and cell
	for _, t := range thresholds {
		for _, m := range sampled(t) {
			if each[m.Name] == nil {
				whole[m.Name], each[m.Name] = w.since(m, at)
			}
		}
		var cells []*judged
		if c := judgeSince(t, anchor, "", wholeShare, whole); c != nil {
			cells = append(cells, c)
		}
		for i := range head {
			if c := judgeSince(t, anchor, head[i].Name(), 1, each); c != nil {
				cells = append(cells, c)
			}
		}
		decide(cells)
		for _, c := range cells {
			switch c.Status {
			case results.CheckBroken:
				c.Status = results.CheckDrifted
			case results.CheckUndecided:
				c.Status = results.CheckNoise
			}
			if c.Cells > 0 || c.Status == results.CheckDrifted {
				checks = append(checks, c.Check)
			}
		}
	}
	return checks
}

// judgeSince judges what is called name by a threshold that is about changes alone: one cell,
// or "" for all together. It is nil where there is nothing to judge.
func judgeSince(t *threshold.Threshold, anchor Anchor, name string, times float64, by map[string]map[string]nightly) *judged {
	c := &judged{threshold: t, Check: results.Check{Threshold: t.Text, Cell: name, Since: anchor.Run, Values: map[string]float64{}, Base: map[string]float64{}}}
	for _, m := range sampled(t) {
		one, has := by[m.Name][name]
		if !has {
			return nil
		}
		c.Nights, c.Cells = one.Nights, one.cells
		c.Values[m.Name], c.Base[m.Name] = one.base*math.Exp(times*one.By), one.base
		c.tests = append(c.tests, one.test(m.Name, times))
	}
	if !c.aboutChanges() {
		return nil
	}
	if c.Cells > 0 {
		c.Cell = fmt.Sprintf("all %d cells together", c.Cells)
	}
	c.Cell += " since " + anchor.Name
	c.Change = c.tests[0].change()
	c.compare()
	return c
}

// since is how far each cell is from the anchor that has it too, and by the name "" the mean
// of those that were measured in the same nights, of the most such cells; none with fewer than
// two.
func (w *window) since(m results.Figure, at map[string]*Summary) (whole, each map[string]nightly) {
	var names []string
	var series, most []stats.Nights
	var before []float64
	from := 0.0
	together, _ := w.together(m)
	for i := range w.head {
		name := w.head[i].Name()
		one, has := w.of(m)[name]
		if !has || at[name] == nil {
			continue
		}
		log, has := meanLog(at[name].Sample(m))
		if !has {
			continue
		}
		names, series, before = append(names, name), append(series, one.series), append(before, log)
		if one.nights == together.nights {
			most, from = append(most, one.series), from+log
		}
	}
	of := func(s stats.Nights, d stats.Departure, cells int) nightly {
		return nightly{Departure: d, own: math.Exp(s.Head), base: math.Exp(s.Head - d.By), cells: cells}
	}
	whole, each = map[string]nightly{}, map[string]nightly{}
	for i, d := range stats.DepartSince(series, before) {
		each[names[i]] = of(series[i], d, 0)
	}
	if len(most) > 1 {
		mean := meanOf(most)
		whole[""] = of(mean, stats.DepartSince([]stats.Nights{mean}, []float64{from / float64(len(most))})[0], len(most))
	}
	return whole, each
}

// meanOf is the mean of series of the same nights.
func meanOf(series []stats.Nights) stats.Nights {
	mean, n := stats.Nights{Before: make([]float64, len(series[0].Before))}, float64(len(series))
	for _, s := range series {
		mean.Head += s.Head / n
		for night, v := range s.Before {
			mean.Before[night] += v / n
		}
	}
	return mean
}
