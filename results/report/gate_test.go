package report_test

import (
	"bytes"
	"encoding/xml"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/stats"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/history"
	"stackmeter/scenarios"
	"stackmeter/scenarios/goals"
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
	records[0].Latency = new(load.Latency)
	for i := range records[0].Replies {
		records[0].Latency.Record(time.Duration(i+1) * time.Millisecond)
	}
	for _, format := range []string{"junit", "prometheus", "summary", "json", "csv"} {
		t.Run(format, func(t *testing.T) { golden(t, "gate."+format, render(t, format, run, records, report.Options{})) })
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
	for _, format := range slices.DeleteFunc(pages.HistoryFormats(nil).Names(), func(f string) bool { return f == "html" }) {
		t.Run(format, func(t *testing.T) {
			var b bytes.Buffer
			if err := pages.HistoryFormats([]history.History{history.New("nightly", duration, runs, observations)}).Write(&b, format, report.Options{}); err != nil {
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
	for night := range stats.FewestForSteps {
		value := 10.0
		runs = append(runs, results.Run{ID: strconv.Itoa(night)})
		observations = append(observations, results.Observation{Run: strconv.Itoa(night), Cell: "a", Repeat: 1, Clean: true, Value: &value})
		var b bytes.Buffer
		if err := pages.HistoryFormats([]history.History{history.New("nightly", duration, runs, observations)}).Write(&b, "markdown", report.Options{}); err != nil {
			t.Fatal(err)
		}
		few := strings.Contains(b.String(), "Too few runs to show any step: it takes 8")
		if want := night+1 < stats.FewestForSteps; few != want {
			t.Errorf("%d runs, said to be too few: %v", night+1, few)
		}
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
	goal, err := verdict.NewGoal(goals.Recommend{Objective: "duration"})
	if err != nil {
		t.Fatal(err)
	}
	doubt = "In doubt, the best, flask/single: duration (client-bound), peak memory (inherited)."
	for format, wants := range map[string][]string{"text": {doubt, "flask [a,b,c]", meaning}, "markdown": {doubt, meaning}, "json": {`"doubts": {`, `"unverified"`}} {
		var b bytes.Buffer
		if err := pages.RecommendFormats(sampleRun(), verdict.Recommend(verdict.Summarise(after), scenarios.Plan{}, goal), 0).Write(&b, format, report.Options{Width: 400}); err != nil {
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

func TestJUnitIsXML(t *testing.T) {
	run, records := hostile()
	run.Checks = []results.Check{{Threshold: "p99 < 2s]]>", Cell: "\x1b<a>", Status: results.CheckBroken}}
	run.Verdict, run.Against = results.VerdictRefused, "night-1"
	var read struct {
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
		Suites   []struct {
			Cases []struct {
				Name    string `xml:"name,attr"`
				Failure struct {
					Type string `xml:"type,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(render(t, "junit", run, records, report.Options{})), &read); err != nil {
		t.Fatal(err)
	}
	if read.Failures != 2 || read.Errors != 1 || len(read.Suites) != 1 || len(read.Suites[0].Cases) != 4 {
		t.Fatalf("read back %+v", read)
	}
	if first := read.Suites[0].Cases[0]; first.Name != "verdict" || first.Failure.Type != results.VerdictRefused {
		t.Errorf("of the refused comparison it says %+v", first)
	}
}
