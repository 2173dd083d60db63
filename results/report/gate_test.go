package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"html"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/threshold"
)

func gateRun(t *testing.T) (results.Run, []results.Record) {
	run, records := repeats()
	run.Verdict, run.Against, run.Tags = results.VerdictFailed, "20261122-081500-0001", []string{"gold"}
	var thresholds []*threshold.Threshold
	for _, text := range []string{"errors == 0", "duration < 1.5s", "gpu_peak < 5GiB", "duration < base * 1.05"} {
		condition, err := results.Vocabulary().Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		thresholds = append(thresholds, condition)
	}
	base := slower(records, 0.5)
	run.Checks = verdict.CheckThresholds(thresholds, verdict.Summarise(records), verdict.Summarise(base))
	return run, records
}

// slower are the records with durations multiplied.
func slower(records []results.Record, by float64) []results.Record {
	var made []results.Record
	for _, r := range records {
		if r.Duration != nil {
			d := *r.Duration * by
			r.Duration = &d
		}
		made = append(made, r)
	}
	return made
}

func TestGateFormats(t *testing.T) {
	run, records := gateRun(t)
	for _, format := range []string{"junit", "prometheus", "summary"} {
		t.Run(format, func(t *testing.T) { golden(t, "gate."+format, render(t, format, run, records, report.Options{})) })
	}
}

// TestAttackVerdictIsSaid: each view of a run says the same verdict, with what it
// is by, and without thresholds none says that anything passed.
func TestAttackVerdictIsSaid(t *testing.T) {
	failed, records := gateRun(t)
	failed.Outcome = results.OutcomeOK
	undecided, free, refused, broken := failed, failed, failed, failed
	undecided.Verdict, undecided.Checks = results.VerdictUndecided, []results.Check{{Threshold: "duration < base", Cell: "flask/single/n40", Status: results.CheckNoBaseline}}
	free.Verdict, free.Checks = "", nil
	refused.Verdict, refused.Checks = results.VerdictRefused, nil
	broken.Verdict, broken.Outcome, broken.Checks = "", results.OutcomeInfrastructure, nil
	measured := slices.DeleteFunc(slices.Clone(records), func(r results.Record) bool { return r.Status != results.StatusOK })
	bare := free
	free.Planned = len(measured)
	passed := free
	passed.Verdict, passed.Checks = results.VerdictPassed, []results.Check{{Threshold: "errors == 0", Cell: "flask/single/n40", Status: results.CheckOK}}
	for want, run := range map[string]results.Run{
		"failed: errors == 0 at 3 cells; duration < 1.5s at 4 cells; gpu_peak < 5GiB at 6 cells; 1 more threshold; 3 cells failed; 4 cells missing": failed,
		"undecided: nothing to compare with for duration < base":                                                                                    undecided,
		"refused: broken night":        refused,
		"broken night: infrastructure": broken,
		"passed":                       passed,
		"ok":                           free,
		"failed: 3 cells failed; 4 cells missing": bare,
	} {
		records := records
		if run.Planned == len(measured) {
			records = measured
		}
		counts := run.Count(records)
		run.Counts = &counts
		var list, text bytes.Buffer
		if err := pages.WriteRunsPage(&list, "s.db", []results.Run{run}, pages.RunsAddresses{
			Run: func(string) string { return "#" }, Compare: func(_, _ string) string { return "#" }, History: func(string) string { return "#" },
		}, func(results.Run) bool { return false }); err != nil {
			t.Fatal(err)
		}
		if err := report.WriteRuns(&text, []results.Run{run}); err != nil {
			t.Fatal(err)
		}
		views := map[string]string{"list": list.String(), "runs": text.String()}
		metrics := render(t, "prometheus", run, records, report.Options{})
		if is := strings.Contains(metrics, `stackmeter_run_passed{scenario="quickstart"} 0`); is != (want != "passed" && want != "ok") {
			t.Errorf("of a run that is %s the metrics say that it has not passed: %v", want, is)
		}
		for _, format := range []string{"table", "markdown", "html", "summary", "junit"} {
			views[format] = strings.Join(strings.Fields(render(t, format, run, records, report.Options{Width: 300})), " ")
		}
		for view, said := range views {
			if _, body, is := strings.Cut(said, "<body>"); is {
				said = body
			}
			plain := strings.NewReplacer("**", "", "\\", "").Replace(html.UnescapeString(said))
			word, by, _ := strings.Cut(want, ": ")
			if view == "summary" {
				by = words.Capital(by + " ")
			}
			if !strings.Contains(plain, word) || !strings.Contains(plain, strings.TrimSpace(by)) {
				t.Errorf("%s does not say %q:\n%s", view, want, plain[:min(len(plain), 3000)])
			}
			if run.Verdict != results.VerdictPassed && regexp.MustCompile(`\bpassed\b`).MatchString(plain) && view != "junit" {
				t.Errorf("%s says passed of %s", view, want)
			}
			if view == "list" && !strings.Contains(plain, "[gold]") {
				t.Error("the list has no tags")
			}
			if view == "html" && (regexp.MustCompile(`class="status (\w+)"`).FindStringSubmatch(said)[1] == "ok") != (want == "passed" || want == "ok") {
				t.Errorf("the page of a run that is %s has the colour of another one", want)
			}
		}
	}
}

func TestComparisonGolden(t *testing.T) {
	run, records := gateRun(t)
	five := func(by float64) []results.Record {
		var made []results.Record
		for i := range 5 {
			made = append(made, measured(flask, single, i+1, by*(10+float64(i)/10), 400), measured(flask, mt5, i+1, 5+float64(i)/10, 500))
		}
		return made
	}
	base := sampleRun()
	base.ID = "20261122-081500-0001"
	for name, c := range map[string]verdict.Comparison{
		"repeats": verdict.CompareRuns(base, run, slower(records, 0.5)[:6], records),
		"five":    verdict.CompareRuns(base, run, five(1), five(1.1)),
	} {
		for _, format := range slices.DeleteFunc(pages.ComparisonFormats(verdict.Comparison{}, nil).Names(), func(f string) bool { return f == "html" }) {
			t.Run(name+"/"+format, func(t *testing.T) {
				var b bytes.Buffer
				if err := pages.ComparisonFormats(c, run.Checks).Write(&b, format, report.Options{}); err != nil {
					t.Fatal(err)
				}
				golden(t, "comparison-"+name+"."+format, b.String())
			})
		}
	}
}

func TestHistoryGolden(t *testing.T) {
	duration, err := results.FindMetric(results.MetricDuration)
	if err != nil {
		t.Fatal(err)
	}
	var runs []results.Run
	var observations []results.Observation
	for night := range 30 {
		run := results.Run{ID: "night-" + strconv.Itoa(night), Started: time.Date(2026, 11, 1+night, 2, 0, 0, 0, time.UTC), GPUDevices: []gpu.Device{{Name: "A", Driver: "550"}}}
		level := 10 + float64(night*7%5)/10
		if night >= 20 {
			level, run.GPUDevices[0].Driver = level*1.1, "560"
		}
		runs = append(runs, run)
		for repeat := range 3 {
			value, steady := level+float64(repeat)/100, 5+float64(night*3%7)/10
			if night != 7 {
				observations = append(observations, results.Observation{Run: run.ID, Cell: "flask/mt10/n100", Repeat: repeat, Clean: true, Value: &value})
			}
			observations = append(observations, results.Observation{Run: run.ID, Cell: "flask/mt5/n100", Repeat: repeat, Clean: true, Value: &steady})
		}
	}
	for _, format := range slices.DeleteFunc(pages.HistoryFormats(verdict.History{}).Names(), func(f string) bool { return f == "html" }) {
		t.Run(format, func(t *testing.T) {
			var b bytes.Buffer
			if err := pages.HistoryFormats(verdict.NewHistory("nightly", duration, runs, observations)).Write(&b, format, report.Options{}); err != nil {
				t.Fatal(err)
			}
			golden(t, "history."+format, b.String())
		})
	}
}

// TestComparisonNotes: every format that has a heading says what differs of the
// machines.
func TestComparisonNotes(t *testing.T) {
	head := sampleRun()
	head.Host.Kernel = "99.1"
	_, records := repeats()
	for format, want := range map[string]string{
		"table": "note ", "markdown": "another kernel", "summary": "Another kernel", "junit": `"another kernel`, "html": "Note: another kernel", "json": `"kind": "kernel"`,
	} {
		var b bytes.Buffer
		if err := pages.ComparisonFormats(verdict.CompareRuns(sampleRun(), head, records, records), nil).Write(&b, format, report.Options{}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) || !strings.Contains(b.String(), "99.1") {
			t.Errorf("%s does not say %q", format, want)
		}
	}
}

// TestHistoryTooShort: nights that cannot show a step are said to be too few.
func TestHistoryTooShort(t *testing.T) {
	duration, err := results.FindMetric(results.MetricDuration)
	if err != nil {
		t.Fatal(err)
	}
	var runs []results.Run
	var observations []results.Observation
	for night := range stats.StepRuns {
		value := 10.0
		runs = append(runs, results.Run{ID: strconv.Itoa(night)})
		observations = append(observations, results.Observation{Run: strconv.Itoa(night), Cell: "a", Repeat: 1, Clean: true, Value: &value})
		var b bytes.Buffer
		if err := pages.HistoryFormats(verdict.NewHistory("nightly", duration, runs, observations)).Write(&b, "markdown", report.Options{}); err != nil {
			t.Fatal(err)
		}
		few := strings.Contains(b.String(), "Too few runs to show any step: it takes 13")
		if want := night+1 < stats.StepRuns; few != want {
			t.Errorf("%d runs, said to be too few: %v", night+1, few)
		}
	}
}

func TestJUnitIsXML(t *testing.T) {
	run, records := hostile()
	run.Checks = []results.Check{{Threshold: "p99 < 2s]]>", Cell: "\x1b<a>", Status: results.CheckBroken}}
	run.Verdict, run.Against = results.VerdictRefused, "night-1"
	var read struct {
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Suites   []struct {
			Cases []struct {
				Name  string `xml:"name,attr"`
				Error struct {
					Type string `xml:"type,attr"`
				} `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(render(t, "junit", run, records, report.Options{})), &read); err != nil {
		t.Fatal(err)
	}
	if read.Failures != 1 || read.Errors != 2 || len(read.Suites) != 1 || len(read.Suites[0].Cases) != 4 {
		t.Fatalf("read back %+v", read)
	}
	if last := read.Suites[0].Cases[3]; last.Name != "is comparable with run night-1" || last.Error.Type != results.VerdictRefused {
		t.Errorf("of the refused comparison it says %+v", last)
	}
}

// TestPrometheusFormat holds each line to the grammar, and each family to one
// HELP and TYPE before its lines.
func TestPrometheusFormat(t *testing.T) {
	line := regexp.MustCompile(`^([a-z][a-z0-9_]*)\{(?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+\} (-?[0-9.e+-]+)$`)
	for _, records := range [][]results.Record{func() []results.Record { _, r := gateRun(t); return r }(), func() []results.Record { _, r := hostile(); return r }()} {
		run, _ := gateRun(t)
		run.Scenario = "a\"b\\c\nd"
		family, seen := "", map[string]bool{}
		for l := range strings.Lines(render(t, "prometheus", run, records, report.Options{})) {
			l = strings.TrimSuffix(l, "\n")
			fields := strings.Fields(l)
			switch {
			case strings.HasPrefix(l, "# HELP "):
				family = fields[2]
				if seen[family] {
					t.Errorf("family %s is there twice", family)
				}
				seen[family] = true
			case strings.HasPrefix(l, "# TYPE "):
				if fields[2] != family || fields[3] != "gauge" {
					t.Errorf("type of another family: %s", l)
				}
			default:
				parts := line.FindStringSubmatch(l)
				if parts == nil || parts[1] != family || seen[l] {
					t.Errorf("not a line of family %s: %s", family, l)
				}
				seen[l] = true
			}
		}
		if len(seen) < 5 {
			t.Errorf("only %d lines", len(seen))
		}
	}
}

// TestReadBack: what is written as JSON and read gives the same report again.
func TestReadBack(t *testing.T) {
	run, records := gateRun(t)
	latency := new(load.Latency)
	for i := range 40 {
		latency.Record(time.Duration(i+1) * 13 * time.Millisecond)
	}
	records[0].Latency = latency
	first := render(t, "json", run, records, report.Options{})
	all, err := exchange.Read("x.json", []byte(first), "")
	if err != nil {
		t.Fatal(err)
	}
	again := render(t, "json", all[0].Run, all[0].Records, report.Options{})
	if again != first {
		t.Errorf("read back, it is another report:\n%s", again)
	}
	for _, c := range verdict.CompareRuns(run, all[0].Run, records, all[0].Records).Cells {
		for _, change := range c.Changes {
			if change.Difference.Change == nil || *change.Difference.Change != 0 {
				t.Errorf("%s: %s changed by being read", c.Name, change.Metric.Name)
			}
		}
	}
	csv, err := exchange.Read("x.csv", []byte(render(t, "csv", run, records, report.Options{})), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(csv) != 1 || len(csv[0].Records) != len(records) {
		t.Fatalf("%d runs", len(csv))
	}
	for i, r := range csv[0].Records {
		if r.Key() != records[i].Key() || (r.Duration == nil) != (records[i].Duration == nil) || r.Duration != nil && *r.Duration != *records[i].Duration {
			t.Errorf("record %d of the CSV is %+v", i, r.Key())
		}
	}
}

// TestImportPublished prints the seven tables of the published experiment and
// its conclusion from the file of its figures, and finds every figure of the
// file in what is printed.
func TestImportPublished(t *testing.T) {
	data, err := os.ReadFile("testdata/published.csv")
	if err != nil {
		t.Fatal(err)
	}
	all, err := exchange.Read("testdata/published.csv", data, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 7 {
		t.Fatalf("%d tables, want 7", len(all))
	}
	figures := 0
	var b strings.Builder
	for _, one := range all {
		csv := render(t, "csv", one.Run, one.Records, report.Options{})
		for _, r := range one.Records {
			if r.Duration != nil && !strings.Contains(csv, strconv.FormatFloat(*r.Duration, 'f', -1, 64)) {
				t.Errorf("%s: %v is not in the CSV", r.Cell.Name, *r.Duration)
			}
			figures++
		}
		text := render(t, "table", one.Run, one.Records, report.Options{})
		for _, r := range one.Records {
			// A table rounds to what its figures have in common; the CSV does not.
			if r.Duration != nil && !slices.ContainsFunc([]int{2, 3, 4}, func(decimals int) bool {
				return strings.Contains(text, strconv.FormatFloat(*r.Duration, 'f', decimals, 64)+" s")
			}) {
				t.Errorf("table %s does not print %v", one.Run.Scenario, *r.Duration)
			}
			if r.GPU.Peak != nil && !strings.Contains(text, strconv.FormatInt(*r.GPU.Peak>>20, 10)+" MiB") {
				t.Errorf("table %s does not print %d MiB", one.Run.Scenario, *r.GPU.Peak>>20)
			}
		}
		if !strings.Contains(text, "imported") {
			t.Errorf("table %s does not say that it was imported", one.Run.Scenario)
		}
		b.WriteString(text + "\n")
	}
	if figures != strings.Count(string(data), "\n")-1 {
		t.Errorf("%d rows, and the file has %d", figures, strings.Count(string(data), "\n")-1)
	}
	last := render(t, "table", all[6].Run, all[6].Records, report.Options{})
	for _, published := range []string{"10.82 s", "63.47%", "11.10 s", "62.50%", "11.54 s", "61.02%", "3137 MiB", "4481 MiB", "4824 MiB"} {
		if !strings.Contains(last, published) {
			t.Errorf("the conclusion does not print %s:\n%s", published, last)
		}
	}
	golden(t, "published.table", b.String())
}

func TestReadRefuses(t *testing.T) {
	const head = "table,files,server,workers,threads,nginx,client,pool,duration_s,gpu_memory_mib\n"
	for _, test := range []struct{ name, text, want string }{
		{"empty", "", "x:1: empty"},
		{"no rows", head, "x:2: no rows"},
		{"unknown column", "table,speed\n1,2\n", `x:1: there is no column "speed"`},
		{"column twice", "table,table\n", "x:1: column \"table\" is there twice"},
		{"missing column", strings.Replace(head, ",pool", "", 1), "x:1: the column pool is missing"},
		{"too few fields", head + "1,2\n", "x: record on line 2: wrong number of fields"},
		{"no number", head + "1,1,flask,,,no,single,1,fast,\n", `x:2: duration_s cannot be "fast"`},
		{"negative", head + "1,1,flask,,,no,single,1,1.5,\n1,1,flask,,,no,single,1,-1,\n", `x:3: duration_s cannot be "-1"`},
		{"not finite", head + "1,1,flask,,,no,single,1,NaN,\n", `x:2: duration_s cannot be "NaN"`},
		{"client", head + "1,1,flask,,,no,many,1,1,\n", `x:2: client cannot be "many": there is single, mp and mt`},
		{"nginx", head + "1,1,flask,,,maybe,single,1,1,\n", `x:2: nginx cannot be "maybe"`},
		{"no figure", head + "1,1,flask,,,no,single,1,,\n", "x:2: duration_s cannot be \"\": a row needs a duration or a memory"},
		{"hostile name", head + "1,1,\"=cmd|' /c\x1b[2J\",,,no,single,1,1,\n", `x:2: server cannot be`},
		{"files", head + "1,0,flask,,,no,single,1,1,\n", `x:2: files cannot be "0"`},
		{"JSON of something else", "{\"a\": 1}", "x: not a result of stackmeter"},
		{"broken JSON", "{\n\"schema\": 1,\n}", "x:3: not a result of stackmeter"},
		{"newer JSON", `{"schema": 2, "run": {"id": "a"}}`, "schema 1"},
		{"JSON without a cell's name", `{"schema": 1, "run": {"id": "a"}, "cells": [{"repeat": 1}]}`, "x: cells[0]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			all, err := exchange.Read("x", []byte(test.text), "")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, %v; want %q", all, err, test.want)
			}
		})
	}
	if _, err := exchange.Read("x", []byte(head+"1,1,flask,,,no,single,1,1,\n"), "2"); err == nil || !strings.Contains(err.Error(), `no table "2"; there are 1`) {
		t.Errorf("a table that is not there: %v", err)
	}
}

// TestAttackImpossible: figures that cannot be are refused, with their place, in
// JSON and in CSV, those included that the record has no room for.
func TestAttackImpossible(t *testing.T) {
	run, records := gateRun(t)
	records = records[:1]
	records[0].Latency = new(load.Latency)
	for i := range records[0].Replies {
		records[0].Latency.Record(time.Duration(i+1) * time.Millisecond)
	}
	text := map[string]string{"json": render(t, "json", run, records, report.Options{}), "csv": render(t, "csv", run, records, report.Options{})}
	columns := strings.Split(strings.Split(text["csv"], "\n")[0], ",")
	for _, test := range []struct{ column, path, value, want string }{
		{"errors", "errors", "-3", "below 0|not below 0"},
		{"errors", "errors", "1", "there were 40 requests"},
		{"duration_s", "duration_s", "0", "duration_s is 0"},
		{"duration_s", "duration_s", "1e308", "more than can be measured"},
		{"latency_p99_s", "latency_s.p99", "-1", "below 0"},
		{"latency_p99_s", "metrics.p99", "-1", "below 0"},
		{"latency_min_s", "latency_s.min", "5", "the first cannot be above the second"},
		{"latency_p50_s", "metrics.p50", "0.0395", "the first cannot be above the second"},
		{"latency_mean_s", "latency_s.mean", "7", "the first cannot be above the second"},
		{"memory_peak_bytes", "memory.stack_peak_mib", "1e300", "more than can be measured|below 0"},
	} {
		var whole map[string]any
		if err := json.Unmarshal([]byte(text["json"]), &whole); err != nil {
			t.Fatal(err)
		}
		at := whole["cells"].([]any)[0].(map[string]any)
		keys := strings.Split(test.path, ".")
		for _, key := range keys[:len(keys)-1] {
			at = at[key].(map[string]any)
		}
		at[keys[len(keys)-1]] = json.Number(test.value)
		changed, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		rows := strings.Split(text["csv"], "\n")
		fields := strings.Split(rows[1], ",")
		fields[slices.Index(columns, test.column)] = test.value
		rows[1] = strings.Join(fields, ",")
		for place, data := range map[string]string{"x: cells[0] (flask/single/n40, repeat 1): ": string(changed), "x:2: ": strings.Join(rows, "\n")} {
			_, err := exchange.Read("x", []byte(data), "")
			if err == nil || !strings.HasPrefix(err.Error(), place) || !regexp.MustCompile(test.want).MatchString(err.Error()) {
				t.Errorf("%s = %s: %v; want %s…%s", test.path, test.value, err, place, test.want)
			}
		}
	}
	for format, data := range text {
		if _, err := exchange.Read("x", []byte(data), ""); err != nil {
			t.Errorf("%s as it was: %v", format, err)
		}
	}
}

// FuzzRead: no file makes it panic, and what is read can be reported and, as
// JSON, read again.
func FuzzRead(f *testing.F) {
	published, err := os.ReadFile("testdata/published.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(published)
	for _, name := range []string{"repeats.json", "repeats.csv", "gate.prometheus"} {
		data, err := os.ReadFile("testdata/" + name + ".golden")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := exchange.Read("x", data, "")
		if err != nil {
			return
		}
		for _, one := range all {
			var b bytes.Buffer
			if err := pages.Formats(one.Run, one.Records).Write(&b, "json", report.Options{}); err != nil {
				continue // a time that JSON cannot write
			}
			again, err := exchange.Read("x", b.Bytes(), "")
			if err != nil || len(again) != 1 || len(again[0].Records) != len(one.Records) {
				t.Fatalf("read again: %v", err)
			}
			for _, format := range []string{"table", "csv", "junit", "prometheus", "summary"} { // the page is slow to make
				if err := pages.Formats(one.Run, one.Records).Write(&bytes.Buffer{}, format, report.Options{}); err != nil {
					t.Fatalf("%s: %v", format, err)
				}
			}
		}
	})
}

// TestComparisonSaysErrors: every format says what became of the repeats and of
// the errors, and that nothing was compared.
func TestComparisonSaysErrors(t *testing.T) {
	var before, after []results.Record
	for repeat := 1; repeat <= 5; repeat++ {
		before = append(before, measured(flask, single, repeat, 10+float64(repeat)/10, 400), measured(flask, mt5, repeat, 5, 500))
		erring := measured(flask, single, repeat, 1+float64(repeat)/10, 400)
		erring.Errors, erring.Replies = 8, erring.Replies-8
		failed := record(flask, mt5, repeat)
		failed.Status, failed.Reason = results.StatusFailed, "never ready"
		after = append(after, erring, failed)
	}
	before[1].Status = results.StatusFailed
	c := verdict.CompareRuns(sampleRun(), sampleRun(), before, after)
	for format, wants := range map[string][]string{
		"table":    {"newly erring (repeats ok: 5 of 5, then 5 of 5; errors: 0, then 40)", "newly failing (repeats ok: 4 of 5, then 0 of 5;", "1 cell not compared"},
		"markdown": {"newly erring (repeats ok: 5 of 5, then 5 of 5; errors: 0, then 40)", "1 cell not compared"},
		"html":     {"newly erring (repeats ok: 5 of 5, then 5 of 5; errors: 0, then 40)", "not compared: a side has no repeat without errors"},
		"summary":  {"**failed**", "newly erring (repeats ok: 5 of 5, then 5 of 5; errors: 0, then 40)"},
		"junit":    {`<failure message="newly erring (repeats ok: 5 of 5, then 5 of 5; errors: 0, then 40)`, `type="newly erring">`},
		"json":     {`"errors": 40`, `"erring": true`, `"state": "newly erring"`},
		"csv":      {",newly erring,duration,s,10.3,1.3,,,,,5,5,false,,,5,0,0,,5,0,40,"},
	} {
		var b bytes.Buffer
		if err := pages.ComparisonFormats(c, nil).Write(&b, format, report.Options{Width: 200}); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s does not say %q", format, want)
			}
		}
		if regexp.MustCompile(`[-−]8\d\.\d%`).MatchString(b.String()) {
			t.Errorf("%s says that errors are faster", format)
		}
	}
}

// TestDoubtsAreSaid: a flag that voids what a cell is chosen or compared by
// stands beside it, with what it means, in every format.
func TestDoubtsAreSaid(t *testing.T) {
	var before, after []results.Record
	for repeat := 1; repeat <= 5; repeat++ {
		fast := measured(flask, single, repeat, 1+float64(repeat)/100, 400)
		before = append(before, fast, measured(flask, mt5, repeat, 5, 500))
		fast.Flags = []string{load.FlagClientBound, results.FlagInherited, results.FlagUnverified}
		after = append(after, fast, measured(flask, mt5, repeat, 5, 500))
	}
	const meaning = "client-bound: the client used nearly all the CPU"
	c := verdict.CompareRuns(sampleRun(), sampleRun(), before, after)
	doubt := "In doubt, flask/single/n40: duration (client-bound), throughput (client-bound), peak memory (inherited) in the head."
	for format, wants := range map[string][]string{
		"table": {doubt, meaning}, "markdown": {doubt, meaning}, "html": {doubt, meaning}, "summary": {doubt},
		"junit": {"flags of the head: client-bound, inherited, unverified"},
		"json":  {`"doubts": {`, `"unverified"`}, "csv": {",client-bound inherited unverified,"},
	} {
		var b bytes.Buffer
		if err := pages.ComparisonFormats(c, nil).Write(&b, format, report.Options{Width: 400}); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(b.String(), want) {
				t.Errorf("compare, %s does not say %q", format, want)
			}
		}
	}
	goal, err := verdict.NewGoal(scenarios.Recommend{Objective: "duration"})
	if err != nil {
		t.Fatal(err)
	}
	doubt = "In doubt, the best, flask/single: duration (client-bound), peak memory (inherited)."
	for format, wants := range map[string][]string{"text": {doubt, "flask/single [a,b,c]", meaning}, "markdown": {doubt, meaning}, "json": {`"doubts": {`, `"unverified"`}} {
		var b bytes.Buffer
		if err := pages.RecommendFormats(sampleRun(), verdict.Recommend(verdict.Summarise(after), nil, goal)).Write(&b, format, report.Options{Width: 400}); err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(b.String(), want) {
				t.Errorf("recommend, %s does not say %q:\n%s", format, want, b.String())
			}
		}
	}
	if page := render(t, "html", sampleRun(), after, report.Options{}); !strings.Contains(page, doubt) {
		t.Errorf("the page of the run does not say %q", doubt)
	}
}

// TestReadOlderResult: a file that does not say how many cells were planned has a
// plan that does.
func TestReadOlderResult(t *testing.T) {
	s, err := scenarios.Loader{}.Parse("test.yaml", []byte(`
name: test
app: {image: example/app}
topologies: [{name: a, command: [a]}, {name: b, command: [b]}]
matrix: {requests: [10], client: [single]}
`))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := exchange.WriteJSON(&b, results.Run{ID: "1", Scenario: "test", Plan: s.Plan()}, nil); err != nil {
		t.Fatal(err)
	}
	older := strings.Replace(b.String(), `"planned": 0,`, "", 1)
	all, err := exchange.Read("older.json", []byte(older), "")
	if err != nil || len(all) != 1 || all[0].Run.Planned != 2 {
		t.Errorf("read %+v, %v", all, err)
	}
}
