// Package history puts a scenario's runs one after the other: each cell night by night,
// and all of them together, with where their levels changed and what changed with it.
package history

import (
	"context"
	"math"
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
)

// A History is one metric of a scenario's cells over its last runs.
type History struct {
	Scenario string
	Metric   results.Figure
	Runs     []results.Run // the oldest first
	Whole    *Cell         // all cells together, nil with fewer than two; its values are shares of a usual night
	Cells    []Cell
}

// A Cell is one cell over the runs of a History.
type Cell struct {
	Name   string
	Points []Point // one for each run that measured the cell, the oldest first
	Steps  []Step
	Drift  *Drift   // nil: it does not
	Alone  *float64 // see stats.Levels
}

// A Point is one run's sample of a cell.
type Point struct {
	Run    int // index in History.Runs
	Sample *stats.Sample
}

// A Step is where a cell's level changed. Its indexes are those of the cell's
// Points.
type Step struct {
	stats.Step
	Worse       bool
	Disparities []verdict.Disparity // of the records of the run before and this one: what differs in kind, and then what else does
}

// A Drift is a level that changes with every run, up to the last one.
type Drift struct {
	stats.Drift
	Worse bool
}

// TogetherName is what History.Whole is called.
const TogetherName = "all cells together"

// A historyStore is what is read of a results.Store.
type historyStore interface {
	History(ctx context.Context, scenario, pattern, metric string, last int) ([]results.Run, []results.Observation, error)
}

// Read reads the histories of these metrics over the same runs, see
// results.Store. Without metrics they are of the duration and of the memory of the GPU,
// or the main memory where that of none was measured. Without a run that has one there
// are those of all that were asked for, and no points.
func Read(ctx context.Context, store historyStore, scenario, pattern string, metrics []results.Figure, last int) ([]History, error) {
	asked := metrics
	if len(metrics) == 0 {
		asked = []results.Figure{results.Metric(results.MetricDuration), results.Metric(results.MetricGPUPeak), results.Metric(results.MetricMemoryPeak)}
	}
	var all []History
	for _, m := range asked {
		runs, observations, err := store.History(ctx, scenario, pattern, m.Name, last)
		if err != nil {
			return nil, err
		}
		if len(all) > 0 {
			runs = all[0].Runs // one that was begun since has no figures yet
		}
		scenario = runs[0].Scenario
		h := New(scenario, m, runs, observations)
		switch {
		case len(metrics) > 0 || len(all) == 0:
			all = append(all, h)
		case len(all) == 1 && slices.ContainsFunc(h.Cells, func(c Cell) bool { return len(c.Points) > 0 }):
			all = append(all, h)
		}
	}
	return all, nil
}

// New groups observations by cell. The oldest run comes first. Only clean
// repeats that have the figure count; for the metric of errors, all that have it.
func New(scenario string, m results.Figure, runs []results.Run, observations []results.Observation) History {
	h := History{Scenario: scenario, Metric: m, Runs: runs}
	at := make(map[string]int, len(runs))
	for i, run := range runs {
		at[run.ID] = i
	}
	values := map[string]map[int][]float64{}
	for _, o := range observations {
		run, known := at[o.Run]
		if !known || o.Value == nil || !o.Clean && m.Name != results.MetricErrors {
			continue
		}
		if values[o.Cell] == nil {
			values[o.Cell] = map[int][]float64{}
		}
		values[o.Cell][run] = append(values[o.Cell][run], *o.Value)
	}
	for name, byRun := range values {
		cell := Cell{Name: name}
		for run := range runs {
			if sample := stats.NewNestedSample([][]float64{byRun[run]}, verdict.LooksOf(runs[run].Plan)); sample != nil {
				cell.Points = append(cell.Points, Point{Run: run, Sample: sample})
			}
		}
		h.Cells = append(h.Cells, cell)
	}
	slices.SortFunc(h.Cells, func(a, b Cell) int { return verdict.CompareNatural(a.Name, b.Name) })
	h.Whole = together(h.Cells, len(runs))
	h.findLevels()
	return h
}

// All are all cells together, where there are several, and then each of them.
func (h History) All() []Cell {
	if h.Whole == nil {
		return h.Cells
	}
	return append([]Cell{*h.Whole}, h.Cells...)
}

// findLevels finds the steps and drifts of all series, with one chance of error for
// all.
func (h *History) findLevels() {
	var all []*Cell
	if h.Whole != nil {
		all = append(all, h.Whole)
	}
	for i := range h.Cells {
		all = append(all, &h.Cells[i])
	}
	series := make([][]float64, len(all))
	for i, cell := range all {
		for _, p := range cell.Points {
			series[i] = append(series[i], level(p.Sample))
		}
	}
	for i, levels := range stats.FindLevels(series) {
		cell := all[i]
		cell.Alone = levels.Alone
		if levels.Drift != nil {
			cell.Drift = &Drift{*levels.Drift, levels.Drift.Change > 0 != h.Metric.Higher}
		}
		for _, step := range levels.Steps {
			before, now := h.Runs[cell.Points[step.At-1].Run], h.Runs[cell.Points[step.At].Run]
			cell.Steps = append(cell.Steps, Step{
				Step: step, Worse: step.After > step.Before != h.Metric.Higher, Disparities: changesOf(before, now),
			})
		}
	}
}

// level is the night's value of a series: the geometric mean of the repeats, or the
// mean where one is not above 0.
func level(s *stats.Sample) float64 {
	sum := 0.0
	for _, v := range s.Values {
		if s.Min > 0 {
			v = math.Log(v)
		}
		sum += v / float64(s.N)
	}
	if s.Min > 0 {
		return math.Exp(sum)
	}
	return sum
}

// together are all cells as one series: in each run the geometric mean of what each
// cell that it measured is of that cell's usual value. It leaves out the cells that
// were not measured in at least half of the runs, and a run without half of the rest.
// It is nil with fewer than two cells, or with a value that is not above 0.
func together(cells []Cell, runs int) *Cell {
	sums, counts, members := make([]float64, runs), make([]int, runs), 0
	for _, cell := range cells {
		if 2*len(cell.Points) < runs {
			continue
		}
		members++
		var medians []float64
		for _, p := range cell.Points {
			if p.Sample.Min <= 0 {
				return nil
			}
			medians = append(medians, p.Sample.Median)
		}
		usual := math.Log(stats.NewSample(medians).Median)
		for _, p := range cell.Points {
			sums[p.Run] += math.Log(level(p.Sample)) - usual
			counts[p.Run]++
		}
	}
	if members < 2 {
		return nil
	}
	whole := &Cell{Name: TogetherName}
	for run := range runs {
		if counts[run] > 0 && 2*counts[run] >= members {
			value := math.Exp(sums[run] / float64(counts[run]))
			whole.Points = append(whole.Points, Point{Run: run, Sample: stats.NewSample([]float64{value})})
		}
	}
	return whole
}
