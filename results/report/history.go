package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"

	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/scenarios/show"
)

// HistoryFormats are the formats that WriteHistory knows.
func HistoryFormats() []string { return []string{"table", "markdown", "json", "html"} }

// WriteHistory writes each cell over its last runs, and where it stepped.
func WriteHistory(w io.Writer, format string, h verdict.History, opts Options) error {
	if opts.Width <= 0 {
		opts.Width = DefaultWidth
	}
	switch format {
	case "table":
		return writeTerminalDocument(w, newHistoryDocument(h), opts)
	case "markdown":
		return writeDocument(w, newHistoryDocument(h))
	case "json":
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		return out.Encode(newJSONHistory(h))
	case "html":
		return WriteHistoryPage(w, h, nil)
	}
	return fmt.Errorf("format %q does not exist; there are %s", format, strings.Join(HistoryFormats(), ", "))
}

func newHistoryDocument(h verdict.History) document {
	doc := document{title: show.Line(fmt.Sprintf("%s, %s over %s", h.Scenario, h.Metric.Title, show.Plural(len(h.Runs), "run")))}
	if n := len(h.Runs); n > 0 {
		doc.facts = []fact{{"runs", show.Line(h.Runs[0].ID + " to " + h.Runs[n-1].ID)}}
	}
	u := unitOf(h.Metric.Unit)
	longest := 0
	levels := section{title: "Levels", table: &grid{labels: 2, head: []string{"cell", "runs", "n", "first", "last"}}}
	steps := section{title: "Steps"}
	for _, cell := range h.Cells {
		var samples []*stats.Sample
		for _, p := range cell.Points {
			samples = append(samples, p.Sample)
		}
		if len(samples) == 0 {
			continue
		}
		longest = max(longest, len(samples))
		decimals := u.decimals(samples)
		levels.table.rows = append(levels.table.rows, []entry{
			{text: show.Line(cell.Name)}, {text: sparkline(cell, len(h.Runs))}, {text: fmt.Sprint(len(samples))},
			{text: u.text(samples[0], decimals)}, {text: u.text(samples[len(samples)-1], decimals)},
		})
		for _, step := range cell.Steps {
			direction := "better"
			if step.Worse {
				direction = "worse"
			}
			text := fmt.Sprintf("%+.1f%% (%s) with run %s of %s: %s to %s, p = %.4f", 100*step.Change(), direction, step.Run,
				h.Runs[cell.Points[step.At].Run].Started.UTC().Format("2006-01-02"),
				u.number(step.Before, decimals), strings.TrimSpace(u.number(step.After, decimals)+" "+u.name), step.P)
			for _, d := range step.Disparities {
				text += "; with it came another " + d.String()
			}
			steps.items = append(steps.items, item{name: show.Line(cell.Name), text: show.Line(text)})
		}
	}
	if len(levels.table.rows) == 0 {
		levels.table, levels.notes = nil, []string{"No run has this figure."}
	}
	doc.sections = []section{levels}
	switch {
	case longest < stats.StepRuns:
		steps.notes = []string{fmt.Sprintf("Too few runs to show any step: it takes %d that measured the cell, and there are %d at most.", stats.StepRuns, longest)}
	case len(steps.items) == 0:
		steps.notes = []string{fmt.Sprintf("None at a level of %v. A large step shows five or six runs after it, and a small one later.", stats.StepLevel)}
	}
	if longest >= stats.StepRuns {
		steps.notes = append(steps.notes, "Runs are taken for independent of each other: where each is like the one before, some steps are false.")
	}
	doc.sections = append(doc.sections, steps)
	return doc
}

// sparkline draws a cell's medians, from its lowest to its highest, with a gap
// for a run that did not measure it and a bar before each step.
func sparkline(cell verdict.CellHistory, runs int) string {
	bars := []rune("▁▂▃▄▅▆▇█")
	low, high := math.Inf(1), math.Inf(-1)
	at := map[int]float64{}
	for _, p := range cell.Points {
		low, high = min(low, p.Sample.Median), max(high, p.Sample.Median)
		at[p.Run] = p.Sample.Median
	}
	stepped := map[int]bool{}
	for _, s := range cell.Steps {
		stepped[cell.Points[s.At].Run] = true
	}
	var b strings.Builder
	for run := range runs {
		if stepped[run] {
			b.WriteRune('|')
		}
		value, measured := at[run]
		switch {
		case !measured:
			b.WriteRune('·')
		case high == low:
			b.WriteRune(bars[3])
		default:
			b.WriteRune(bars[min(len(bars)-1, int(float64(len(bars))*(value-low)/(high-low)))])
		}
	}
	return b.String()
}

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
	Run         string              `json:"run"`
	Before      float64             `json:"before"`
	After       float64             `json:"after"`
	Change      float64             `json:"change"`
	Worse       bool                `json:"worse"`
	P           float64             `json:"p"`
	Disparities []verdict.Disparity `json:"disparities,omitempty"`
}

func newJSONHistory(h verdict.History) jsonHistory {
	report := jsonHistory{Schema: schema, Scenario: h.Scenario, Metric: h.Metric.Name, Unit: string(h.Metric.Unit), Runs: []jsonCompared{}, Cells: []jsonCellHistory{}}
	for _, run := range h.Runs {
		report.Runs = append(report.Runs, jsonCompared{run.ID, run.Scenario, run.Started.UTC().Format("2006-01-02T15:04:05.999999999Z07:00")})
	}
	for _, cell := range h.Cells {
		one := jsonCellHistory{Cell: cell.Name, Points: []jsonPoint{}, Steps: []jsonStep{}}
		for _, p := range cell.Points {
			one.Points = append(one.Points, jsonPoint{h.Runs[p.Run].ID, *newJSONSample(p.Sample)})
		}
		for _, s := range cell.Steps {
			one.Steps = append(one.Steps, jsonStep{s.Run, s.Before, s.After, s.Change(), s.Worse, s.P, s.Disparities})
		}
		report.Cells = append(report.Cells, one)
	}
	return report
}
