package exchange

import (
	"encoding/csv"
	"io"
	"strconv"
	"time"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/history"
	"stackmeter/results/words"
	"stackmeter/scenarios/show"
)

type jsonHistory struct {
	Schema   int            `json:"schema"`
	Scenario string         `json:"scenario"`
	Runs     []jsonCompared `json:"runs"`
	jsonMetricHistory
	Others []jsonMetricHistory `json:"others,omitempty"` // the metrics behind the first
}

type jsonMetricHistory struct {
	Metric   string            `json:"metric"`
	Unit     string            `json:"unit"`
	Together *jsonCellHistory  `json:"together"` // all cells, as shares of a usual run; null with fewer than two
	Cells    []jsonCellHistory `json:"cells"`
}

type jsonCellHistory struct {
	Cell   string      `json:"cell"`
	Points []jsonPoint `json:"points"`
	Steps  []jsonStep  `json:"steps"`
	Drift  *jsonDrift  `json:"drift"` // null: none up to the last run
	Alone  *float64    `json:"alone"` // how far the last run alone is off its level; null: it is not
}

type jsonPoint struct {
	Run string `json:"run"`
	jsonSample
}

// A jsonStep has its change as a share: 0.05 is 5% more.
type jsonStep struct {
	Before      float64             `json:"before"`
	After       float64             `json:"after"`
	Change      *float64            `json:"change"`   // null from 0, of which nothing is a share
	Interval    *stats.Interval     `json:"interval"` // of the change; null where a value is not above 0
	P           float64             `json:"p"`
	Run         string              `json:"run"`
	Earliest    string              `json:"earliest"` // runs that explain the values nearly as well
	Latest      string              `json:"latest"`
	Ended       *string             `json:"ended"` // the run with which it was taken back; null: it was not
	Worse       bool                `json:"worse"`
	Disparities []verdict.Disparity `json:"disparities,omitempty"`
	Text        string              `json:"text"`
}

type jsonDrift struct {
	Run    string  `json:"run"`    // the first of it
	Change float64 `json:"change"` // with each run, as a share
	P      float64 `json:"p"`
	Worse  bool    `json:"worse"`
	Text   string  `json:"text"`
}

// WriteHistoryJSON writes the histories of a scenario's metrics.
func WriteHistoryJSON(w io.Writer, all []history.History) error {
	report := jsonHistory{Schema: schema, Scenario: all[0].Scenario, Runs: []jsonCompared{}, jsonMetricHistory: newJSONMetricHistory(all[0])}
	for _, run := range all[0].Runs {
		report.Runs = append(report.Runs, newJSONCompared(run))
	}
	for _, h := range all[1:] {
		report.Others = append(report.Others, newJSONMetricHistory(h))
	}
	return encode(w, report)
}

func newJSONMetricHistory(h history.History) jsonMetricHistory {
	metric := jsonMetricHistory{Metric: h.Metric.Name, Unit: string(h.Metric.Unit), Cells: []jsonCellHistory{}}
	if h.Whole != nil {
		metric.Together = new(newJSONCellHistory(h, *h.Whole))
	}
	for _, cell := range h.Cells {
		metric.Cells = append(metric.Cells, newJSONCellHistory(h, cell))
	}
	return metric
}

func newJSONCellHistory(h history.History, cell history.Cell) jsonCellHistory {
	one := jsonCellHistory{Cell: cell.Name, Points: []jsonPoint{}, Steps: []jsonStep{}, Alone: cell.Alone}
	run := func(at int) string { return h.Runs[cell.Points[at].Run].ID }
	for i, p := range cell.Points {
		one.Points = append(one.Points, jsonPoint{run(i), *newJSONSample(p.Sample)})
	}
	for _, s := range cell.Steps {
		step := jsonStep{Before: s.Before, After: s.After, Change: stats.Change(s.Before, s.After), Interval: s.Interval, P: s.P,
			Run: run(s.At), Earliest: run(s.Earliest), Latest: run(s.Latest), Worse: s.Worse, Disparities: s.Disparities, Text: words.Step(h, cell, s)}
		if s.Ended > 0 {
			step.Ended = new(run(s.Ended))
		}
		one.Steps = append(one.Steps, step)
	}
	if d := cell.Drift; d != nil {
		one.Drift = &jsonDrift{run(d.From), d.Change, d.P, d.Worse, words.Drift(h, cell)}
	}
	return one
}

// WriteHistoryCSV writes a row for each metric, cell and run that measured it, and one for
// a run that measured none. What is
// said of a step stands with its first run, a drift and a run alone with the last one.
func WriteHistoryCSV(w io.Writer, all []history.History) error {
	rows := [][]string{{"metric", "unit", "cell", "run", "started", "verdict", "repeats", "median", "interval_low", "interval_high",
		"step_before", "step_after", "step_change", "step_low", "step_high", "step_p", "step_earliest", "step_latest", "step_ended", "drift_per_run", "drift_since", "alone", "said"}}
	for _, h := range all {
		measured := map[int]bool{}
		for _, cell := range h.All() {
			one := newJSONCellHistory(h, cell)
			for at, p := range cell.Points {
				measured[p.Run] = true
				rows = append(rows, append(historyFields(h, cell.Name, h.Runs[p.Run], p.Sample), courseFields(cell, one, at)...))
			}
		}
		for i, run := range h.Runs {
			if !measured[i] {
				rows = append(rows, append(historyFields(h, "", run, nil), make([]string, courseColumns)...))
			}
		}
	}
	return csv.NewWriter(w).WriteAll(rows)
}

func historyFields(h history.History, cell string, run results.Run, s *stats.Sample) []string {
	fields := []string{h.Metric.Name, string(h.Metric.Unit), cell, run.ID, run.Started.UTC().Format(time.RFC3339Nano), words.StandingOf(run, run.Counts).String(),
		"0", "", "", ""}
	if s != nil {
		fields[6], fields[7] = strconv.Itoa(s.N), words.Plainly(s.Median)
	}
	if s != nil && s.Interval != nil {
		fields[8], fields[9] = words.Plainly(s.Interval.Low), words.Plainly(s.Interval.High)
	}
	for i, field := range fields[:6] {
		fields[i] = neutral(show.Line(field))
	}
	return fields
}

// courseColumns is how many courseFields there are.
const courseColumns = 13

// courseFields are what is said of a cell's step, drift or last run at a point of it.
func courseFields(cell history.Cell, one jsonCellHistory, at int) []string {
	fields, said := make([]string, courseColumns), ""
	for i, s := range cell.Steps {
		if s.At != at {
			continue
		}
		step := one.Steps[i]
		fields[0], fields[1] = words.Plainly(s.Before), words.Plainly(s.After)
		if step.Change != nil {
			fields[2] = words.Plainly(*step.Change)
		}
		if s.Interval != nil {
			fields[3], fields[4] = words.Plainly(s.Interval.Low), words.Plainly(s.Interval.High)
		}
		fields[5], fields[6], fields[7] = words.Plainly(s.P), step.Earliest, step.Latest
		if step.Ended != nil {
			fields[8] = *step.Ended
		}
		said = step.Text
	}
	if at == len(cell.Points)-1 {
		if one.Drift != nil {
			fields[9], fields[10], said = words.Plainly(one.Drift.Change), one.Drift.Run, one.Drift.Text
		}
		if cell.Alone != nil {
			fields[11], said = words.Plainly(*cell.Alone), words.Alone(cell)
		}
	}
	for _, i := range []int{6, 7, 8, 10} {
		fields[i] = neutral(show.Line(fields[i]))
	}
	fields[12] = neutral(show.Line(said))
	return fields
}
