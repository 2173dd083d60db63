package verdict

import (
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// planOf is a plan whose file lists some topologies, each with the cells of records.
func planOf(records []results.Record, baseline *scenarios.Baseline, listed ...string) scenarios.Plan {
	p := scenarios.Plan{Baseline: baseline, Listed: listed}
	for _, r := range records {
		p.Trials = append(p.Trials, scenarios.Trial{Topology: r.Topology, Cells: []scenarios.Cell{r.Cell}})
	}
	return p
}

func TestFindBaselines(t *testing.T) {
	w1 := gunicorn("gunicorn-w1-t1", false, 1, 1)
	records := []results.Record{
		ok(flask(), pooled("mp", 5, 10), 1, 6, -1), ok(flask(), single(10), 1, 8, -1), ok(w1, single(10), 1, 9, -1),
		ok(w1, pooled("mt", 2, 50), 1, 7, -1), ok(w1, pooled("mt", 4, 50), 1, 5, -1),
	}
	unlisted := func(baseline *scenarios.Baseline) scenarios.Plan { return planOf(records, baseline) }
	for _, test := range []struct {
		name string
		plan scenarios.Plan
		want map[int]string
	}{
		{"no order is known: the first in the tables, its single, else its first", unlisted(nil),
			map[int]string{10: "flask/single/n10", 50: "gunicorn-w1-t1/mt2/n50"}},
		{"the first of the file that has such a cell", planOf(records, nil, "flask", "gunicorn-w1-t1"),
			map[int]string{10: "flask/single/n10", 50: "gunicorn-w1-t1/mt2/n50"}},
		{"the first of the file is the second in the tables", planOf(records, nil, "gunicorn-w1-t1", "flask"),
			map[int]string{10: "gunicorn-w1-t1/single/n10", 50: "gunicorn-w1-t1/mt2/n50"}},
		{"topology and client", unlisted(&scenarios.Baseline{Topology: "gunicorn-w1-t1", Client: "single"}),
			map[int]string{10: "gunicorn-w1-t1/single/n10"}},
		{"topology alone takes its first", unlisted(&scenarios.Baseline{Topology: "gunicorn-w1-t1"}),
			map[int]string{10: "gunicorn-w1-t1/single/n10", 50: "gunicorn-w1-t1/mt2/n50"}},
		{"client with a pool", unlisted(&scenarios.Baseline{Client: "mt4"}), map[int]string{50: "gunicorn-w1-t1/mt4/n50"}},
		{"a client alone takes that of the first of the file", planOf(records, &scenarios.Baseline{Client: "single"}, "gunicorn-w1-t1", "flask"),
			map[int]string{10: "gunicorn-w1-t1/single/n10"}},
		{"a client that the first of the file has not", planOf(records, &scenarios.Baseline{Client: "mp"}, "gunicorn-w1-t1", "flask"),
			map[int]string{10: "flask/mp5/n10"}},
		{"nothing matches", unlisted(&scenarios.Baseline{Topology: "uwsgi"}), map[int]string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := FindBaselines(Summarise(records), test.plan)
			if len(got) != len(test.want) {
				t.Errorf("%d baselines, want %d", len(got), len(test.want))
			}
			for requests, name := range test.want {
				if s, found := got[requests]; !found || s.Name() != name {
					t.Errorf("baseline of %d requests is %q, want %q", requests, s.Name(), name)
				}
			}
		})
	}
}

// TestReferenceStays: the reference is what the plan says, whatever was measured of it.
func TestReferenceStays(t *testing.T) {
	w1, w2 := gunicorn("gunicorn-w1-t1", false, 1, 1), gunicorn("gunicorn-w2-t1", false, 2, 1)
	planned := []results.Record{ok(w1, single(100), 1, 9, -1), ok(flask(), single(100), 1, 8, -1), ok(w2, single(100), 1, 5, -1)}
	run := results.Run{Plan: planOf(planned, nil, "gunicorn-w1-t1", "flask", "gunicorn-w2-t1")}
	d, err := Decide(run, Summarise(planned))
	if err != nil || len(d.Choices) != 1 || d.Choices[0].Loads[0].Reference == nil || d.Choices[0].Loads[0].Reference.Topology.Name != "gunicorn-w1-t1" {
		t.Errorf("beside the first of the file: %+v, %v", d, err)
	}
	without := planned[1:] // as where a search left it before its whole load
	if d, err = Decide(run, Summarise(without)); err != nil || d.Choices[0].Loads[0].Reference != nil {
		t.Errorf("the first was not measured, and the answer stands beside %+v, %v", d.Choices[0].Loads[0].Reference, err)
	}
	if rows := Conclude(Summarise(without), run.Plan).Conditions; len(rows) == 0 || rows[0].Baseline || rows[0].Ratio.Ratio != nil {
		t.Errorf("the first was not measured, and another is the baseline: %+v", rows)
	}
}
