package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/scenarios"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostile is a record whose every text wants to be something else.
func hostile() (results.Run, []results.Record) {
	const evil = "=cmd|'/c calc'!A1 \x1b]0;owned\x07\x1b[2J\u202Eevil\u2066\x9b31m\r\xff<script>alert(1)</script> `x` [a](b) *b* | c\x00"
	topology := scenarios.Topology{Name: evil, Server: evil}
	spec := scenarios.LoadSpec{Requests: 3, Client: evil, Pool: 2}
	bad := record(topology, spec, 1)
	bad.Status, bad.Reason, bad.Flags = results.StatusFailed, evil+"\n"+evil, []string{evil}
	bad.LogTail = strings.Repeat(evil+"\n```\n", 50)
	duration := 1.5
	good := record(topology, spec, 2)
	good.Duration, good.Errors = &duration, 1
	good.ErrorKinds, good.FirstErrors = map[string]int{evil: 1}, map[string]string{evil: evil}
	good.GPU = gpu.Usage{Validity: gpu.Invalid, Reason: evil, Flags: []string{evil}}
	good.Memory.Reason = evil
	run := results.Run{
		ID: evil, Scenario: evil, File: evil, Runtime: evil, Outcome: evil,
		Host:  results.Host{Name: evil, OS: evil, Kernel: evil, CPU: evil, Engine: evil},
		Spent: map[string]float64{evil: 1, results.PhaseMeasure: 1},
		Plan:  scenarios.Plan{Client: scenarios.Client{Engine: evil}},
	}
	run.GPUDevices = []gpu.Device{{Name: evil, Driver: evil}}
	return run, []results.Record{bad, good}
}

func TestHostile(t *testing.T) {
	run, records := hostile()
	var list bytes.Buffer
	if err := report.WriteRuns(&list, []results.Run{run}); err != nil {
		t.Fatal(err)
	}
	outputs := map[string]string{"runs": list.String()}
	for _, format := range pages.Formats(results.Run{}, nil).Names() {
		outputs[format] = render(t, format, run, records, report.Options{})
	}
	for format, out := range outputs {
		if !utf8.ValidString(out) {
			t.Errorf("%s: not UTF-8", format)
		}
		for _, r := range out {
			// JSON escapes control characters itself and is no text for a
			// terminal: its readers get the data as it was.
			if r != '\n' && unicode.IsControl(r) || format != "json" && unicode.Is(unicode.Cf, r) {
				t.Errorf("%s: holds %U", format, r)
				break
			}
		}
	}
	if strings.Contains(outputs["markdown"], "<script>") && !allIndented(outputs["markdown"], "<script>") {
		t.Error("markdown: HTML outside of a log")
	}
	for line := range strings.Lines(outputs["markdown"]) {
		if strings.HasPrefix(line, "```") {
			t.Error("markdown: a log opened a code block")
		}
	}
	rows, err := csv.NewReader(strings.NewReader(outputs["csv"])).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
				t.Errorf("csv: a formula: %q", cell)
			}
		}
	}
	if !json.Valid([]byte(outputs["json"])) {
		t.Error("json: not valid")
	}
}

// allIndented reports whether text occurs only in indented lines.
func allIndented(out, text string) bool {
	for line := range strings.Lines(out) {
		if strings.Contains(line, text) && !strings.HasPrefix(line, "    ") {
			return false
		}
	}
	return true
}
