package exchange

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/wire"
)

// MethodImported is the method of figures that a file brought.
const MethodImported = "imported"

// Columns of a CSV file of figures from elsewhere. Only client and one of
// duration_s and gpu_memory_mib have to be there in a row; a figure that is
// empty was not measured.
func figureColumns() []string {
	return []string{"table", "files", "server", "workers", "threads", "nginx", "client", "pool", "duration_s", "gpu_memory_mib"}
}

// ReadCSV reads figures from elsewhere, one cell in each row, under the columns
// table, files (requests), server, workers, threads, nginx (yes or no), client,
// pool, duration_s and gpu_memory_mib. Each table becomes a run; rows of a
// table about the same cell are its repeats. It is strict: an unknown or missing
// column, or a value that cannot be, is an error with its line.
//
// Stackmeter's own CSV is read too, as far as it goes: it has no histograms of
// the latency, no plan and no machine; its JSON has.
func ReadCSV(name string, data []byte, table string) ([]Imported, error) {
	in := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(data), "\uFEFF")))
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s:1: empty", name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	reader := csvReader{name: name, columns: map[string]int{}}
	for i, column := range header {
		if _, twice := reader.columns[column]; twice {
			return nil, fmt.Errorf("%s:1: column %q is there twice", name, column)
		}
		reader.columns[column] = i
	}
	_, own := reader.columns["repeat"]
	known := figureColumns()
	if own {
		known = nil
		for _, c := range append(csvColumns(), cellColumns(results.Run{}, nil)...) {
			known = append(known, c.name)
		}
	}
	for _, column := range header {
		if !slices.Contains(known, column) {
			return nil, fmt.Errorf("%s:1: there is no column %q; there are %s", name, column, strings.Join(known, ", "))
		}
	}
	needed := figureColumns()
	if own {
		needed = []string{"run", "cell", "repeat", "topology", "server", "client", "pool", "requests", "status", "duration_s"}
	}
	for _, column := range needed {
		if _, found := reader.columns[column]; !found {
			return nil, fmt.Errorf("%s:1: the column %s is missing", name, column)
		}
	}
	byTable, verdicts := map[string]*Imported{}, map[string]string{}
	var tables []string
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		line, _ := in.FieldPos(0)
		reader.row, reader.line, reader.failed = row, line, nil
		read := reader.figures
		if own {
			read = reader.own
		}
		of, record := read()
		if verdict, known := verdicts[of]; known && verdict != reader.text("run_verdict") {
			reader.wrong("run_verdict", "another row of the run says another")
		}
		verdicts[of] = reader.text("run_verdict")
		if reader.failed != nil {
			return nil, reader.failed
		}
		if byTable[of] == nil {
			byTable[of] = &Imported{}
			tables = append(tables, of)
		}
		one := byTable[of]
		if !own {
			for _, before := range one.Records {
				if before.Cell.Name == record.Cell.Name {
					record.Cell.Repeat++
				}
			}
		}
		one.Records = append(one.Records, record)
	}
	if len(tables) == 0 {
		return nil, fmt.Errorf("%s:2: no rows", name)
	}
	if table != "" {
		if byTable[table] == nil {
			return nil, fmt.Errorf("%s: no table %q; there are %s", name, table, strings.Join(tables, ", "))
		}
		tables = []string{table}
	}
	var all []Imported
	for _, of := range tables {
		one := byTable[of]
		if err := one.complete(name, of, data); err != nil {
			return nil, err
		}
		if err := words.ReadStanding(&one.Run, one.Records, verdicts[of]); err != nil {
			return nil, fmt.Errorf("%s: run %s: run_verdict %w", name, show.Line(of), err)
		}
		all = append(all, *one)
	}
	return all, nil
}

// complete gives the run of a table what a run has. Its id is made of the
// content, so that importing a file twice is noticed.
func (i *Imported) complete(name, table string, data []byte) error {
	sum := sha256.Sum256(append([]byte(table+"\x00"), data...))
	base := strings.TrimSuffix(filepath.Base(name), filepath.Ext(name))
	scenario := base
	if table != "" {
		scenario += "-" + table
	}
	i.Run = results.Run{
		ID: "imported-" + hex.EncodeToString(sum[:])[:12], Scenario: scenario, File: name, Outcome: results.OutcomeOK,
		Runtime: MethodImported, Imported: filepath.Base(name), Verdict: "",
		Plan: scenarios.Plan{Scenario: scenario, Repeats: 1},
	}
	seen := map[results.Key]bool{}
	for n := range i.Records {
		r := &i.Records[n]
		if seen[r.Key()] {
			return fmt.Errorf("%s: %s, repeat %d, is there twice", name, r.Cell.Name, r.Cell.Repeat)
		}
		seen[r.Key()] = true
		r.Run = i.Run.ID
		if !slices.Contains(r.Flags, results.FlagImported) {
			r.Flags = append(r.Flags, results.FlagImported)
		}
		if limit := &i.Run.Plan.Request.MaxErrors; r.Status == results.StatusOK && r.Errors > valueOf(*limit).Count {
			*limit = &wire.ErrorLimit{Count: r.Errors} // the file has no plan; the cell was ok with them
		}
		if r.Status != results.StatusOK {
			i.Run.Outcome = results.OutcomeFailed
		}
		i.Run.Plan.Repeats = max(i.Run.Plan.Repeats, r.Cell.Repeat)
		i.Run.Plan.Trials = append(i.Run.Plan.Trials, scenarios.Trial{Topology: r.Topology, Repeat: r.Cell.Repeat, Cells: []scenarios.Cell{r.Cell}})
	}
	i.Run.Fingerprint = i.Run.Plan.Fingerprint()
	return nil
}

// A csvReader reads one row after the other and keeps the first thing that is
// wrong with one.
type csvReader struct {
	name    string
	columns map[string]int
	row     []string
	line    int
	failed  error
}

// figures reads a row of figures from elsewhere.
func (c *csvReader) figures() (table string, r results.Record) {
	topology := scenarios.Topology{
		Server: c.word("server"), Workers: c.whole("workers", mostTopology, true), Threads: c.whole("threads", mostTopology, true),
	}
	switch c.text("nginx") {
	case "yes":
		topology.SetAxes(true, nil)
	case "no":
	default:
		c.wrong("nginx", "there is yes and no")
	}
	topology.Name = topology.Server
	if topology.Workers > 0 || topology.Threads > 0 {
		topology.Name += fmt.Sprintf("-w%d-t%d", max(1, topology.Workers), max(1, topology.Threads))
	}
	if topology.Nginx() {
		topology.Name = "nginx+" + topology.Name
	}
	spec := scenarios.LoadSpec{Requests: c.whole("files", 10_000_000, false), Client: c.text("client"), Pool: c.whole("pool", 100_000, true)}
	if !slices.Contains([]string{scenarios.ClientSingle, scenarios.ClientMP, scenarios.ClientMT}, spec.Client) {
		c.wrong("client", "there is single, mp and mt")
	}
	r = results.Record{
		Topology: topology, Status: results.StatusOK, Started: time.Unix(0, 0).UTC(), Duration: c.number("duration_s"), Flags: []string{results.FlagImported},
		Cell: scenarios.Cell{Name: topology.Name + "/" + spec.Name(), Repeat: 1, Load: spec},
	}
	if r.Duration != nil {
		r.Replies = spec.Requests
	}
	if peak := c.number("gpu_memory_mib"); peak != nil {
		r.GPU = gpu.Usage{Validity: gpu.Valid, Method: MethodImported, Peak: fromMiB(peak)}
	} else {
		r.GPU.Reason = "the file has no figure"
	}
	r.Memory.Reason = "the file has no figure"
	if r.Duration == nil && r.GPU.Peak == nil {
		c.wrong("duration_s", "a row needs a duration or a memory")
	}
	c.possible(&r, nil)
	return c.word("table"), r
}

// possible looks at all figures of a row together.
func (c *csvReader) possible(r *results.Record, said map[string]float64) {
	if err := checkRecord(r, said); err != nil && c.failed == nil {
		c.failed = fmt.Errorf("%s:%d: %w", c.name, c.line, err)
	}
}

// own reads a row of stackmeter's CSV. Its run is the table.
func (c *csvReader) own() (table string, r results.Record) {
	topology := scenarios.Topology{
		Name: c.text("topology"), Server: c.text("server"), Workers: c.whole("workers", mostTopology, true), Threads: c.whole("threads", mostTopology, true),
	}
	var axes map[string]string
	if text := c.text("axes"); text != "" && json.Unmarshal([]byte(text), &axes) != nil {
		c.wrong("axes", "it has to be a mapping of texts in JSON")
	}
	topology.SetAxes(c.truth("nginx"), axes)
	spec := scenarios.LoadSpec{
		Requests: c.whole("requests", 10_000_000, false), Client: c.text("client"), Pool: c.whole("pool", 100_000, true),
		KeepAlive: c.truth("keepalive"), Of: c.whole("of", 10_000_000, true), Arrivals: c.text("arrivals"), Rate: valueOf(c.number("rate")),
	}
	r = results.Record{
		Topology: topology, Status: c.text("status"), Reason: c.text("reason"), OutOfMemory: c.text("out_of_memory"),
		Cell:   scenarios.Cell{Name: c.text("cell"), Repeat: c.whole("repeat", 100_000, false), Load: spec},
		Memory: results.Memory{Method: MethodImported, Reason: c.text("memory_reason")},
		GPU:    gpu.Usage{Validity: c.text("gpu_validity"), Reason: c.text("gpu_reason")},
		Flags:  strings.Fields(c.text("flags")),
		Reused: c.text("reused"),
	}
	said := map[string]float64{}
	for _, f := range results.Figures() {
		if value := c.number(f.Column); value != nil {
			said[f.Column] = *value
			if f.Whole() && *value != math.Trunc(*value) {
				c.wrong(f.Column, "it has to be a whole number")
			}
			f.Set(&r, *value)
		}
	}
	for _, column := range []string{"cell_duration_median_s", "cell_duration_low_s", "cell_duration_high_s"} {
		if value := c.number(column); value != nil {
			said[column] = *value
		}
	}
	c.whole("cell_repeats", 100_000, true)
	if confidence := c.number("cell_duration_confidence"); valueOf(confidence) > 1 {
		c.wrong("cell_duration_confidence", "it is from 0 to 1")
	}
	if _, counted := c.columns["replies"]; !counted && r.Status == results.StatusOK && r.Duration != nil {
		r.Replies = spec.Requests - r.Errors // an older file has no such column
	}
	if r.Cell.Name == "" || topology.Name == "" {
		c.wrong("cell", "cell and topology have to be there")
	}
	if !results.KnownStatus(r.Status) {
		c.wrong("status", "there is ok, failed and pruned")
	}
	r.Started = time.Unix(0, 0).UTC()
	if text := c.text("started"); text != "" {
		started, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			c.wrong("started", "it has to be a time in RFC 3339")
		}
		r.Started = started.UTC()
	}
	if r.GPU.Peak != nil {
		r.GPU.Method = MethodImported
	}
	c.possible(&r, said)
	return c.text("run"), r
}

func (c *csvReader) wrong(column, rule string) {
	if c.failed == nil {
		c.failed = fmt.Errorf("%s:%d: %s cannot be %q: %s", c.name, c.line, column, show.Shorten(show.Line(c.text(column)), 60), rule)
	}
}

// text is a value of the row; "" where there is no such column.
func (c *csvReader) text(column string) string {
	i, found := c.columns[column]
	if !found {
		return ""
	}
	text := strings.TrimSpace(c.row[i])
	if len(text) > 1 && text[0] == '\'' && strings.ContainsRune("=+-@", rune(text[1])) {
		return text[1:] // what neutral put there
	}
	return text
}

// word is a value that becomes part of names.
func (c *csvReader) word(column string) string {
	text := c.text(column)
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
	}
	if text == "" || len(text) > 64 || strings.ContainsFunc(text, func(r rune) bool { return !ok(r) }) {
		c.wrong(column, "letters, digits and . _ - only, at most 64")
	}
	return text
}

// truth is true or false, as a spreadsheet writes it too; false where there is no
// such column.
func (c *csvReader) truth(column string) bool {
	text := strings.ToLower(c.text(column))
	if _, found := c.columns[column]; found && text != "true" && text != "false" {
		c.wrong(column, "there is true and false")
	}
	return text == "true"
}

func (c *csvReader) whole(column string, most int, optional bool) int {
	text := c.text(column)
	if text == "" && optional {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most || n == 0 && !optional {
		c.wrong(column, fmt.Sprintf("it has to be a whole number up to %d", most))
		return 0
	}
	return n
}

func (c *csvReader) number(column string) *float64 {
	text := c.text(column)
	if text == "" {
		return nil
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || value < 0 || math.IsNaN(value) || strings.ContainsAny(text, "xXpP_") {
		c.wrong(column, "it has to be a number, not below 0")
		return nil
	}
	return &value
}
