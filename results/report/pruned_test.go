package report_test

import (
	"fmt"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/report"
	"stackmeter/scenarios"
)

// pruning is a run in which w4 was not started, but for its lighter load,
// because w2 had run out of memory.
func pruning() (results.Run, []results.Record) {
	run := sampleRun()
	run.Outcome, run.Verdict = results.OutcomeFailed, results.VerdictFailed
	run.Plan.Prune, run.Plan.Repeats = true, 2
	w := func(n int) scenarios.Topology {
		return scenarios.Topology{Name: fmt.Sprintf("gunicorn-w%d-t1", n), Server: "gunicorn", Workers: n, Threads: 1}
	}
	var records []results.Record
	for repeat := 1; repeat <= 2; repeat++ {
		for _, n := range []int{1, 2, 4, 8} {
			run.Plan.Trials = append(run.Plan.Trials, scenarios.Trial{Topology: w(n), Repeat: repeat, Cells: []scenarios.Cell{{Load: single}, {Load: mt5}}})
		}
		ranOut, spared := record(w(2), mt5, repeat), record(w(4), mt5, repeat)
		ranOut.Status, ranOut.OutOfMemory, ranOut.Replies, ranOut.Errors = results.StatusFailed, results.MemoryGPU, 0, 5
		ranOut.Reason = "oom: the stack ran out of GPU memory (app | CUDA out of memory. Tried to allocate 2.00 GiB.): none of the first 5 of 40 requests was answered as expected"
		ranOut.LogTail = "app | CUDA out of memory. Tried to allocate 2.00 GiB.\n"
		spared.Status, spared.Replies = results.StatusPruned, 0
		spared.Reason = "not started: gunicorn-w2-t1, which is smaller, ran out of GPU memory at mt5/n40 (repeat 1)"
		other := spared
		other.Topology, other.Cell = w(8), scenarios.Cell{Name: w(8).Name + "/" + mt5.Name(), Repeat: repeat, Load: mt5}
		records = append(records, measured(w(1), single, repeat, 2, 300), measured(w(1), mt5, repeat, 2, 310),
			measured(w(2), single, repeat, 2.1, 500), ranOut, measured(w(4), single, repeat, 2.2, 900), spared,
			measured(w(8), single, repeat, 2.3, 1700), other)
	}
	run.Planned = run.Plan.Cells()
	return run, records
}

// TestPrunedGolden: every format says pruned, for what, and has no figure.
func TestPrunedGolden(t *testing.T) {
	run, records := pruning()
	for _, format := range []string{"table", "markdown", "csv", "junit", "prometheus", "summary"} {
		t.Run(format, func(t *testing.T) { golden(t, "pruned."+format, render(t, format, run, records, report.Options{})) })
	}
	one, err := exchange.ReadJSON("pruned.json", strings.NewReader(render(t, "json", run, records, report.Options{})))
	if err != nil {
		t.Fatal(err)
	}
	tables, err := exchange.ReadCSV("pruned.csv", []byte(render(t, "csv", run, records, report.Options{})), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, read := range append(tables, one) {
		for i, r := range read.Records {
			if r.Status != records[i].Status || r.OutOfMemory != records[i].OutOfMemory || r.Reason != records[i].Reason {
				t.Errorf("%s was %s, %q; read back %s, %q", records[i].Cell.Name, records[i].Status, records[i].OutOfMemory, r.Status, r.OutOfMemory)
			}
		}
	}
}
