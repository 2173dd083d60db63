package exchange

import (
	"io"

	"stackmeter/results/stats"
	"stackmeter/results/verdict"
)

type jsonHistory struct {
	Schema   int               `json:"schema"`
	Scenario string            `json:"scenario"`
	Metric   string            `json:"metric"`
	Unit     string            `json:"unit"`
	Runs     []jsonCompared    `json:"runs"`
	Cells    []jsonCellHistory `json:"cells"`
}

type jsonCellHistory struct {
	Cell   string      `json:"cell"`
	Points []jsonPoint `json:"points"`
	Steps  []jsonStep  `json:"steps"`
}

type jsonPoint struct {
	Run string `json:"run"`
	jsonSample
}

// A jsonStep has its change as a share: 0.05 is 5% more.
type jsonStep struct {
	verdict.HistoryStep
	Change *float64 `json:"change"` // null from 0, of which nothing is a share
}

// WriteHistoryJSON writes the history of a scenario.
func WriteHistoryJSON(w io.Writer, h verdict.History) error {
	report := jsonHistory{Schema: schema, Scenario: h.Scenario, Metric: h.Metric.Name, Unit: string(h.Metric.Unit), Runs: []jsonCompared{}, Cells: []jsonCellHistory{}}
	for _, run := range h.Runs {
		report.Runs = append(report.Runs, newJSONCompared(run))
	}
	for _, cell := range h.Cells {
		one := jsonCellHistory{Cell: cell.Name, Points: []jsonPoint{}, Steps: []jsonStep{}}
		for _, p := range cell.Points {
			one.Points = append(one.Points, jsonPoint{h.Runs[p.Run].ID, *newJSONSample(p.Sample)})
		}
		for _, s := range cell.Steps {
			one.Steps = append(one.Steps, jsonStep{s, stats.Change(s.Before, s.After)})
		}
		report.Cells = append(report.Cells, one)
	}
	return encode(w, report)
}
