package exchange

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
)

// A column is one column of the CSV: its name is that of the store's column,
// its figures are in base units, and what was not measured is empty.
type column struct {
	name string
	text func(results.Record) string
}

// WriteCSV prints one row for each record. The last columns are about the cell
// over all its repeats, so that the rows of a cell agree in them; their names
// begin with cell_. The verdict is the run's.
func WriteCSV(w io.Writer, run results.Run, records []results.Record) error {
	columns := append(csvColumns(), cellColumns(run, records)...)
	row := make([]string, len(columns))
	for i, c := range columns {
		row[i] = c.name
	}
	rows := [][]string{row}
	for _, r := range records {
		row = make([]string, len(columns))
		for i, c := range columns {
			row[i] = neutral(show.Line(c.text(r)))
		}
		rows = append(rows, row)
	}
	return csv.NewWriter(w).WriteAll(rows)
}

// axes are the values of a topology's axes that have no column of their own, as JSON.
func axes(t scenarios.Topology) string {
	if len(t.Axes) == 0 {
		return ""
	}
	text, err := json.Marshal(t.Axes)
	if err != nil {
		panic(err) // texts are always JSON
	}
	return string(text)
}

// neutral keeps a spreadsheet from taking a cell for a formula.
// See https://owasp.org/www-community/attacks/CSV_Injection.
func neutral(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

// csvColumns are those about one record: facts, and all figures.
func csvColumns() []column {
	type record = results.Record
	before := map[string][]column{ // the facts that stand before a figure
		"duration_s": {
			{"run", func(r record) string { return r.Run }},
			{"cell", func(r record) string { return r.Cell.Name }},
			{"repeat", func(r record) string { return strconv.Itoa(r.Cell.Repeat) }},
			{"topology", func(r record) string { return r.Topology.Name }},
			{"server", func(r record) string { return r.Topology.Server }},
			{"workers", func(r record) string { return positive(float64(r.Topology.Workers)) }},
			{"threads", func(r record) string { return positive(float64(r.Topology.Threads)) }},
			{"nginx", func(r record) string { return strconv.FormatBool(r.Topology.Nginx()) }},
			{"axes", func(r record) string { return axes(r.Topology) }},
			{"client", func(r record) string { return r.Cell.Load.Client }},
			{"pool", func(r record) string { return strconv.Itoa(r.Cell.Load.Pool) }},
			{"requests", func(r record) string { return strconv.Itoa(r.Cell.Load.Requests) }},
			{"of", func(r record) string { return positive(float64(r.Cell.Load.Of)) }},
			{"keepalive", func(r record) string { return strconv.FormatBool(r.Cell.Load.KeepAlive) }},
			{"rate", func(r record) string { return positive(r.Cell.Load.Rate) }},
			{"arrivals", func(r record) string { return r.Cell.Load.Arrivals }},
			{"started", func(r record) string { return r.Started.UTC().Format(time.RFC3339Nano) }},
			{"status", func(r record) string { return r.Status }},
			{"reason", func(r record) string { return r.Reason }},
			{"out_of_memory", func(r record) string { return r.OutOfMemory }},
			{"flags", func(r record) string { return strings.Join(r.AllFlags(), " ") }},
			{"reused", func(r record) string { return r.Reused }},
		},
		"gpu_baseline_bytes": {
			{"gpu_validity", func(r record) string { return r.GPU.Validity }},
			{"gpu_reason", func(r record) string { return r.GPU.Reason }},
			{"gpu_method", func(r record) string { return r.GPU.Method }},
		},
		"memory_peak_bytes": {{"memory_method", func(r record) string { return r.Memory.Method }}},
		"cpu_stack_s":       {{"memory_reason", func(r record) string { return r.Memory.Reason }}},
		"start_delay_s":     {{"hand", func(r record) string { return r.Load.Hand }}},
	}
	var columns []column
	for _, f := range results.Figures() {
		columns = append(columns, before[f.Column]...)
		columns = append(columns, column{f.Column, func(r record) string {
			if value := f.Of(&r); value != nil {
				return words.Plainly(*value)
			}
			return ""
		}})
	}
	return columns
}

// cellColumns are those about a record's cell over its repeats, and its run.
func cellColumns(run results.Run, records []results.Record) []column {
	counts, summaries := run.Count(records), verdict.SummariseRun(run, records)
	byCell, bounds := map[results.Key]verdict.Summary{}, map[results.Key]verdict.Bound{}
	for _, s := range summaries {
		key := results.Key{Topology: s.Topology.Name, Load: s.Load.Name()}
		byCell[key], bounds[key] = s, verdict.BoundOf(s, run.Plan, run.Host)
	}
	cell := func(r results.Record) results.Key {
		key := r.Key()
		key.Repeat = 0
		return key
	}
	of := func(r results.Record) verdict.Summary { return byCell[cell(r)] }
	duration := func(figure func(stats.Sample) string) func(results.Record) string {
		return func(r results.Record) string {
			if sample := of(r).Duration; sample != nil {
				return figure(*sample)
			}
			return ""
		}
	}
	searched := searchedCells(run, records)
	end := func(figure func(stats.Interval) float64) func(stats.Sample) string {
		return func(s stats.Sample) string {
			if s.Interval == nil {
				return ""
			}
			return words.Plainly(figure(*s.Interval))
		}
	}
	return []column{
		{"cell_repeats", func(r results.Record) string { return positive(float64(len(of(r).Speaking))) }},
		{"cell_duration_median_s", duration(func(s stats.Sample) string { return words.Plainly(s.Median) })},
		{"cell_duration_low_s", duration(end(func(i stats.Interval) float64 { return i.Low }))},
		{"cell_duration_high_s", duration(end(func(i stats.Interval) float64 { return i.High }))},
		{"cell_duration_confidence", duration(end(func(i stats.Interval) float64 { return i.Confidence }))},
		{"cell_bound_by", func(r results.Record) string { return bounds[cell(r)].By }},
		{"cell_bound_why", func(r results.Record) string { return bounds[cell(r)].Why }},
		{"cell_search_state", func(r results.Record) string { state, _ := searched(r); return state }},
		{"cell_search_why", func(r results.Record) string { _, why := searched(r); return why }},
		{"cell_flags", func(r results.Record) string { return strings.Join(of(r).Flags, " ") }},
		{"run_verdict", func(results.Record) string { return words.StandingOf(run, &counts).String() }},
	}
}

// searchedCells says of a record what its search knows of the topology under the whole
// load, and why; nothing of a run that is no search.
func searchedCells(run results.Run, records []results.Record) func(results.Record) (state, why string) {
	known := map[results.Key][2]string{}
	if search := words.SearchOf(run, records); search != nil {
		for i, c := range search.Contests {
			for _, candidate := range c.Candidates {
				state, why := words.StateOf(c, candidate), candidate.Reason
				if candidate.Topology == c.Answer {
					why = search.Answers[i].Why
				}
				known[results.Key{Topology: candidate.Topology, Load: c.Load.Name()}] = [2]string{state, why}
			}
		}
	}
	return func(r results.Record) (state, why string) {
		of := known[results.Key{Topology: r.Topology.Name, Load: r.Cell.Load.Whole().Name()}]
		return of[0], of[1]
	}
}

// positive is empty for 0: the number does not apply.
func positive(n float64) string {
	if n == 0 {
		return ""
	}
	return words.Plainly(n)
}

// WriteComparisonCSV writes a row for each cell and metric, and one for a cell
// that has none.
func WriteComparisonCSV(w io.Writer, c verdict.Comparison, checks []results.Check) error {
	said := neutral(show.Line(words.StandingOfComparison(c, checks).String()))
	rows := [][]string{{"cell", "state", "metric", "unit", "base_median", "head_median", "change", "interval_low", "interval_high", "p", "base_repeats", "head_repeats", "shown", "p_corrected", "compared",
		"base_ok", "base_not_ok", "base_errors", "base_flags", "head_ok", "head_not_ok", "head_errors", "head_flags", "difference", "nights", "verdict"}}
	for _, cell := range c.Cells {
		name := neutral(show.Line(cell.Name))
		sides := append(sideFields(cell.Base), sideFields(cell.Head)...)
		if len(cell.Changes) == 0 {
			rows = append(rows, append([]string{name, cell.State, "", "", "", "", "", "", "", "", "", "", "", "", ""}, append(sides, "", "", said)...))
		}
		for _, change := range cell.Changes {
			row := []string{name, cell.State, change.Metric.Name, string(change.Metric.Unit), "", "", "", "", "", "", "0", "0", "false", "", ""}
			difference, nights := "", "" // in the metric's base unit; whose spread is in the change
			if change.Base != nil {
				row[4], row[10] = words.Plainly(change.Base.Median), strconv.Itoa(change.Base.N)
			}
			if change.Head != nil {
				row[5], row[11] = words.Plainly(change.Head.Median), strconv.Itoa(change.Head.N)
			}
			if change.Base != nil && change.Head != nil && !change.Erring {
				if share := change.Difference.Change; share != nil {
					row[6] = words.Plainly(*share)
				}
				row[9], row[12] = words.Plainly(change.Difference.P), strconv.FormatBool(change.Difference.Shown)
				difference = words.Plainly(change.Head.Median - change.Base.Median)
				row[13], row[14] = words.Plainly(change.Corrected), strconv.Itoa(change.Compared)
				nights = strconv.Itoa(change.Nights)
			}
			if change.Interval != nil {
				row[7], row[8] = words.Plainly(change.Interval.Low), words.Plainly(change.Interval.High)
			}
			rows = append(rows, slices.Concat(row, sides, []string{difference, nights, said}))
		}
	}
	return csv.NewWriter(w).WriteAll(rows)
}

// sideFields are the repeats that are ok and those that are not, the errors
// over all of them and the flags; empty where the run does not have the cell.
func sideFields(s *verdict.Summary) []string {
	if s == nil {
		return []string{"", "", "", ""}
	}
	return []string{strconv.Itoa(s.OK), strconv.Itoa(s.Repeats() - s.OK), strconv.Itoa(s.Errors), neutral(show.Line(strings.Join(s.Flags, " ")))}
}
