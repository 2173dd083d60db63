package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/scenarios"
)

// remote is a reference of a page to something that is not in it.
var remote = regexp.MustCompile(`(?i)(\b(src|href|action|data|poster|srcset|formaction)\s*=\s*["']?\s*(https?:)?//|url\(\s*["']?(https?:)?//|@import)`)

// TestThreat5HostileNames: texts that want to be something else, in every
// place that a record and a run have for text, through every format that there
// is.
func TestThreat5HostileNames(t *testing.T) {
	run, records := hostile()
	stack := &results.Stack{Route: records[0].Reason, GPU: records[0].Reason, Nginx: records[0].Reason,
		Services: []results.Service{{Name: records[0].Reason, Image: records[0].Reason, Processes: []string{records[0].Reason}}}}
	for i := range records {
		records[i].Stack = stack
		records[i].Run = run.ID
	}
	for _, format := range report.Formats() {
		for name, width := range map[string]int{"narrow": 40, "usual": 0} {
			t.Run(format+"/"+name, func(t *testing.T) {
				out := render(t, format, run, records, report.Options{Width: width})
				if !utf8.ValidString(out) {
					t.Error("not UTF-8")
				}
				for i, r := range out {
					// JSON's readers get the data as it was; it has escapes of
					// its own for what controls a terminal.
					if r != '\n' && unicode.IsControl(r) || format != "json" && unicode.Is(unicode.Cf, r) {
						t.Fatalf("holds %U: %q", r, out[max(0, i-60):min(len(out), i+20)])
					}
				}
				switch format {
				case "csv":
					formulas(t, out)
				case "json":
					if !json.Valid([]byte(out)) {
						t.Error("not valid")
					}
				case "html":
					lower := strings.ToLower(out)
					if strings.Contains(lower, "<script>alert") {
						t.Error("a name became a script")
					}
					if !strings.Contains(lower, "content-security-policy") || !strings.Contains(lower, "default-src 'none'") {
						t.Error("no content security policy that refuses what is not allowed")
					}
					if found := remote.FindString(out); found != "" {
						t.Errorf("it asks for something elsewhere: %s", found)
					}
				case "junit":
					d := xml.NewDecoder(strings.NewReader(out))
					for {
						_, err := d.Token()
						if errors.Is(err, io.EOF) {
							break
						}
						if err != nil {
							t.Fatal(err)
						}
					}
				}
			})
		}
	}
	var list bytes.Buffer
	if err := report.WriteRuns(&list, []results.Run{run}); err != nil {
		t.Fatal(err)
	}
	if text := list.String(); report.Clean(text) != text {
		t.Errorf("the list of runs: %q", text)
	}
}

// formulas fails the test when a spreadsheet would take a cell for one.
func formulas(t *testing.T, text string) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for _, cell := range row {
			// A spreadsheet looks behind blanks too.
			if trimmed := strings.TrimLeft(cell, " \t\r\n"); trimmed != "" && strings.ContainsRune("=+-@", rune(trimmed[0])) {
				t.Errorf("a formula: %q", cell)
			}
		}
	}
}

// TestThreat4ReportsWithoutSecrets: a run that comes from elsewhere than the
// store still has the values in its plan.
func TestThreat4ReportsWithoutSecrets(t *testing.T) {
	run, records := repeats()
	const secret = "secret-4711"
	values := map[string]string{"TOKEN": secret}
	run.Plan.App.Env, run.Plan.Request.Headers = values, values
	run.Plan.App.Build = &scenarios.Build{Context: "x", Args: values}
	for i := range run.Plan.Trials {
		run.Plan.Trials[i].Topology.Env = values
		run.Plan.Trials[i].Topology.Services = []scenarios.Service{{Name: "a", Env: values}}
	}
	for i := range records {
		records[i].Topology.Env = values
	}
	for _, format := range report.Formats() {
		if strings.Contains(render(t, format, run, records, report.Options{}), secret) {
			t.Errorf("%s: a value of the environment", format)
		}
	}
}

// TestThreat7LongLogs: a log's tail in a report is bounded, however much of it
// a record holds.
func TestThreat7LongLogs(t *testing.T) {
	run, records := hostile()
	records[0].LogTail = strings.Repeat(strings.Repeat("x", 10_000)+"\n", 1000)
	records[0].Reason = "it failed"
	for _, format := range report.Formats() {
		if format == "json" {
			continue // the data as it is
		}
		if n := len(render(t, format, run, records, report.Options{})); n > 1<<20 {
			t.Errorf("%s: %d bytes", format, n)
		}
	}
}
