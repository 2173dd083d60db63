package strategy

import (
	"fmt"
	"slices"
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks/servers"
)

// twoByTwo is a plan of two topologies under two loads.
func twoByTwo(t *testing.T, lines string) scenarios.Plan {
	t.Helper()
	s, err := scenarios.Loader{Servers: servers.Known()}.Parse("test.yaml", []byte(`
name: test
app: {image: example/app}
topologies: [{name: a, command: [a]}, {name: b, command: [b]}]
matrix: {requests: [10], client: [mt], pool: [2, 4]}
order: listed
`+lines))
	if err != nil {
		t.Fatal(err)
	}
	return s.Plan()
}

func recordOf(m Measurement, status string) results.Record {
	duration := 1.0
	return results.Record{Topology: m.Trial.Topology, Cell: m.Cell, Status: status, Duration: &duration, Replies: m.Cell.Load.Requests}
}

// follow does what a strategy says, as a loop with room for one stack does, and
// lists it. Each cell gets the status that its name and repeat have, or ok.
func follow(t *testing.T, s Strategy, statuses map[string]string) []string {
	t.Helper()
	var did []string
	up := map[string]bool{}
	for range 1000 {
		step, more := s.Next(Capacity{Stacks: 1 - len(up)})
		if !more {
			return did
		}
		for _, trial := range step.Skip {
			did = append(did, fmt.Sprintf("skip %s#%d", trial.Topology.Name, trial.Repeat))
		}
		for _, p := range step.Prune {
			did = append(did, "prune "+p.Cell.Name)
			s.Add(recordOf(p.Measurement, results.StatusPruned))
		}
		for _, trial := range step.Start {
			did = append(did, fmt.Sprintf("start %s#%d", trial.Topology.Name, trial.Repeat))
			up[trial.Topology.Name] = true
		}
		if m := step.Measure; m != nil {
			if !up[m.Trial.Topology.Name] {
				t.Fatalf("%s is to be measured on a stack that is not up", m.Cell.Name)
			}
			name := fmt.Sprintf("%s#%d", m.Cell.Name, m.Cell.Repeat)
			did = append(did, name)
			switch status := statuses[name]; status {
			case "void":
				delete(statuses, name)
				delete(up, m.Trial.Topology.Name)
				continue
			case "":
				s.Add(recordOf(*m, results.StatusOK))
			default:
				s.Add(recordOf(*m, status))
			}
		}
		for _, trial := range step.Stop {
			did = append(did, "stop "+trial.Topology.Name)
			delete(up, trial.Topology.Name)
		}
	}
	t.Fatal("it does not end")
	return nil
}

func TestListed(t *testing.T) {
	p := twoByTwo(t, "")
	s, todo := New(p, nil)
	if len(todo) != 2 {
		t.Errorf("%d trials are left to do", len(todo))
	}
	want := []string{"start a#1", "a/mt2/n10#1", "a/mt4/n10#1", "stop a", "start b#1", "b/mt2/n10#1", "b/mt4/n10#1", "stop b"}
	if did := follow(t, s, nil); !slices.Equal(did, want) {
		t.Errorf("%v, want %v", did, want)
	}
	void, _ := New(p, nil)
	want = slices.Insert(slices.Clone(want), 2, "start a#1", "a/mt2/n10#1")
	if did := follow(t, void, map[string]string{"a/mt2/n10#1": "void"}); !slices.Equal(did, want) {
		t.Errorf("a void cell: %v, want %v", did, want)
	}
}

// TestResumed: cells that are recorded as ok are not measured again; failed ones
// are.
func TestResumed(t *testing.T) {
	p := twoByTwo(t, "")
	a := p.Trials[0]
	s, todo := New(p, []results.Record{
		recordOf(Measurement{Trial: a, Cell: a.Cells[0]}, results.StatusFailed), recordOf(Measurement{Trial: a, Cell: a.Cells[1]}, results.StatusOK),
	})
	want := []string{"start a#1", "a/mt2/n10#1", "stop a", "start b#1", "b/mt2/n10#1", "b/mt4/n10#1", "stop b"}
	if did := follow(t, s, nil); !slices.Equal(did, want) || len(todo[0].Cells) != 1 {
		t.Errorf("%v, want %v", did, want)
	}
}

// TestUntil: a trial whose medians are known is skipped; the reasons say so, and
// a strategy that is made anew from the records goes on where the first one was.
func TestUntil(t *testing.T) {
	p := twoByTwo(t, "repeats: {min: 2, max: 9, until: 50%}\n")
	s, _ := New(p, nil)
	did := follow(t, s, nil)
	if n := len(slices.DeleteFunc(slices.Clone(did), func(d string) bool { return d[:4] != "skip" })); n != 6 {
		t.Errorf("%d trials were skipped: %v", n, did)
	}
	needless := 0
	for _, why := range s.Why() {
		needless += why.Cells
		if why.Text == "" {
			t.Errorf("no reason: %+v", why)
		}
	}
	if needless != 12 {
		t.Errorf("%d cells were needless", needless)
	}
}
