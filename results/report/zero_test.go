package report_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/results/report"
	"stackmeter/results/report/pages"
	"stackmeter/results/verdict"
	"stackmeter/results/verdict/history"
	"stackmeter/scenarios"
)

// TestAttackFromZero: no format has a percentage for what grew from 0.
func TestAttackFromZero(t *testing.T) {
	var base, head []results.Record
	var runs []results.Run
	var observations []results.Observation
	for i := range 5 {
		zero, grown := measured(flask, single, i+1, 10+float64(i), 100), measured(flask, single, i+1, 10+float64(i), 100)
		*zero.Memory.Peak, *grown.Memory.Peak = 0, 500<<20
		base, head = append(base, zero), append(head, grown)
	}
	for i := range 30 {
		value := float64(i / 20 * 3)
		runs = append(runs, results.Run{ID: "night-" + strconv.Itoa(i)})
		observations = append(observations, results.Observation{Run: runs[i].ID, Cell: "flask/single/n100", Value: &value})
	}
	c := verdict.CompareRuns(results.Run{ID: "a"}, results.Run{ID: "b"}, base, head)
	h := history.New("nightly", results.Metric(results.MetricErrors), runs, observations)
	if len(h.Cells[0].Steps) != 1 {
		t.Fatalf("steps %+v", h.Cells[0].Steps)
	}
	wants := map[string]string{"json": `"change": null`, "csv": ",524288000,", "table": "+500 MiB", "markdown": "+500 MiB", "summary": "+500 MiB", "junit": "+500 MiB", "html": "&#43;500 MiB"}
	for _, format := range pages.ComparisonFormats(c, nil).Names() {
		var b bytes.Buffer
		if err := pages.ComparisonFormats(c, nil).Write(&b, format, report.Options{}); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "+0.0%") || !strings.Contains(b.String(), wants[format]) {
			t.Errorf("%s has no %s, or a percentage of 0: %s", format, wants[format], b.String()[:min(b.Len(), 2500)])
		}
	}
	for _, format := range pages.HistoryFormats([]history.History{h}).Names() {
		var b bytes.Buffer
		if err := pages.HistoryFormats([]history.History{h}).Write(&b, format, report.Options{}); err != nil {
			t.Fatal(err)
		}
		want := "+3, worse"
		if format == "json" {
			want = `"change": null`
		}
		if format == "html" {
			want = "+3"
		}
		if strings.Contains(b.String(), "+0.0%") || !strings.Contains(b.String(), want) {
			t.Errorf("history as %s has no %s, or a percentage of 0", format, want)
		}
	}
}

// TestCopiesThatAreNotKnown: how many of a stack a rate takes is not 0 where nobody knows
// what one answers.
func TestCopiesThatAreNotKnown(t *testing.T) {
	var records []results.Record
	for _, load := range []scenarios.LoadSpec{{Requests: 10, Client: scenarios.ClientSingle, Pool: 1}, {Requests: 10, Client: scenarios.ClientMT, Pool: 2}} {
		peak := int64(1 << 20)
		records = append(records, results.Record{
			Topology: scenarios.Topology{Name: "flask", Server: "flask"}, Cell: scenarios.Cell{Repeat: 1, Load: load},
			Status: results.StatusOK, Replies: 10, Memory: results.Memory{Peak: &peak},
		})
	}
	loads := verdict.Recommend(verdict.Summarise(records), scenarios.Plan{}, verdict.Goal{Objective: results.Metric(results.MetricMemoryPeak)})
	var b bytes.Buffer
	if err := pages.RecommendFormats(sampleRun(), loads, 100).Write(&b, "text", report.Options{Width: 200}); err != nil {
		t.Fatal(err)
	}
	if text := b.String(); strings.Contains(text, "×") || !strings.Contains(text, "for 100 /s") || !strings.Contains(text, "flask") {
		t.Error(text)
	}
}
