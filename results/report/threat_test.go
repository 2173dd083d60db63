package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/history"
	"stackmeter/scenarios"
)

// remote is a reference of a page to something that is not in it.
var remote = regexp.MustCompile(`(?i)(\b(src|href|action|data|poster|srcset|formaction)\s*=\s*["']?\s*(https?:)?//|url\(\s*["']?(https?:)?//|@import)`)

// hostileOutputs is what everything that writes text makes of a run and
// records whose every text wants to be something else, by what it is.
func hostileOutputs(t *testing.T) map[string]string {
	t.Helper()
	run, records := hostile()
	evil := records[0].Reason
	for i := range records {
		records[i].Run = run.ID
		records[i].Stack = &results.Stack{Route: evil, GPU: evil, Proxy: evil,
			Services: []results.Service{{Name: evil, Image: evil, Digest: evil, Container: evil, Processes: []string{evil}}}}
	}
	run.Tags, run.Imported = []string{evil}, evil
	run.Checks = []results.Check{{Threshold: evil, Cell: evil, Status: results.CheckBroken, Missing: []string{evil}, Values: map[string]float64{evil: 1}}}
	head := run
	head.ID, head.Host.Kernel = evil+"2", evil+"2"
	comparison := verdict.CompareRuns(run, head, records, records)
	link := func(string) string { return "/x" }

	out := map[string]string{}
	write := func(name string, do func(io.Writer) error) {
		var b bytes.Buffer
		if err := do(&b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		out[name] = b.String()
	}
	for _, format := range pages.Formats(results.Run{}, nil).Names() {
		for _, width := range []int{40, 0} {
			write(fmt.Sprintf("%s of %d columns", format, width), func(w io.Writer) error {
				return pages.Formats(run, records).Write(w, format, report.Options{Width: width})
			})
		}
	}
	for _, format := range pages.ComparisonFormats(verdict.Comparison{}, nil).Names() {
		write("comparison as "+format, func(w io.Writer) error {
			return pages.ComparisonFormats(comparison, run.Checks).Write(w, format, report.Options{})
		})
	}
	for _, format := range pages.HistoryFormats(nil).Names() {
		write("history as "+format, func(w io.Writer) error {
			return pages.HistoryFormats([]history.History{history.New(evil, results.Metrics()[0], []results.Run{run, head}, nil)}).Write(w, format, report.Options{})
		})
	}
	for _, format := range pages.RecommendFormats(results.Run{}, nil, 0).Names() {
		write("recommendation as "+format, func(w io.Writer) error {
			return pages.RecommendFormats(run, verdict.Recommend(verdict.Summarise(records), scenarios.Plan{}, verdict.Goal{Objective: results.Metrics()[0]}), 0).Write(w, format, report.Options{})
		})
	}
	write("runs", func(w io.Writer) error { return report.WriteRuns(w, []results.Run{run, head}) })
	write("load", func(w io.Writer) error { return report.WriteLoad(w, run, records[1], report.Options{}) })
	write("html of a comparison", func(w io.Writer) error {
		return pages.WriteComparisonPage(w, comparison, run.Checks, nil, link)
	})
	write("html of runs", func(w io.Writer) error {
		return pages.WriteRunsPage(w, evil, []results.Run{run, head}, nil, pages.RunsAddresses{
			Run: link, History: link, Compare: func(_, _ string) string { return "/y" },
		}, func(results.Run) bool { return false })
	})
	write("html of a cell", func(w io.Writer) error {
		return pages.WriteCellPage(w, run, records, verdict.Summarise(records)[0].Name(), nil)
	})
	write("html of an error", func(w io.Writer) error { return pages.WriteErrorPage(w, evil, evil, nil) })
	return out
}

// TestThreat5HostileNames: texts that want to be something else, in every
// place that a record and a run have for text, through everything that there
// is to write them.
func TestThreat5HostileNames(t *testing.T) {
	for name, out := range hostileOutputs(t) {
		t.Run(name, func(t *testing.T) {
			if out == "" {
				t.Error("nothing was written")
			}
			if !utf8.ValidString(out) {
				t.Error("not UTF-8")
			}
			for i, r := range out {
				// JSON's readers get the data as it was; it has escapes of its
				// own for what controls a terminal.
				if r != '\n' && unicode.IsControl(r) || !strings.Contains(name, "json") && unicode.Is(unicode.Cf, r) {
					t.Fatalf("holds %U: %q", r, out[max(0, i-60):min(len(out), i+20)])
				}
			}
			switch {
			case strings.Contains(name, "csv"):
				formulas(t, out)
			case strings.Contains(name, "json"):
				if !json.Valid([]byte(out)) {
					t.Error("not valid")
				}
			case strings.HasPrefix(name, "html"):
				ownPage(t, out)
			case strings.HasPrefix(name, "junit"):
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

// ownPage fails the test when a page runs or fetches anything that is not its
// own.
func ownPage(t *testing.T, out string) {
	t.Helper()
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
	for _, format := range pages.Formats(results.Run{}, nil).Names() {
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
	for _, format := range pages.Formats(results.Run{}, nil).Names() {
		if format == "json" {
			continue // the data as it is
		}
		if n := len(render(t, format, run, records, report.Options{})); n > 1<<20 {
			t.Errorf("%s: %d bytes", format, n)
		}
	}
}
