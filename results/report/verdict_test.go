package report_test

import (
	"bytes"
	"encoding/xml"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/history"
	"stackmeter/results/words"
	"stackmeter/scenarios"
)

// viewsOf are all that is written of a run, by name.
func viewsOf(t *testing.T, run results.Run, records []results.Record) map[string]string {
	t.Helper()
	run.Counts = new(run.Count(records))
	views, b := map[string]string{}, new(bytes.Buffer)
	add := func(name string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		views[name] = b.String()
		b.Reset()
	}
	nowhere := func(string) string { return "#" }
	add("list", pages.WriteRunsPage(b, "s.db", []results.Run{run}, nil, pages.RunsAddresses{
		Run: nowhere, Compare: func(_, _ string) string { return "#" }, History: nowhere,
	}, func(results.Run) bool { return false }))
	add("runs", report.WriteRuns(b, []results.Run{run}))
	opts := report.Options{Width: 500}
	for _, format := range pages.Formats(run, records).Names() {
		add(format, pages.Formats(run, records).Write(b, format, opts))
	}
	duration := results.Metric(results.MetricDuration)
	nights := history.New(run.Scenario, duration, []results.Run{run}, nil)
	for _, format := range pages.HistoryFormats([]history.History{nights}).Names() {
		add("history "+format, pages.HistoryFormats([]history.History{nights}).Write(b, format, opts))
	}
	choice := verdict.Recommend(verdict.Summarise(records), scenarios.Plan{}, verdict.Goal{Objective: duration})
	for _, format := range pages.RecommendFormats(run, choice, 0).Names() {
		add("recommend "+format, pages.RecommendFormats(run, choice, 0).Write(b, format, opts))
	}
	if len(records) > 0 {
		add("cell", pages.WriteCellPage(b, run, records, records[0].Topology.Name+"/"+records[0].Cell.Load.Name(), nil))
		add("load", report.WriteLoad(b, run, records[0], opts))
	}
	return views
}

// plainly is a text without what its format needs around it.
func plainly(text string) string {
	if _, body, is := strings.Cut(text, "<body>"); is {
		text = body
	}
	text = strings.NewReplacer("**", "", "\\u003c", "<", "\\", "").Replace(html.UnescapeString(text))
	return strings.Join(strings.Fields(text), " ")
}

// failures are those of a JUnit file, errors included.
func failures(t *testing.T, text string) int {
	t.Helper()
	var read struct {
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
	}
	if err := xml.Unmarshal([]byte(text), &read); err != nil {
		t.Fatal(err)
	}
	return read.Failures + read.Errors
}

// TestAttackVerdictIsSaid: each view of a run says the same verdict, with what it
// is by, and what is not good news is green nowhere, whatever the run says of itself.
// Without thresholds none says that anything passed.
func TestAttackVerdictIsSaid(t *testing.T) {
	gate, all := gateRun(t)
	ok := slices.DeleteFunc(slices.Clone(all), func(r results.Record) bool { return r.Status != results.StatusOK })
	check := func(status string) []results.Check {
		return []results.Check{{Threshold: "duration < base", Cell: "flask/single/n40", Status: status}}
	}
	for want, test := range map[string]struct {
		records []results.Record
		edit    func(*results.Run)
		colour  string
	}{
		"failed: errors == 0 at 3 cells; duration < 1.5s at 4 cells; gpu_peak < 5GiB at 6 cells; 1 more threshold; 3 cells failed; 4 cells missing": {all, func(*results.Run) {}, "bad"},
		"failed: 3 cells failed; 4 cells missing":                                   {all, func(r *results.Run) { r.Outcome, r.Verdict, r.Checks = results.OutcomeOK, results.VerdictPassed, nil }, "bad"},
		"failed: duration < base at flask/single/n40":                               {ok, func(r *results.Run) { r.Verdict, r.Checks = results.VerdictPassed, check(results.CheckBroken) }, "bad"},
		"failed: cells that were ok in run 20261122-081500-0001 no longer are":      {ok, func(r *results.Run) { r.Checks = nil }, "bad"},
		"failed: no cell was measured":                                              {nil, func(r *results.Run) { r.Verdict, r.Checks, r.Planned = "", nil, 0 }, "bad"},
		"undecided: nothing to compare with for duration < base":                    {ok, func(r *results.Run) { r.Verdict, r.Checks = results.VerdictUndecided, check(results.CheckNoBaseline) }, "warn"},
		"undecided: it was never held against its thresholds":                       {ok, func(r *results.Run) { r.Verdict, r.Checks, r.Plan.Thresholds = "", nil, []string{"errors == 0"} }, "warn"},
		"refused: broken night: it is not comparable with run 20261122-081500-0001": {ok, func(r *results.Run) { r.Verdict, r.Checks = results.VerdictRefused, nil }, "bad"},
		"broken night: infrastructure; 4 cells missing": {ok, func(r *results.Run) {
			r.Outcome, r.Verdict, r.Checks, r.Planned = results.OutcomeInfrastructure, "", nil, len(ok)+4
		}, "bad"},
		"interrupted: 4 cells missing": {ok, func(r *results.Run) {
			r.Outcome, r.Verdict, r.Checks, r.Planned = results.OutcomeInterrupted, "", nil, len(ok)+4
		}, "warn"},
		"not finished: 4 cells missing": {ok, func(r *results.Run) { r.Outcome, r.Verdict, r.Checks, r.Planned = "", "", nil, len(ok)+4 }, "warn"},
		"passed":                        {ok, func(r *results.Run) { r.Verdict, r.Checks = results.VerdictPassed, check(results.CheckOK) }, "ok"},
		"ok":                            {ok, func(r *results.Run) { r.Verdict, r.Checks = results.VerdictPassed, nil }, "ok"},
	} {
		t.Run(want, func(t *testing.T) {
			run := gate
			run.Outcome, run.Planned = results.OutcomeOK, len(ok)
			if len(test.records) == len(all) {
				run.Outcome, run.Planned = results.OutcomeFailed, gate.Planned
			}
			test.edit(&run)
			for view, said := range viewsOf(t, run, test.records) {
				if view == "load" { // of one cell
					continue
				}
				plain := plainly(said)
				word, by, _ := strings.Cut(want, ": ")
				switch view {
				case "summary":
					by = words.Capital(by + " ")
				case "list":
					if word == "not finished" {
						by = "its process is gone"
					}
				case "prometheus":
					if is := strings.Contains(said, `stackmeter_run_passed{scenario="quickstart"} 0`); is != (test.colour != "ok") {
						t.Errorf("the metrics say that it has not passed: %v", is)
					}
					continue
				case "junit":
					if red := failures(t, said) > 0; red != (test.colour != "ok") {
						t.Errorf("a CI system that reads JUnit is red: %v", red)
					}
				case "csv":
					if len(test.records) == 0 {
						continue
					}
				}
				if !strings.Contains(plain, word) || !strings.Contains(plain, strings.TrimSpace(by)) {
					t.Errorf("%s does not say it:\n%s", view, plain[:min(len(plain), 3000)])
				}
				if word != results.VerdictPassed && regexp.MustCompile(`\bpassed\b`).MatchString(plain) && view != "json" {
					t.Errorf("%s says passed", view)
				}
				if view == "list" && !strings.Contains(plain, "[gold]") {
					t.Error("the list has no tags")
				}
				if class := regexp.MustCompile(`class="status (\w+)"`).FindStringSubmatch(said); class != nil && view != "cell" && class[1] != test.colour {
					t.Errorf("%s is %s", view, class[1])
				}
				if again := strings.Count(plain, "ok · "); view == "html" && again > 0 && !strings.Contains(plain, "ok · 11 of 11 cells") {
					t.Errorf("the page says ok twice: %s", plain[:200])
				}
			}
			// The verdict is what is coloured in a terminal.
			coloured := render(t, "table", run, test.records, report.Options{Color: true})
			if red := regexp.MustCompile(`verdict +\x1b\[31m`).MatchString(coloured); red != (test.colour == "bad") {
				t.Errorf("red in a terminal: %v", red)
			}
		})
	}
}

// TestAttackVerdictOfLoad: what load prints of one cell says the verdict and each
// broken threshold.
func TestAttackVerdictOfLoad(t *testing.T) {
	run := sampleRun()
	run.Verdict, run.Checks = results.VerdictFailed, []results.Check{{Threshold: "p99 < 1us", Cell: "flask/single/n40", Status: results.CheckBroken}}
	said := viewsOf(t, run, []results.Record{measured(flask, single, 1, 1, 100)})["load"]
	said = plainly(said)
	for _, want := range []string{"verdict failed: p99 < 1us at flask/single/n40", "1 of 1 threshold check broken"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
}

// TestAttackComparisonIsRed: a comparison that has not passed fails in JUnit, by a
// case named verdict, though no cell and no threshold does; without thresholds there
// is no verdict, and nothing says passed. Its two runs have the verdicts that they
// have elsewhere.
func TestAttackComparisonIsRed(t *testing.T) {
	one, other := []results.Record{measured(flask, single, 1, 1, 100)}, []results.Record{measured(gunicorn, single, 1, 1, 100)}
	run := sampleRun()
	run.Planned = 1
	for name, test := range map[string]struct {
		head   []results.Record
		checks []results.Check
		want   string
		red    int
	}{
		"nothing in both": {other, nil, "undecided: nothing to compare with: no cell is in both runs", 1},
		"no thresholds":   {one, nil, "no verdict: there are no thresholds", 0},
		"all hold":        {one, []results.Check{{Threshold: "errors == 0", Cell: "flask/single/n40", Status: results.CheckOK}}, "passed", 0},
		"no baseline":     {one, []results.Check{{Threshold: "p99 < base", Cell: "flask/single/n40", Status: results.CheckNoBaseline}}, "undecided: nothing to compare with for p99 < base", 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := verdict.CompareRuns(run, run, one, test.head)
			if said := c.Verdict(test.checks); (said == results.VerdictPassed) != (test.want == "passed") {
				t.Errorf("the comparison itself says %q", said)
			}
			formats := pages.ComparisonFormats(c, test.checks)
			for _, format := range formats.Names() {
				var b bytes.Buffer
				if err := formats.Write(&b, format, report.Options{Width: 300}); err != nil {
					t.Fatal(err)
				}
				plain := plainly(b.String())
				word, _, _ := strings.Cut(test.want, ":")
				if !strings.Contains(plain, test.want) && (format != "summary" || !strings.Contains(plain, word)) {
					t.Errorf("%s does not say %q: %s", format, test.want, plain)
				}
				if word != results.VerdictPassed && strings.Contains(plain, "passed") || strings.Contains(plain, "missing") {
					t.Errorf("%s says passed, or that cells are missing: %s", format, plain)
				}
				if format == "junit" {
					if n := failures(t, b.String()); n != test.red || !strings.Contains(b.String(), `name="verdict"`) {
						t.Errorf("%d failures:\n%s", n, b.String())
					}
				}
			}
		})
	}
}
