package scenarios

import (
	"cmp"
	"errors"
	"maps"
	"slices"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/container"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/ready"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/threshold"
	"stackmeter/scenarios/units"
	"stackmeter/scenarios/yamlfile"
)

// scenario reads the whole document. Keys are read in the order in which they
// are listed here: requests, topologies and loads need the engine, topologies the
// app.
func (d *decoder) scenario(root *yaml.Node) *Scenario {
	s := &Scenario{settings: settings{
		App:       App{Port: 8000, Ready: ready.Default()},
		Request:   Request{Method: "GET", Path: "/", Timeout: ready.Default().Timeout, Expect: expect.Answer{Status: 200}},
		Resources: Resources{GPU: GPU{Mode: GPUAuto, Count: 1}},
		Client:    Client{Engine: EngineNative},
		Repeats:   1,
		Warmup:    5,
		Fresh:     FreshTopology,
		Order:     OrderShuffle,
		Seed:      1,
	}}
	if d.loader.Server != nil {
		s.App.Ready.Path = ""
		s.Topologies = []Topology{*d.loader.Server}
	}
	listTopologies := "add topologies: [flask, gunicorn w2/t1]"
	if d.loader.Server != nil {
		listTopologies = ""
	}
	var app yamlfile.Object
	o, ok := d.Object(root, "scenario", "the scenario",
		yamlfile.Needed("name", "add name: NAME", func(n *yaml.Node) { d.Checked(n, "name", &s.Scenario, validName, nameRule) }),
		yamlfile.Key("client", func(n *yaml.Node) {
			d.Object(n, "client", "client",
				yamlfile.Key("engine", func(n *yaml.Node) {
					d.Choice(n, "client.engine", &s.Client.Engine, EngineNative, EnginePythonRequests)
				}),
				yamlfile.Key("cpuset", func(n *yaml.Node) { d.cpuset(n, "client.cpuset", &s.Client.Cpuset) }),
			)
			d.engine = s.Client.Engine
		}),
		yamlfile.Key("app", func(n *yaml.Node) { app = d.app(n, &s.App) }),
		yamlfile.Key("request", func(n *yaml.Node) { d.request(n, &s.Request) }),
		yamlfile.Key("resources", func(n *yaml.Node) { d.resources(n, &s.Resources) }),
		yamlfile.Needed("topologies", listTopologies, func(n *yaml.Node) { s.Topologies = d.topologies(n, s.App, app) }),
		yamlfile.Needed("matrix", "add matrix: {requests: [100], client: [single]}", func(n *yaml.Node) { s.Loads = d.loads(n) }),
		yamlfile.Key("repeats", func(n *yaml.Node) { d.repeats(n, s) }),
		yamlfile.Key("warmup", func(n *yaml.Node) { d.Integer(n, "warmup", &s.Warmup, 0, maxWarmup) }),
		yamlfile.Key("fresh", func(n *yaml.Node) { d.Choice(n, "fresh", &s.Fresh, FreshTopology, FreshCell, FreshRun) }),
		yamlfile.Key("starts", func(n *yaml.Node) { d.Integer(n, "starts", &s.Starts, 1, mostRepeats) }),
		yamlfile.Key("order", func(n *yaml.Node) { d.Choice(n, "order", &s.Order, OrderShuffle, OrderListed) }),
		yamlfile.Key("prune", func(n *yaml.Node) { d.Boolean(n, "prune", &s.Prune) }),
		yamlfile.Key("seed", func(n *yaml.Node) { d.Seed(n, "seed", &s.Seed) }),
		yamlfile.Key("baseline", func(n *yaml.Node) { s.Baseline = d.baseline(n, s) }),
		yamlfile.Key("thresholds", func(n *yaml.Node) { s.Thresholds = d.thresholds(n) }),
		yamlfile.Key("recommend", func(n *yaml.Node) { s.Recommend = d.recommend(n) }),
	)
	if !ok {
		return s
	}
	if s.Request.TLS != nil && !slices.ContainsFunc(s.Topologies, func(t Topology) bool { return t.TLS }) {
		d.Problem(o.Keys["request"], "add tls: true to the topologies that do, or remove request.tls", "the request has tls, and no topology speaks it")
	}
	d.starts(s, o)
	d.containers(s, o)
	s.read = d.read
	if cells := len(s.Topologies) * len(s.Loads) * s.Repeats; cells > d.maxCells {
		d.Problem(o.Keys["matrix"], "remove values from an axis, split the scenario, or raise the limit with --max-cells",
			"topologies × loads × repeats is %d × %d × %d = %d cells, more than the limit of %d",
			len(s.Topologies), len(s.Loads), s.Repeats, cells, d.maxCells)
	}
	return s
}

// containers checks what follows for each service from all that is said of it.
func (d *decoder) containers(s *Scenario, o yamlfile.Object) {
	for _, t := range s.Topologies {
		own := t.Over(s.App.Options)
		all := []container.Options{own}
		for _, service := range t.Services {
			all = append(all, service.Over(own))
		}
		for _, one := range all {
			limit := s.Resources.Of(t).Memory
			switch sum := one.InMemory(); {
			case one.Twice() != "":
				d.Problem(o.Keys["topologies"], "keep one of them", "containers of topology %s are to have two things at %s, by tmpfs and mounts", t.Name, one.Twice())
				return
			case limit > 0 && sum > limit:
				d.Problem(cmp.Or(o.Keys["resources"], o.Keys["topologies"]), "what is written there counts as memory: raise resources.memory, or lower shm_size or tmpfs",
					"shm_size and tmpfs of topology %s are %s together, more than the memory of %s", t.Name, units.Bytes.Format(float64(sum)), units.Bytes.Format(float64(limit)))
				return
			case s.Resources.GPU.MPS != nil && one.ShmSize > 0:
				d.Problem(o.Keys["resources"], "remove shm_size, or mps", "topology %s has a shm_size, and with resources.gpu.mps /dev/shm is the machine's", t.Name)
				return
			}
		}
	}
}

// listed are those of some keys that an object has, in their order there.
func listed(o yamlfile.Object, keys ...string) []string {
	return slices.DeleteFunc(slices.Clone(o.Order), func(key string) bool { return !slices.Contains(keys, key) })
}

// baseline reads the baseline and checks that it is in the scenario.
func (d *decoder) baseline(n *yaml.Node, s *Scenario) *Baseline {
	b := &Baseline{}
	o, ok := d.Object(n, "baseline", "baseline",
		yamlfile.Key("topology", func(n *yaml.Node) { d.Text(n, "baseline.topology", &b.Topology) }),
		yamlfile.Key("client", func(n *yaml.Node) { d.Text(n, "baseline.client", &b.Client) }),
	)
	if ok && len(n.Content) == 0 {
		d.Problem(n, "for example {topology: flask, client: single}", "baseline is empty")
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
		if value == "" || len(known) == 0 || slices.Contains(known, value) {
			return // or reported
		}
		d.Problem(o.Values[key], show.Suggest(value, known), "the scenario has no %s %s", what, show.Quote(value))
	}
	check("topology", b.Topology, "topology", names)
	check("client", b.Client, "client mode", clients)
	return b
}

// distinct drops words that were there before.
func distinct(words []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(words, func(w string) bool {
		before := seen[w]
		seen[w] = true
		return before
	})
}

// thresholds checks conditions and keeps them as text.
func (d *decoder) thresholds(n *yaml.Node) []string {
	var all []string
	for _, item := range yamlfile.Items(n) {
		var text string
		if !d.Text(item, "a threshold", &text) {
			continue
		}
		_, err := d.loader.Figures.Parse(text)
		var wrong *threshold.Error
		if errors.As(err, &wrong) {
			d.ProblemIn(item, wrong.Column, wrong.Hint, "%s", wrong.Message)
			continue
		}
		all = append(all, text)
	}
	return all
}

// mostRepeats is the limit of repeats.
const mostRepeats = 1000

// repeats reads how often each cell is measured: a number, or bounds within
// which it is repeated until the medians are known well enough.
func (d *decoder) repeats(n *yaml.Node, s *Scenario) {
	if n.Kind != yaml.MappingNode {
		d.Integer(n, "repeats", &s.Repeats, 1, mostRepeats)
		return
	}
	until := Until{Min: 3}
	sound := true
	o, _ := d.Object(n, "repeats", "repeats",
		yamlfile.Key("min", func(n *yaml.Node) { sound = d.Integer(n, "repeats.min", &until.Min, 1, mostRepeats) && sound }),
		yamlfile.Needed("max", "add max: 10", func(n *yaml.Node) { sound = d.Integer(n, "repeats.max", &s.Repeats, 1, mostRepeats) && sound }),
		yamlfile.Needed("until", "add until: 5%", func(n *yaml.Node) {
			percent, ok := d.QuantityIn(n, "repeats.until", units.Percent, 0, 100)
			until.Within, sound = percent/100, ok && sound
		}),
	)
	switch {
	case !sound || !o.Has("max") || !o.Has("until"): // reported
	case s.Repeats < IntervalRepeats:
		d.Problem(o.Values["max"], "raise it, or write repeats as one number",
			"repeats.max must be at least %d, not %d: until needs a 95%% interval of the median, and fewer repeats have none", IntervalRepeats, s.Repeats)
	case until.Min > s.Repeats:
		d.Problem(o.Values["min"], "", "repeats.min is %d, more than repeats.max", until.Min)
	default:
		s.Until = &until
	}
}

// starts checks that the rounds can be divided among the starts.
func (d *decoder) starts(s *Scenario, o yamlfile.Object) {
	switch n := o.Keys["starts"]; {
	case s.Fresh != FreshRun && o.Has("starts"):
		d.Problem(n, "write fresh: run, or remove starts", "starts is about stacks that stay up, and with fresh: %s none does", s.Fresh)
	case s.Starts > 1 && s.Until != nil:
		d.Problem(n, "write repeats as one number, or remove starts", "repeats.until may end the repeats before the second of %d starts", s.Starts)
	case s.Starts > 1 && s.Repeats%s.Starts != 0:
		d.Problem(n, "so that each start has as many rounds", "repeats must be a multiple of starts, and %d is none of %d", s.Repeats, s.Starts)
	case s.Fresh == FreshRun:
		s.Starts = max(1, s.Starts)
	}
}

// recommend reads what to choose a topology by.
func (d *decoder) recommend(n *yaml.Node) *Recommend {
	r := &Recommend{Objective: "duration"}
	_, ok := d.Object(n, "recommend", "recommend",
		yamlfile.Key("under", func(n *yaml.Node) { r.Under = d.budgets(n) }),
		yamlfile.Key("objective", func(n *yaml.Node) {
			if d.Text(n, "recommend.objective", &r.Objective) {
				d.figure(n, "recommend.objective")
			}
		}),
	)
	if ok && len(n.Content) == 0 {
		d.Problem(n, "for example {under: {gpu_peak: 5GiB}, objective: duration}", "recommend is empty")
	}
	return r
}

// figure is the figure that a node names.
func (d *decoder) figure(n *yaml.Node, what string) (threshold.Figure, bool) {
	f, known := d.loader.Figures.Find(n.Value)
	if !known {
		d.Problem(n, show.Suggest(n.Value, d.loader.Figures.Names()), "%s: there is no figure %s", what, show.Quote(n.Value))
	}
	return f, known
}

// budgets reads the limits of some figures and keeps them as they are written.
func (d *decoder) budgets(n *yaml.Node) map[string]string {
	if n.Kind != yaml.MappingNode {
		d.Problem(n, "for example {gpu_peak: 5GiB, p99: 2s}", "recommend.under must be a mapping, not %s", yamlfile.Describe(n))
		return nil
	}
	budgets := map[string]string{}
	for key, value := range yamlfile.Pairs(n) {
		if f, known := d.figure(key, "recommend.under"); known {
			if _, ok := d.Quantity(value, "recommend.under."+f.Name, f.Unit); ok {
				budgets[f.Name] = value.Value
			}
		}
	}
	return budgets
}

// Metrics are the names of the figures that have a budget, sorted.
func (r Recommend) Metrics() []string {
	return slices.Sorted(maps.Keys(r.Under))
}
