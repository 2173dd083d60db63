package scenarios

import (
	"slices"
	"testing"
)

// TestAttackSameCallable: what an app answers at a path is the same by a command of
// the scenario's own that serves the same callable.
func TestAttackSameCallable(t *testing.T) {
	const wsgi = "svc:app"
	flask, own := Topology{Server: "flask"}, Topology{Server: ServerCommand, Command: []string{"gunicorn", wsgi}}
	for _, test := range []struct {
		name string
		a, b Topology
		same bool
	}{
		{"a server and a command", flask, own, true},
		{"two commands", own, Topology{Server: ServerCommand, Command: []string{"uwsgi", "--module=" + wsgi}}, true},
		{"a command that serves something else", flask, Topology{Server: ServerCommand, Command: []string{"uvicorn", "asgi:app"}}, false},
		{"another image", own, Topology{Server: ServerCommand, Command: own.Command, Image: "other"}, false},
		{"another environment", flask, Topology{Server: ServerCommand, Command: own.Command, Env: map[string]string{"A": "1"}}, false},
		{"services", flask, Topology{Server: ServerServices}, false},
	} {
		if test.a.SameCallable(test.b, wsgi) != test.same || test.b.SameCallable(test.a, wsgi) != test.same {
			t.Errorf("%s: want %v", test.name, test.same)
		}
	}
	if flask.SameCallable(own, "") {
		t.Error("without a callable they count as the same")
	}
}

func TestSameApp(t *testing.T) {
	flask, gunicorn := Topology{Server: "flask"}, Topology{Server: "gunicorn", Workers: 2, Proxy: "nginx"}
	own := Topology{Server: ServerCommand, Command: []string{"serve", "2"}, Workers: 2}
	for _, test := range []struct {
		name string
		a, b Topology
		same bool
	}{
		{"two servers", flask, gunicorn, true},
		{"another image", flask, Topology{Server: "flask", Image: "other"}, false},
		{"another environment", flask, Topology{Server: "flask", Env: map[string]string{"A": "1"}}, false},
		{"a command", flask, own, false},
		{"a command with other workers", own, Topology{Server: ServerCommand, Command: []string{"serve", "4"}, Workers: 4}, true},
		{"another command", own, Topology{Server: ServerCommand, Command: []string{"run"}}, false},
	} {
		if test.a.SameApp(test.b) != test.same || test.b.SameApp(test.a) != test.same {
			t.Errorf("%s: want %v", test.name, test.same)
		}
	}
}

func TestLargerThan(t *testing.T) {
	s := parse(t, `
topologies:
  - flask
  - {server: gunicorn, workers: [1, 2], threads: [1, 2], nginx: [false, true]}
  - {name: big, server: gunicorn, workers: 8, threads: 8}
  - {name: other, server: gunicorn, workers: 8, threads: 8, env: {MODEL: large}}
  - {name: image, server: gunicorn, workers: 8, threads: 8, image: example/other}
  - {name: waitress, command: [waitress-serve, "--listen={host}:{port}", "--threads={threads}", "wsgi:app"], threads: [4, 8]}
  - {name: fewer, command: [waitress-serve, "--listen={host}:{port}", "--threads={threads}", "--limit=5", "wsgi:app"], threads: [2]}
  - {name: pair, services: [{name: model, command: [serve, "-w{workers}"]}, {name: web, command: [web]}], workers: [1, 3]}
  - {name: lone, services: [{name: model, command: [serve, "-w{workers}"]}], workers: [6]}
  - {name: many, server: gunicorn, workers: 8, threads: 8, nginx: true, replicas: 2}
matrix: {requests: [1], client: [single]}
`)
	larger := map[string][]string{
		"gunicorn-w2-t1":       {"gunicorn-w1-t1"},
		"gunicorn-w1-t2":       {"gunicorn-w1-t1"},
		"gunicorn-w2-t2":       {"gunicorn-w1-t1", "gunicorn-w1-t2", "gunicorn-w2-t1"},
		"nginx+gunicorn-w2-t1": {"nginx+gunicorn-w1-t1"},
		"nginx+gunicorn-w1-t2": {"nginx+gunicorn-w1-t1"},
		"nginx+gunicorn-w2-t2": {"nginx+gunicorn-w1-t1", "nginx+gunicorn-w1-t2", "nginx+gunicorn-w2-t1"},
		"big-w8-t8":            {"gunicorn-w1-t1", "gunicorn-w1-t2", "gunicorn-w2-t1", "gunicorn-w2-t2"},
		"waitress-t8":          {"waitress-t4"},
		"pair-w3":              {"pair-w1"},
	}
	for _, a := range s.Topologies {
		var found []string
		for _, b := range s.Topologies {
			if a.LargerThan(b) {
				found = append(found, b.Name)
			}
		}
		slices.Sort(found)
		if !slices.Equal(found, larger[a.Name]) {
			t.Errorf("%s is larger than %v, want %v", a.Name, found, larger[a.Name])
		}
		delete(larger, a.Name)
	}
	for name := range larger {
		t.Errorf("the scenario has no topology %s", name)
	}
}

func TestAtLeast(t *testing.T) {
	s := parse(t, `
topologies: [flask]
matrix:
  requests: [10, 20]
  client: [single, mt, mp, open]
  pool: [2, 4]
  rate: [5/s, 10/s, max, {search: {p99: 1s}}]
  arrivals: [constant]
  include: [{requests: 10, client: mt, pool: 8, keepalive: true}]
`)
	byName := map[string]LoadSpec{}
	for _, l := range s.Loads {
		byName[l.Name()] = l
	}
	for _, test := range []struct {
		load, other string
		want        bool
	}{
		{"mt4/n10", "mt4/n10", true},
		{"mt4/n10", "mt2/n10", true},
		{"mt2/n10", "mt4/n10", false},
		{"mt4/n20", "mt4/n10", true},
		{"mt4/n10", "mt4/n20", false},
		{"mt4/n10", "mt2/n20", false},
		{"mt4/n10", "mp2/n10", false},
		{"mp4/n10", "single/n10", true},
		{"single/n20", "single/n10", true},
		{"single/n20", "mt2/n10", false},
		{"mt8/n10/keepalive", "mt2/n10", false},
		{"open10/n10", "open5/n10", true},
		{"open5/n10", "open10/n10", false},
		{"openmax/n10", "open10/n10", true},
		{"open10/n10", "openmax/n10", false},
		{"open10/n10", "single/n10", false},
		{"open-p99-1s/n20", "open-p99-1s/n10", true},
		{"openmax/n10", "open-p99-1s/n10", false},
	} {
		load, known := byName[test.load]
		other, knownToo := byName[test.other]
		if !known || !knownToo {
			t.Fatalf("%s or %s is not a load of the scenario: %v", test.load, test.other, byName)
		}
		if got := load.AtLeast(other); got != test.want {
			t.Errorf("%s at least %s: %t, want %t", test.load, test.other, got, test.want)
		}
	}
}

// TestPlanSmallestFirst: with prune no topology comes before a smaller one of
// its own family, and the places of the families are those of the shuffle.
func TestPlanSmallestFirst(t *testing.T) {
	const text = `
topologies: [flask, {server: gunicorn, workers: [1, 2, 4], threads: [1, 4], nginx: [false, true]}]
matrix: {requests: [10], client: [single, mt], pool: [2]}
repeats: 5
`
	for _, fresh := range []string{FreshTopology, FreshCell} {
		shuffled := parse(t, text, "fresh="+fresh).Plan().Trials
		pruned := parse(t, text, "fresh="+fresh, "prune=true").Plan().Trials
		if len(pruned) != len(shuffled) {
			t.Fatalf("%d trials, want %d", len(pruned), len(shuffled))
		}
		moved := false
		for i, trial := range pruned {
			if !trial.Topology.sameFamily(shuffled[i].Topology) || trial.Repeat != shuffled[i].Repeat {
				t.Errorf("place %d: %s, repeat %d; the shuffle has %s, repeat %d", i, trial.Topology.Name, trial.Repeat, shuffled[i].Topology.Name, shuffled[i].Repeat)
			}
			moved = moved || trial.Topology.Name != shuffled[i].Topology.Name
			for _, before := range pruned[:i] {
				if before.Repeat == trial.Repeat && before.Topology.LargerThan(trial.Topology) {
					t.Errorf("fresh: %s: %s comes before %s", fresh, before.Topology.Name, trial.Topology.Name)
				}
			}
		}
		if !moved {
			t.Error("the shuffle had every family in order already: this shows nothing")
		}
		listed := parse(t, text, "fresh="+fresh, "prune=true", "order=listed", "topologies=[gunicorn w4, gunicorn w1]").Plan().Trials
		if first := listed[0].Topology.Name; first != "gunicorn-w4-t1" {
			t.Errorf("what is listed first is %s", first)
		}
	}
}
