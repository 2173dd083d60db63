package scenarios

import (
	"slices"

	"errors"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

// scenario decodes the whole document. Fields are decoded in the order in
// which they are listed here: the topologies need the app.
func (d *decoder) scenario(root *yaml.Node) *Scenario {
	s := &Scenario{
		App:       App{Port: 8000, Ready: defaultReady()},
		Request:   Request{Method: "GET", Path: "/", Timeout: defaultReady().Timeout, Expect: Expect{Status: 200}},
		Resources: Resources{GPU: GPU{Mode: GPUAuto, Count: 1}},
		Client:    Client{Engine: EngineNative},
		Repeats:   1,
		Warmup:    5,
		Fresh:     FreshTopology,
		Order:     OrderShuffle,
		Seed:      1,
	}
	if d.loader.Server != nil {
		s.App.Ready.Path = ""
		s.Topologies = []Topology{*d.loader.Server}
	}
	var app object
	o, ok := d.object(root, "scenario", "a scenario",
		field{"name", func(n *yaml.Node) { d.checked(n, "name", &s.Name, validName, nameRule) }},
		field{"app", func(n *yaml.Node) { app = d.app(n, &s.App) }},
		field{"request", func(n *yaml.Node) { d.request(n, &s.Request) }},
		field{"resources", func(n *yaml.Node) { d.resources(n, &s.Resources) }},
		field{"topologies", func(n *yaml.Node) { s.Topologies = d.topologies(n, s.App, app) }},
		field{"matrix", func(n *yaml.Node) { s.Loads = d.loads(n) }},
		field{"client", func(n *yaml.Node) {
			d.object(n, "client", "client",
				field{"engine", func(n *yaml.Node) {
					d.choice(n, "client.engine", &s.Client.Engine, EngineNative, EnginePythonRequests)
				}},
				field{"cpuset", func(n *yaml.Node) { d.cpuset(n, "client.cpuset", &s.Client.Cpuset) }},
			)
		}},
		field{"repeats", func(n *yaml.Node) { d.repeats(n, s) }},
		field{"warmup", func(n *yaml.Node) { d.integer(n, "warmup", &s.Warmup, 0, MaxWarmup) }},
		field{"fresh", func(n *yaml.Node) { d.choice(n, "fresh", &s.Fresh, FreshTopology, FreshCell) }},
		field{"order", func(n *yaml.Node) { d.choice(n, "order", &s.Order, OrderShuffle, OrderListed) }},
		field{"prune", func(n *yaml.Node) { d.boolean(n, "prune", &s.Prune) }},
		field{"seed", func(n *yaml.Node) { d.seed(n, "seed", &s.Seed) }},
		field{"baseline", func(n *yaml.Node) { s.Baseline = d.baseline(n, s) }},
		field{"thresholds", func(n *yaml.Node) { s.Thresholds = d.thresholds(n) }},
		field{"recommend", func(n *yaml.Node) { s.Recommend = d.recommend(n) }},
	)
	if !ok {
		return s
	}
	for _, needed := range []struct{ key, hint string }{
		{"name", "add name: NAME"},
		{"topologies", "add topologies: [flask, gunicorn w2/t1]"},
		{"matrix", "add matrix: {requests: [100], client: [single]}"},
	} {
		if !given(root, needed.key) && !(needed.key == "topologies" && d.loader.Server != nil) {
			d.problem(root, needed.hint, "the scenario has no %s", needed.key)
		}
	}
	if s.Request.TLS != nil && !slices.ContainsFunc(s.Topologies, func(t Topology) bool { return t.TLS }) {
		d.problem(o.keys["request"], "add tls: true to those that do, or take request.tls out", "the request has tls, and no topology speaks it")
	}
	d.checkEngine(root, s)
	if cells := len(s.Topologies) * len(s.Loads) * s.Repeats; cells > d.maxCells {
		d.problem(o.keys["matrix"], "take values out of an axis, split the scenario, or raise the limit with --max-cells",
			"topologies × loads × repeats are %d × %d × %d = %d cells, more than the limit of %d",
			len(s.Topologies), len(s.Loads), s.Repeats, cells, d.maxCells)
	}
	return s
}

// given says whether a mapping has a key, if only with a value that was
// refused.
func given(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// baseline reads the baseline and checks that it is in the scenario.
func (d *decoder) baseline(n *yaml.Node, s *Scenario) *Baseline {
	b := &Baseline{}
	o, ok := d.object(n, "baseline", "baseline",
		field{"topology", func(n *yaml.Node) { d.text(n, "baseline.topology", &b.Topology) }},
		field{"client", func(n *yaml.Node) { d.text(n, "baseline.client", &b.Client) }},
	)
	if ok && len(n.Content) == 0 {
		d.problem(n, "for example {topology: flask, client: single}", "baseline is empty")
		return nil
	}
	var names, clients []string
	for _, t := range s.Topologies {
		names = append(names, t.Name)
	}
	for _, l := range s.Loads {
		clients = append(clients, l.Client, l.Mode())
	}
	check := func(key, value, what string, known []string) {
		known = distinct(known)
		if value == "" || len(known) == 0 {
			return // reported
		}
		for _, k := range known {
			if k == value {
				return
			}
		}
		d.problem(o.values[key], suggestion(value, known), "the scenario has no %s %s", what, show.Quote(value))
	}
	check("topology", b.Topology, "topology", names)
	check("client", b.Client, "client mode", clients)
	return b
}

// distinct keeps the first of equal words.
func distinct(words []string) []string {
	seen := map[string]bool{}
	var kept []string
	for _, w := range words {
		if !seen[w] {
			seen[w] = true
			kept = append(kept, w)
		}
	}
	return kept
}

// thresholds checks the expressions and keeps them as texts.
func (d *decoder) thresholds(n *yaml.Node) []string {
	var all []string
	for _, item := range items(n) {
		var text string
		if !d.text(item, "a threshold", &text) {
			continue
		}
		_, err := ParseThreshold(text)
		var wrong *ThresholdError
		if errors.As(err, &wrong) {
			at := *item
			at.Column += d.within(item, wrong.Column)
			d.owner[&at] = d.owner[item]
			d.problem(&at, wrong.Hint, "%s", wrong.Message)
			continue
		}
		all = append(all, text)
	}
	return all
}

// within is how many characters behind the place of a text in the file the
// column of its value is; 0 where the file writes it in another way: with
// escapes, over several lines, or in an override.
func (d *decoder) within(n *yaml.Node, column int) int {
	if d.owner[n] != nil || n.Line < 1 || n.Line > len(d.file.lines) {
		return 0
	}
	line := []rune(d.file.lines[n.Line-1])
	from, quote := n.Column-1, 0
	if from >= 0 && from < len(line) && strings.ContainsRune(`"'`, line[from]) {
		from, quote = from+1, 1
	}
	if value := []rune(n.Value); from < 0 || from+len(value) > len(line) || string(line[from:from+len(value)]) != n.Value {
		return 0
	}
	return quote + column - 1
}
