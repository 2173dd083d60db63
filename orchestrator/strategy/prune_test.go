package strategy

import (
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks/servers"
)

// prunedPlan has w1, w2 and w4, each under mt2 and mt4, twice.
func prunedPlan(t *testing.T) scenarios.Plan {
	t.Helper()
	s, err := scenarios.Loader{Servers: servers.Known()}.Parse("test.yaml", []byte(`
name: test
app: {image: example/app, wsgi: "wsgi:app"}
topologies: [gunicorn w1, gunicorn w2, gunicorn w4]
matrix: {requests: [10], client: [mt], pool: [2, 4]}
prune: true
repeats: 2
`))
	if err != nil {
		t.Fatal(err)
	}
	return s.Plan()
}

// planned is the topology and cell of a plan.
func planned(t *testing.T, p scenarios.Plan, cell string, repeat int) (scenarios.Topology, scenarios.Cell) {
	t.Helper()
	for _, trial := range p.Trials {
		for _, c := range trial.Cells {
			if c.Name == cell && c.Repeat == repeat {
				return trial.Topology, c
			}
		}
	}
	t.Fatalf("the plan has no %s", cell)
	return scenarios.Topology{}, scenarios.Cell{}
}

func TestPruning(t *testing.T) {
	p := prunedPlan(t)
	// As a store gives them: of the topology and the cell only the names.
	record := func(topology, load string, repeat int, status, memory string, warm bool) results.Record {
		r := results.Record{
			Topology: scenarios.Topology{Name: topology}, Cell: scenarios.Cell{Name: topology + "/" + load, Repeat: repeat},
			Status: status, OutOfMemory: memory,
		}
		if warm {
			r.Stack = &results.Stack{WarmupS: new(float64)}
		}
		return r
	}
	const w1, w2, w4 = "gunicorn-w1-t1", "gunicorn-w2-t1", "gunicorn-w4-t1"
	const underLoad = "gunicorn-w2-t1, which is smaller, ran out of GPU memory at mt4/n10 (repeat 1)"
	ranOut := record(w2, "mt4/n10", 1, results.StatusFailed, results.MemoryGPU, true)
	for _, test := range []struct {
		name    string
		records []results.Record
		retried bool // all cells are to be measured again
		cell    string
		repeat  int
		want    string
	}{
		{"nothing ran out", []results.Record{record(w2, "mt4/n10", 1, results.StatusFailed, "", true)}, false, w4 + "/mt4/n10", 1, ""},
		{"a larger one at the same load", []results.Record{ranOut}, false, w4 + "/mt4/n10", 1, underLoad},
		{"in a later repeat", []results.Record{ranOut}, false, w4 + "/mt4/n10", 2, underLoad},
		{"a larger one at a lighter load", []results.Record{ranOut}, false, w4 + "/mt2/n10", 1, ""},
		{"a smaller one", []results.Record{ranOut}, false, w1 + "/mt4/n10", 1, ""},
		{"itself", []results.Record{ranOut}, false, w2 + "/mt4/n10", 2, ""},
		{"before its first cell", []results.Record{record(w2, "mt4/n10", 1, results.StatusFailed, results.MemoryMain, false)}, false,
			w4 + "/mt2/n10", 1, "gunicorn-w2-t1, which is smaller, ran out of memory before its first cell (repeat 1)"},
		{"the first cause is named", []results.Record{ranOut, record(w1, "mt2/n10", 1, results.StatusFailed, results.MemoryMain, true)}, false, w4 + "/mt4/n10", 1, underLoad},
		{"it was ok in another repeat", []results.Record{record(w4, "mt4/n10", 1, results.StatusOK, "", true), ranOut}, false, w4 + "/mt4/n10", 2, ""},
		{"it has failed itself", []results.Record{record(w4, "mt4/n10", 2, results.StatusFailed, "", true), ranOut}, false, w4 + "/mt4/n10", 2, ""},
		{"it was pruned before", []results.Record{ranOut, record(w4, "mt4/n10", 1, results.StatusPruned, "", false)}, false, w4 + "/mt4/n10", 1, underLoad},
		{"the cause is retried", []results.Record{ranOut, record(w4, "mt4/n10", 1, results.StatusPruned, "", false)}, true, w4 + "/mt4/n10", 1, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var todo []scenarios.Trial
			if test.retried {
				todo = p.Trials
			}
			topology, cell := planned(t, p, test.cell, test.repeat)
			stored := newCauses(p, test.records, todo)
			if got := stored.of(topology, cell); test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("pruned for %q, want %q", got, test.want)
			}
			if test.retried {
				stored.add(ranOut) // and it failed again
				if got := stored.of(topology, cell); !strings.Contains(got, underLoad) {
					t.Errorf("once the cause has failed again: %q", got)
				}
			}
		})
	}
}
