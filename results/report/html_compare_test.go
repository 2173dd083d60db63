package report_test

import (
	"bytes"
	"html"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/results/report"
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
	if err := report.WriteComparisonPage(&b, results.CompareRuns(base, head, before, after), report.PageOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	page := html.UnescapeString(b.String())
	for _, want := range []string{
		"Of 2 cells, 1 got worse and 1 better in at least one figure.", "1 newly failing", "1 gone",
		"+19.7%", "-17.6%", ">worse<", ">better<", "no difference shown",
		"cpu (2 × Example CPU", "Duration before and after", "Base: 20261123-081500-7f3a",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing", want)
		}
	}
}
