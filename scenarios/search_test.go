package scenarios

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestShortLoads(t *testing.T) {
	whole := LoadSpec{Requests: 400, Client: ClientMT, Pool: 8, KeepAlive: true}
	short := whole.Short(50)
	if short.Name() != "mt8/n50of400/keepalive" || short.Requests != 50 || short.Whole() != whole {
		t.Errorf("%s of %+v", short.Name(), short)
	}
	if again := short.Short(100); again.Name() != "mt8/n100of400/keepalive" || again.Whole() != whole {
		t.Errorf("a longer one is %s", again.Name())
	}
	for _, requests := range []int{400, 4000} {
		if all := short.Short(requests); all != whole {
			t.Errorf("with %d requests: %+v", requests, all)
		}
	}
	if whole.Whole() != whole || whole.Short(50).Name() == (LoadSpec{Requests: 50, Client: ClientMT, Pool: 8, KeepAlive: true}).Name() {
		t.Error("a short load has the name of a whole one")
	}
}

const searched = "name: case\napp: {image: example/app, wsgi: wsgi:app}\ntopologies: [gunicorn w2/t1, flask]\nmatrix: {requests: [10], client: [mt, single], pool: [8]}\n"

// TestSearchOfAnyScenario: a scenario that is none is searched by its recommend block and
// by flags, whatever it says of how the matrix is measured.
func TestSearchOfAnyScenario(t *testing.T) {
	rest := "fresh: cell\nrepeats: {min: 3, max: 8, until: 5%}\nlanes: auto\norder: listed\nprune: true\nrecommend: {under: {gpu_peak: 5GiB}, objective: p99}\n"
	loader := Loader{Figures: figures, Servers: known, Search: []Setting{{"--under", "search.under.p99", "2s"}, {"--time", "search.time", "90s"}}}
	s, err := loader.Parse("case.yaml", []byte(searched+rest))
	if err != nil {
		t.Fatal(err)
	}
	p := s.Plan()
	if p.Search == nil || p.Search.Time != 90*time.Second || p.Search.Objective != "p99" || p.Search.Within != 0.02 || p.Search.Confidence != 0.95 ||
		!slices.Equal(p.Search.Metrics(), []string{"gpu_peak", "p99"}) {
		t.Errorf("%+v", p.Search)
	}
	if p.Fresh != FreshRun || p.Until != nil || p.Prune || p.Recommend != nil || p.Repeats != 8 || p.Lanes > 1 || p.Lanes == AutoLanes {
		t.Errorf("%+v", p)
	}
	if p.Cells() != 4 || len(p.Trials) != 2 || p.Trials[0].Topology.Name != "gunicorn-w2-t1" || p.Trials[0].Cells[0].Name != "gunicorn-w2-t1/single/n10" {
		t.Errorf("the candidates are %+v", p.Trials)
	}
	for _, round := range []int{1, 2, 700} {
		if p.Start(round) != 1 || p.FirstPass(round) != (round == 1) {
			t.Errorf("round %d: start %d, first %v", round, p.Start(round), p.FirstPass(round))
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var read Plan
	if err := json.Unmarshal(text, &read); err != nil || read.Search.Time != p.Search.Time || read.Search.Under["gpu_peak"] != "5GiB" {
		t.Errorf("%s: %+v (%v)", text, read.Search, err)
	}

	bare, err := Loader{Figures: figures, Servers: known, Search: []Setting{}}.Parse("case.yaml", []byte(searched))
	if err != nil || bare.Search == nil || bare.Search.Objective != "duration" || bare.Repeats != IntervalRepeats {
		t.Errorf("%+v (%v)", bare, err)
	}
	if s, err := (Loader{Figures: figures, Servers: known}).Parse("case.yaml", []byte(searched)); err != nil || s.Search != nil {
		t.Errorf("no search was asked for: %v (%v)", s, err)
	}
}

// TestSearchFlags: what is wrong with a flag is said of the flag, and a file that has a
// search block is held to it.
func TestSearchFlags(t *testing.T) {
	for _, test := range []struct {
		file, want string
		flags      []Setting
	}{
		{"", "--within: search.within: \"2\" has no unit", []Setting{{"--within", "search.within", "2"}}},
		{"", "--under: search.under: there is no figure \"gpu_peek\"", []Setting{{"--under", "search.under.gpu_peek", "5GiB"}}},
		{"", "--objective: search.objective: there is no figure \"speed\"", []Setting{{"--objective", "search.objective", "speed"}}},
		{"", "already says what search.under.p99 is", []Setting{{"--under", "search.under.p99", "1s"}, {"--under", "search.under.p99", "2s"}}},
		{"search: {}\nfresh: cell\n", "case.yaml:6:1: a search measures in rounds", []Setting{}},
		{"search: 5\n", "case.yaml:5:9: search must be a mapping", []Setting{}},
	} {
		_, err := Loader{Figures: figures, Servers: known, Search: test.flags}.Parse("case.yaml", []byte(searched+test.file))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v with %q: %v, want %q", test.flags, test.file, err, test.want)
		}
	}
}
