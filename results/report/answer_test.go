package report_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/scenarios/goals"
)

// nine is a run of nine topologies under five loads, with six repeats each: nginx with
// four threads is the fastest under all but single, where flask is.
func nine(fresh float64) (results.Run, []results.Record) {
	run := sampleRun()
	run.Plan.Repeats = 6
	var records []results.Record
	for n, name := range []string{"flask", "t1", "t2", "t4", "t6", "t8", "t10", "w2", "w4"} {
		topology := flask
		if n > 0 {
			topology = scenarios.Topology{Name: "nginx+gunicorn-w1-" + name, Server: "gunicorn", Workers: 1, Threads: n}
			topology.SetAxes(true, nil)
		}
		for l, pool := range []int{1, 2, 5, 10, 20} {
			load := scenarios.LoadSpec{Requests: 40, Client: scenarios.ClientMT, Pool: pool}
			if pool == 1 {
				load.Client = scenarios.ClientSingle
			}
			for repeat := 1; repeat <= 6; repeat++ {
				duration := 4 + float64((n-3)*(n-3))*0.3 + float64(l) + float64(repeat)*0.01
				if n == 0 && pool == 1 {
					duration = 2
				}
				records = append(records, measured(topology, load, repeat, duration*fresh, int64(300+20*n)))
			}
		}
	}
	return run, records
}

// TestAnswerFitsATerminal: a run ends with its answer, in at most 24 lines of 80 columns
// for nine topologies, and none of its lines is said twice.
func TestAnswerFitsATerminal(t *testing.T) {
	run, records := nine(1)
	got := render(t, "table", run, records, report.Options{Width: 80})
	_, block, found := strings.Cut(got, "\nDeploy ")
	if !found {
		t.Fatalf("no answer in %s", got)
	}
	block = "Deploy " + block
	if n := strings.Count(block, "\n"); n > 24 {
		t.Errorf("%d lines:\n%s", n, block)
	}
	for line := range strings.Lines(block) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range []string{
		"Deploy   flask (Flask's own server)", "single: ",
		"nginx+gunicorn-w1-t4 (nginx in front of gunicorn, 1 worker process with", "mt10: ",
		"less time than flask, for 60.0 MiB", "Next     stackmeter export 20261123-081500-7f3a --load mt2 -o compose.yaml\n", "\n         stackmeter report ",
	} {
		if !strings.Contains(block, want) {
			t.Errorf("no %q in\n%s", want, block)
		}
	}
	golden(t, "answer.table", block)
}

// TestAnswerEverywhere: what is to be deployed is the same text in every format that
// people read.
func TestAnswerEverywhere(t *testing.T) {
	run, records := nine(1)
	run.Counts = new(run.Count(records))
	for _, fact := range report.Answer(run, verdict.Summarise(records), nil) {
		for _, format := range []string{"table", "markdown", "html"} {
			if format == "html" && fact.Label == "Next" {
				continue // who is sent a page has no terminal
			}
			got := strings.Join(strings.Fields(strings.NewReplacer("&#39;", "'", "&#43;", "+", "\\", "").Replace(render(t, format, run, records, report.Options{Width: 10000}))), " ")
			if want := strings.Join(strings.Fields(fact.Text), " "); !strings.Contains(got, want) {
				t.Errorf("%s: %q is not there", format, want)
			}
		}
	}
}

// TestAnswerDoubts: what makes an answer doubtful is in it, and what is not known is
// not said as a figure.
func TestAnswerDoubts(t *testing.T) {
	answer := func(change func(*results.Run, []results.Record) []results.Record) string {
		run, records := nine(1)
		records = change(&run, records)
		run.Counts = new(run.Count(records))
		return fmt.Sprint(report.Answer(run, verdict.Summarise(records), nil))
	}
	for name, test := range map[string]struct {
		change func(*results.Run, []results.Record) []results.Record
		want   string
	}{
		"few repeats": {func(_ *results.Run, all []results.Record) []results.Record {
			var first []results.Record
			for _, r := range all {
				if r.Cell.Repeat == 1 {
					first = append(first, r)
				}
			}
			return first
		}, "1 repeat: too few to show any difference, which takes 4"},
		"a busy machine": {func(run *results.Run, all []results.Record) []results.Record {
			run.Host.Cores = 2
			for i := range all {
				all[i].CPU.Machine, all[i].CPU.Stack, all[i].CPU.Client = new(1.8**all[i].Duration), new(0.4**all[i].Duration), new(0.1**all[i].Duration)
			}
			return all
		}, "other programs used 1.3 of 2 cores meanwhile"},
		"no memory": {func(_ *results.Run, all []results.Record) []results.Record {
			for i := range all {
				all[i].Memory.Peak = nil
			}
			return all
		}, "its memory is not known"},
		"imported": {func(run *results.Run, all []results.Record) []results.Record {
			run.Imported = "x.csv"
			return all
		}, "imported from x.csv"},
		"failed": {func(run *results.Run, all []results.Record) []results.Record {
			all[0].Status, all[0].Reason = results.StatusFailed, "killed"
			run.Outcome = results.OutcomeFailed
			return all
		}, "Verdict failed: 1 cell failed"},
		"over a budget": {func(run *results.Run, all []results.Record) []results.Record {
			run.Plan.Recommend = &goals.Recommend{Objective: results.MetricDuration, Under: map[string]string{results.MetricMemoryPeak: "1MiB"}}
			return all
		}, "single: nothing fits"},
	} {
		if got := answer(test.change); !strings.Contains(got, test.want) {
			t.Errorf("%s: no %q in %s", name, test.want, got)
		}
	}
}

// TestAnswerChange: a run that was held against another one says which figure changed
// the most, by how much and whether that is good, once.
func TestAnswerChange(t *testing.T) {
	const few = 15 * 6 // three topologies: of nine, six repeats show nothing
	before, old := nine(1)
	before.ID, old = "before", old[:few]
	for name, test := range map[string]struct {
		factor float64
		want   string
	}{"slower": {1.2, "worse: "}, "faster": {0.8, "better: "}, "the same": {1, "none shown, against run before"}} {
		run, records := nine(test.factor)
		records = records[:few]
		c := verdict.CompareRuns(before, run, old, records)
		doc := report.NewEnding(run, records, &c)
		change := ""
		for _, fact := range doc.Answer {
			if fact.Label == "Change" {
				change += fact.Text
			}
		}
		if !strings.HasPrefix(change, test.want) {
			t.Errorf("%s: %q, want %q", name, change, test.want)
		}
		thresholds := 0
		for _, s := range doc.Sections {
			if s.Title == "Thresholds" {
				thresholds++
			}
		}
		if thresholds > 1 {
			t.Errorf("%s: thresholds are said %d times", name, thresholds)
		}
	}
}

// TestChangeOverNights: what a gate judged over nights is what its run says of changes,
// and not what the repeats of the last two nights would say.
func TestChangeOverNights(t *testing.T) {
	over := []results.Check{
		{Threshold: "duration < base * 1.05", Cell: "all 18 cells together", Cells: 18, Nights: 7, Status: results.CheckBroken, Change: &results.CheckChange{Figure: results.MetricDuration, By: 0.031, Low: 0.022, High: 0.040}},
		{Threshold: "duration < base * 1.05", Cell: "a/mt5/n100", Nights: 7, Status: results.CheckBroken},
		{Threshold: "duration < base * 1.05", Cell: "b/mt5/n100", Nights: 7, Status: results.CheckUndecided},
		{Threshold: "duration < base * 1.05", Cell: "all 18 cells together since gold", Cells: 18, Nights: 7, Since: "gold", Status: results.CheckDrifted, Change: &results.CheckChange{Figure: results.MetricDuration, By: 0.09}},
	}
	for _, test := range []struct {
		checks []results.Check
		want   string
	}{
		{over, "all 18 cells together: 3.1% slower (2.2–4.0); 1 cell shown to be over a limit, and 1 cell undecided, against 7 nights"},
		{over[:1], "all 18 cells together: 3.1% slower (2.2–4.0); no cell is shown to be over a limit, against 7 nights"},
		{[]results.Check{{Threshold: "duration < base * 1.05", Cell: "a/mt5/n100", Status: results.CheckOK}}, "too few repeats to show any, against run  (of repeats: nights are not accounted for)"},
	} {
		if got := report.ChangeText(verdict.Comparison{}, test.checks); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
