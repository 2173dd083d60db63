package verdict

import (
	"slices"

	"stackmeter/results"
	"stackmeter/results/stats"
)

// A History is one metric of a scenario's cells over its last runs.
type History struct {
	Scenario string
	Metric   results.Figure
	Runs     []results.Run // the oldest first
	Cells    []CellHistory
}

// A CellHistory is one cell over the runs of a History.
type CellHistory struct {
	Name   string
	Points []Point // one for each run that measured the cell, the oldest first
	Steps  []HistoryStep
}

// A Point is one run's sample of a cell.
type Point struct {
	Run    int // index in History.Runs
	Sample *stats.Sample
}

// A HistoryStep is where a cell's level changed.
type HistoryStep struct {
	stats.Step              // At is an index of the cell's Points
	Run         string      `json:"run"`
	Worse       bool        `json:"worse"`
	Disparities []Disparity `json:"disparities,omitempty"` // in kind, between the run before and this one
}

// NewHistory groups observations by cell. The oldest run comes first. Only clean
// repeats that have the figure count; for the metric of errors, all that have it.
func NewHistory(scenario string, m results.Figure, runs []results.Run, observations []results.Observation) History {
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
		cell := CellHistory{Name: name}
		var medians []float64
		for run := range runs {
			if sample := stats.NewSample(byRun[run]); sample != nil {
				cell.Points = append(cell.Points, Point{Run: run, Sample: sample})
				medians = append(medians, sample.Median)
			}
		}
		for _, step := range stats.Steps(medians) {
			now, before := runs[cell.Points[step.At].Run], runs[cell.Points[step.At-1].Run]
			cell.Steps = append(cell.Steps, HistoryStep{
				Step: step, Run: now.ID, Worse: (step.After > step.Before) != m.Higher, Disparities: Disparities(before, now),
			})
		}
		h.Cells = append(h.Cells, cell)
	}
	slices.SortFunc(h.Cells, func(a, b CellHistory) int { return compareNatural(a.Name, b.Name) })
	return h
}
