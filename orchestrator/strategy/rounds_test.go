package strategy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks/servers"
)

// A table does what a strategy of rounds says, with room for so many stacks, and writes
// it down.
type table struct {
	room   int
	up     map[string]bool // topologies with a stack
	did    []string
	void   map[string]bool   // cells that end their stack, once
	memory map[string]string // what cells ran out of
}

func (b *table) follow(t *testing.T, s Strategy) string {
	t.Helper()
	b.up = map[string]bool{}
	free := Capacity{
		Up:   func(trial scenarios.Trial) bool { return b.up[trial.Topology.Name] },
		Fits: func(trials ...scenarios.Trial) bool { return len(b.up)+len(trials) <= b.room },
	}
	for range 1000 {
		step, more := s.Next(free)
		if !more {
			break
		}
		for _, p := range step.Prune {
			b.did = append(b.did, fmt.Sprintf("prune-%s%d", p.Cell.Name, p.Cell.Repeat))
			s.Add(recordOf(p.Measurement, results.StatusPruned))
		}
		for _, trial := range step.Start {
			if b.up[trial.Topology.Name] {
				t.Fatalf("%s is started twice: %v", trial.Topology.Name, b.did)
			}
			b.did, b.up[trial.Topology.Name] = append(b.did, "+"+trial.Topology.Name), true
		}
		if len(b.up) > b.room {
			t.Fatalf("%v are up", b.up)
		}
		if m := step.Measure; m != nil {
			name := fmt.Sprintf("%s%d", m.Cell.Name, m.Cell.Repeat)
			b.did = append(b.did, strings.Replace(name, "/n10", "", 1))
			if !b.up[m.Trial.Topology.Name] || m.Trial.Cells[0] != m.Cell {
				t.Fatalf("%s is to be measured, which is not the first that is left, or has no stack: %v", name, b.did)
			}
			record := recordOf(*m, results.StatusOK)
			if b.memory[name] != "" {
				record.Status, record.OutOfMemory, record.Stack = results.StatusFailed, b.memory[name], &results.Stack{WarmupS: new(float64)}
			}
			if b.void[name] {
				delete(b.void, name)
				delete(b.up, m.Trial.Topology.Name)
				continue
			}
			s.Add(record)
		}
		for _, trial := range step.Stop {
			b.did = append(b.did, "-"+trial.Topology.Name)
			delete(b.up, trial.Topology.Name)
		}
	}
	if len(b.up) > 0 {
		t.Errorf("%v are still up", b.up)
	}
	return strings.Join(b.did, " ")
}

func TestRounds(t *testing.T) {
	plan := func(lines string) scenarios.Plan {
		s, err := scenarios.Loader{Servers: servers.Known()}.Parse("test.yaml", []byte(`
name: test
app: {image: example/app}
topologies: [{name: a, command: [a]}, {name: b, command: [b]}, {name: c, command: [c]}]
matrix: {requests: [10], client: [single]}
order: listed
fresh: run
`+lines))
		if err != nil {
			t.Fatal(err)
		}
		return s.Plan()
	}
	for _, test := range []struct {
		name, lines string
		table       table
		made        []string // cells that the run has
		want        string
	}{
		{"all at once", "repeats: 2", table{room: 3}, nil,
			"+a +b +c a/single1 b/single1 c/single1 a/single2 b/single2 c/single2 -a -b -c"},
		{"two waves", "repeats: 2", table{room: 2}, nil,
			"+a +b a/single1 b/single1 a/single2 b/single2 -a -b +c c/single1 c/single2 -c"},
		{"one at a time", "repeats: 2", table{room: 1}, nil,
			"+a a/single1 a/single2 -a +b b/single1 b/single2 -b +c c/single1 c/single2 -c"},
		{"two starts", "repeats: 2\nstarts: 2", table{room: 3}, nil,
			"+a +b +c a/single1 b/single1 c/single1 -a -b -c +a +b +c a/single2 b/single2 c/single2 -a -b -c"},
		{"a void cell", "repeats: 2", table{room: 3, void: map[string]bool{"b/single/n102": true}}, nil,
			"+a +b +c a/single1 b/single1 c/single1 a/single2 b/single2 +b b/single2 c/single2 -a -b -c"},
		{"resumed in the second round", "repeats: 2", table{room: 3}, []string{"a1", "b1", "c1", "a2"},
			"+b +c b/single2 c/single2 -b -c"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := plan(test.lines)
			var made []results.Record
			for _, trial := range p.Trials {
				if slices.Contains(test.made, fmt.Sprint(trial.Topology.Name, trial.Repeat)) {
					made = append(made, recordOf(Measurement{Trial: trial, Cell: trial.Cells[0]}, results.StatusOK))
				}
			}
			s, _ := New(p, made)
			got := test.table.follow(t, s)
			if got != test.want {
				t.Errorf("did  %s\nwant %s", got, test.want)
			}
		})
	}
}

// strip is what was done without the moments at which stacks stop.
func strip(did string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(did), func(s string) bool { return s[0] == '-' }), " ")
}

// TestRoundsPrune: no stack is started for cells that are pruned, and those of later
// rounds are, too.
func TestRoundsPrune(t *testing.T) {
	s, err := scenarios.Loader{Servers: servers.Known()}.Parse("test.yaml", []byte(`
name: test
app: {image: example/app, wsgi: wsgi:app}
topologies: [gunicorn w1, gunicorn w2, gunicorn w4]
matrix: {requests: [10], client: [single]}
order: listed
fresh: run
repeats: 2
prune: true
`))
	if err != nil {
		t.Fatal(err)
	}
	strategy, _ := New(s.Plan(), nil)
	const w1, w2, w4 = "gunicorn-w1-t1", "gunicorn-w2-t1", "gunicorn-w4-t1"
	b := table{room: 2, memory: map[string]string{w2 + "/single/n101": results.MemoryGPU, w2 + "/single/n102": results.MemoryGPU}}
	got := strip(b.follow(t, strategy))
	want := fmt.Sprintf("+%[1]s +%[2]s %[1]s/single1 %[2]s/single1 %[1]s/single2 %[2]s/single2 prune-%[3]s/single/n101 prune-%[3]s/single/n102", w1, w2, w4)
	if got != want {
		t.Errorf("did  %s\nwant %s", got, want)
	}
}
