package report_test

import (
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/results/report"
)

// TestBoundsTogether: cells that were bound alike are in one line, with what their figures
// range over, and a cell of another kind has one of its own.
func TestBoundsTogether(t *testing.T) {
	run := sampleRun()
	used := func(r results.Record, stack, client, machine float64) results.Record {
		r.CPU.Stack, r.CPU.Client, r.CPU.Machine = &stack, &client, &machine
		return r
	}
	records := []results.Record{
		used(measured(flask, single, 1, 10, 30), 3, 0.1, 19.1), used(measured(gunicorn, single, 1, 10, 30), 4, 0.1, 19.6),
		used(measured(gunicorn, mt5, 1, 10, 30), 18, 0.1, 18.2),
	}
	var lines []string
	for _, s := range report.NewDocument(run, records, nil).Sections {
		if s.Title == "Bound by" {
			lines = s.Notes
		}
	}
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "flask/single/n40, gunicorn-w1-t4/single/n40: ") ||
		!strings.Contains(lines[0], "1.55 to 1.60 of the machine's 2 cores") || !strings.Contains(lines[0], "0.30 to 0.40") ||
		!strings.HasPrefix(lines[1], "gunicorn-w1-t4/mt5/n40: ") {
		t.Errorf("%q", lines)
	}
}
