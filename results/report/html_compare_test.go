package report_test

import (
	"bytes"
	"html"
	"strconv"
	"strings"
	"testing"
	"time"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/history"
)

// TestComparisonPage compares a run with one in which a cell became slower, one
// faster, one fails and one is gone.
func TestComparisonPage(t *testing.T) {
	base, head := sampleRun(), sampleRun()
	head.ID, head.Host.CPU = "20261124-081500-1111", "Another CPU"
	var before, after []results.Record
	for repeat := 1; repeat <= 6; repeat++ {
		noise := float64(repeat) / 100
		before = append(before, measured(flask, single, repeat, 2+noise, 400), measured(flask, mt5, repeat, 1.1+noise, 410),
			measured(gunicorn, single, repeat, 2+noise, 300), measured(nginx, mt5, repeat, 1+noise, 330))
		failed := record(gunicorn, single, repeat)
		failed.Status, failed.Reason = results.StatusFailed, "never ready"
		after = append(after, measured(flask, single, repeat, 2.4+noise, 400), measured(flask, mt5, repeat, 0.9+noise, 410), failed)
	}
	var b bytes.Buffer
	if err := pages.WriteComparisonPage(&b, verdict.CompareRuns(base, head, before, after), nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	page := html.UnescapeString(b.String())
	for _, want := range []string{
		"Of 2 cells ok in both runs, shown to be worse in a figure: 1; better: 1.", "1 cell newly failing", "1 cell gone",
		"+19.7%", "-17.6%", `class="n worse"`, `class="n better"`,
		"cpu (2 × Example CPU", "Duration before and after", "Base: 20261123-081500-7f3a",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

// TestHistoryPage shows a cell that stepped, and one that did not.
func TestHistoryPage(t *testing.T) {
	duration, err := results.FindMetric(results.MetricDuration)
	if err != nil {
		t.Fatal(err)
	}
	var runs []results.Run
	var observations []results.Observation
	for night := range 30 {
		run := results.Run{ID: "night-" + strconv.Itoa(night), Started: time.Date(2026, 11, 1+night, 2, 0, 0, 0, time.UTC)}
		stepped, steady := 10+float64(night*7%5)/10, 5+float64(night*3%7)/10
		if night >= 20 {
			stepped *= 1.1
		}
		runs = append(runs, run)
		for name, value := range map[string]float64{"flask/mt10/n100": stepped, "flask/mt5/n100": steady} {
			observations = append(observations, results.Observation{Run: run.ID, Cell: name, Repeat: 1, Clean: true, Value: &value})
		}
	}
	var b bytes.Buffer
	if err := pages.HistoryFormats([]history.History{history.New("nightly", duration, runs, observations)}).Write(&b, "html", report.Options{}); err != nil {
		t.Fatal(err)
	}
	page := html.UnescapeString(b.String())
	for _, want := range []string{"with run night-20", "Duration of flask/mt10/n100 over 30 runs, with 1 step.", "Duration of flask/mt5/n100 over 30 runs, with 0 steps.", "25 Nov"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
}
