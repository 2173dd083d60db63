package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/scenarios/goals"
)

// searching is a search that ended with its time, for a closed loop and for a rate: one
// candidate is the answer, one is slower, one is as good, one is over the budget of memory,
// one is larger than that, one failed and one was never started.
func searching() (results.Run, []results.Record) {
	run := sampleRun()
	run.Plan.Fresh, run.Plan.Repeats, run.Planned = scenarios.FreshRun, 6, 0
	run.Plan.Search = &goals.Search{
		Recommend: goals.Recommend{Objective: results.MetricDuration, Under: map[string]string{results.MetricMemoryPeak: "600MiB", "p99": "2s"}},
		Within:    0.02, Confidence: 0.95, Time: 3 * time.Minute,
	}
	run.Spent = map[string]float64{results.PhaseMeasure: 140, results.PhaseStart: 12, results.PhaseReady: 15, results.PhaseWarmup: 6, results.PhaseStop: 4}
	closed := scenarios.LoadSpec{Requests: 400, Client: scenarios.ClientMT, Pool: 4}
	rate := scenarios.LoadSpec{Requests: 200, Client: scenarios.ClientOpen, Pool: scenarios.OpenPool, Rate: 20}
	var records []results.Record
	at := 0
	add := func(t scenarios.Topology, sent scenarios.LoadSpec, round int, seconds float64, mib int64) *results.Record {
		at++
		r := record(t, sent, round)
		r.Started, r.Start = r.Started.Add(time.Duration(at)*time.Second), 1
		if seconds > 0 {
			r.Duration = &seconds
		}
		switch {
		case seconds == 0:
		case mib > 0:
			peak := mib << 20
			r.Memory = results.Memory{Method: "cgroup v2", Peak: &peak, Samples: 90}
		default:
			r.Memory.Reason = results.LaterRound
		}
		for range r.Replies {
			if seconds == 0 {
				break
			}
			if r.Latency == nil {
				r.Latency = new(load.Latency)
			}
			r.Latency.Record(time.Duration(seconds / float64(r.Replies) * 4 * float64(time.Second)))
		}
		records = append(records, r)
		return &records[len(records)-1]
	}
	for i, c := range []struct {
		name             string
		workers, threads int
		seconds          float64 // of the whole closed loop
		mib              int64
	}{
		{"flask", 0, 0, 12, 300}, {"gunicorn-w1-t4", 1, 4, 6.06, 310}, {"gunicorn-w2-t2", 2, 2, 6, 500},
		{"gunicorn-w4-t1", 4, 1, 5, 900}, {"gunicorn-w8-t1", 8, 1, 0, 0}, {"uwsgi-w1-t4", 1, 4, 0, 0}, {"waitress-t4", 0, 4, 0, 0},
	} {
		t := scenarios.Topology{Name: c.name, Server: strings.Split(c.name, "-")[0], Workers: c.workers, Threads: c.threads}
		trial := scenarios.Trial{Topology: t, Repeat: 1}
		for _, spec := range []scenarios.LoadSpec{closed, rate} {
			trial.Cells = append(trial.Cells, scenarios.Cell{Name: c.name + "/" + spec.Name(), Repeat: 1, Load: spec})
		}
		run.Plan.Trials, run.Plan.Listed = append(run.Plan.Trials, trial), append(run.Plan.Listed, c.name)
		switch c.name {
		case "gunicorn-w8-t1":
			for _, spec := range []scenarios.LoadSpec{closed, rate} {
				r := add(t, spec, 1, 0, 0)
				r.Status, r.Reason, r.Replies = results.StatusPruned, "not started: gunicorn-w4-t1, which is smaller, is over the budget memory_peak 600MiB", 0
			}
		case "uwsgi-w1-t4":
			for _, spec := range []scenarios.LoadSpec{closed, rate} {
				r := add(t, spec, 1, 0, 0)
				r.Status, r.Reason, r.LogTail, r.Replies = results.StatusFailed, "never ready within 30s: connection refused", "app | no module named wsgi\n", 0
			}
		case "waitress-t4":
		default:
			add(t, closed.Short(40), 1, c.seconds/10*(1+0.001*float64(i)), c.mib)
			add(t, rate, 1, 10, c.mib)
			rounds := map[string]int{"flask": 7, "gunicorn-w1-t4": 11, "gunicorn-w2-t2": 11}[c.name]
			for round := 2; round <= rounds; round++ {
				spec, seconds := closed.Short(40), c.seconds/10
				if round > 7 {
					spec, seconds = closed, c.seconds
				}
				noise := 1 + 0.004*float64((round*7+i*3)%5-2)
				add(t, spec, round, seconds*noise, 0)
				if round <= 3 {
					add(t, rate, round, 10, 0)
				}
			}
		}
	}
	add(run.Plan.Trials[2].Topology, closed, 12, 6.01, 505).Start = 2 // the answer to the end, on a new start
	run.Planned = len(records)
	run.Answers = words.SearchOf(run, records).Answers
	run.Counts = new(run.Count(records))
	return run, records
}

// TestSearchGolden: what a search found, in each format. In a terminal the answers are the
// last thing, and fit one of 80 columns and 24 lines.
func TestSearchGolden(t *testing.T) {
	run, records := searching()
	for _, format := range pages.Formats(run, records).Names() {
		if format == "html" || format == "json" {
			continue // the one has styles and scripts, the other each histogram; what it says of the search is below
		}
		opts := report.Options{}
		if format == "table" {
			opts.Width = 80
		}
		golden(t, "search."+format, render(t, format, run, records, opts))
	}
	for _, format := range pages.FoundFormats(run, records, 100).Names() {
		var b bytes.Buffer
		if err := pages.FoundFormats(run, records, 100).Write(&b, format, report.Options{Width: 80}); err != nil {
			t.Fatal(err)
		}
		golden(t, "searchfor100."+format, b.String())
	}
	ending := report.Printed("table", func() report.Document { return report.NewEnding(run, records, nil) })
	var b bytes.Buffer
	if err := ending.Write(&b, "table", report.Options{Width: 80}); err != nil {
		t.Fatal(err)
	}
	golden(t, "searchending.table", b.String())
	_, last, _ := strings.Cut(b.String(), "\nDeploy ")
	if n := strings.Count(last, "\n"); n == 0 || n > 22 {
		t.Errorf("the answer takes %d lines:\n%s", n, last)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	page := plainly(render(t, "html", run, records, report.Options{}))
	for i, answer := range run.Answers {
		why := words.Capital(answer.Why)
		if !strings.Contains(page, why) {
			t.Errorf("the page does not say of load %d: %s", i, why)
		}
	}
	for _, state := range []string{"answer", "left", "over-budget", "closed", "failed", "waiting"} {
		if !strings.Contains(page, ">"+state+"<") {
			t.Errorf("no candidate is %s in the page", state)
		}
	}
	var whole, found struct{ Search json.RawMessage }
	b.Reset()
	if err := pages.FoundFormats(run, records, 0).Write(&b, "json", report.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(json.Unmarshal(b.Bytes(), &found), json.Unmarshal([]byte(render(t, "json", run, records, report.Options{})), &whole)); err != nil || len(whole.Search) == 0 || string(whole.Search) != string(found.Search) {
		t.Errorf("%v: the result and the answers say different things of the search:\n%s\n%s", err, whole.Search, found.Search)
	}
}

// TestSearchOfOneMeasured: an answer beside which nothing was measured is not sure, however
// little is left to find out about it.
func TestSearchOfOneMeasured(t *testing.T) {
	run, _ := searching()
	closed, t4 := run.Plan.Trials[1].Cells[0].Load, run.Plan.Trials[1].Topology
	var records []results.Record
	for round := 1; round <= 2; round++ {
		r := measured(t4, closed, round, 6, 310)
		r.Start = round
		records = append(records, r)
	}
	found := words.SearchOf(run, records)
	answer := found.Answers[0]
	if answer.Topology != t4.Name || answer.Decided || answer.Sure != 0 || !strings.HasPrefix(answer.Why, "the time was up: it is the only one that was measured; ") {
		t.Errorf("%+v", answer)
	}
	run.Answers = found.Answers[:1]
	if said := words.StandingOf(run, nil).String(); !strings.Contains(said, "gunicorn-w1-t4 at mt4/n400, far from sure, as the time was up") {
		t.Errorf("%s", said)
	}
}
