package scenarios

import (
	"cmp"
	"errors"
	"slices"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/container"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/gate"
	"stackmeter/scenarios/goals"
	"stackmeter/scenarios/ready"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/threshold"
	"stackmeter/scenarios/units"
	"stackmeter/scenarios/wire"
	"stackmeter/scenarios/yamlfile"
)

// scenario reads the whole document. Keys are read in the order in which they
// are listed here: requests, topologies and loads need the engine, topologies the
// app.
func (d *decoder) scenario(root *yaml.Node) *Scenario {
	s := &Scenario{settings: settings{
		App:       App{Port: 8000, Ready: ready.Default()},
		Request:   wire.Request{Method: "GET", Path: "/", Timeout: ready.Default().Timeout, Expect: expect.Answer{Status: 200}},
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
	blocks := goals.Reader{File: d.File, Figures: d.loader.Figures}
	o, ok := d.Object(root, "scenario", "the scenario", append([]yamlfile.Field{
		yamlfile.Needed("name", "add name: NAME", func(n *yaml.Node) { d.Checked(n, "name", &s.Scenario, validName, nameRule) }),
		yamlfile.Key("client", func(n *yaml.Node) {
			o, _ := d.Object(n, "client", "client",
				yamlfile.Key("engine", func(n *yaml.Node) {
					d.Choice(n, "client.engine", &s.Client.Engine, EngineNative, EnginePythonRequests)
				}),
				yamlfile.Key("cpuset", func(n *yaml.Node) { d.cpuset(n, "client.cpuset", &s.Client.Cpuset) }),
				yamlfile.Key("node", func(n *yaml.Node) { d.Choice(n, "client.node", &s.Client.Node, NodeOther, NodeSame) }),
				yamlfile.Key("cores", func(n *yaml.Node) { d.Integer(n, "client.cores", &s.Client.Cores, 1, mostClientCores) }),
			)
			d.client(s.Client, o)
			d.engine = s.Client.Engine
		}),
		yamlfile.Key("app", func(n *yaml.Node) { app = d.app(n, &s.App) }),
		yamlfile.Key("request", func(n *yaml.Node) {
			wire.Reader{File: d.File, Folder: d.folder, Env: d.loader.Env, Able: d.forPython}.Read(n, &s.Request)
		}),
		yamlfile.Key("resources", func(n *yaml.Node) { d.resources(n, &s.Resources) }),
		yamlfile.Needed("topologies", listTopologies, func(n *yaml.Node) { s.Topologies = d.topologies(n, s.App, app) }),
		yamlfile.Needed("matrix", "add matrix: {requests: [100], client: [single]}", func(n *yaml.Node) { s.Loads = d.loads(n) }),
		yamlfile.Key("repeats", func(n *yaml.Node) { d.repeats(n, s) }),
		yamlfile.Key("warmup", func(n *yaml.Node) { d.Integer(n, "warmup", &s.Warmup, 0, maxWarmup) }),
		yamlfile.Key("fresh", func(n *yaml.Node) { d.Choice(n, "fresh", &s.Fresh, FreshTopology, FreshCell, FreshRun) }),
		yamlfile.Key("starts", func(n *yaml.Node) { d.Integer(n, "starts", &s.Starts, 1, mostRepeats) }),
		yamlfile.Key("lanes", func(n *yaml.Node) { d.lanes(n, &s.Lanes) }),
		yamlfile.Key("order", func(n *yaml.Node) { d.Choice(n, "order", &s.Order, OrderShuffle, OrderListed) }),
		yamlfile.Key("prune", func(n *yaml.Node) { d.Boolean(n, "prune", &s.Prune) }),
		yamlfile.Key("seed", func(n *yaml.Node) { d.Seed(n, "seed", &s.Seed) }),
		yamlfile.Key("baseline", func(n *yaml.Node) { s.Baseline = d.baseline(n, s) }),
		yamlfile.Key("thresholds", func(n *yaml.Node) { s.Thresholds = d.thresholds(n) }),
		yamlfile.Key("recommend", func(n *yaml.Node) { s.Recommend = blocks.Recommend(n) }),
		yamlfile.Key("search", func(n *yaml.Node) { s.Search = blocks.Search(n) }),
	}, gate.Keys(d.File, &s.Gate)...)...)
	if !ok {
		return s
	}
	if s.Request.TLS != nil && !slices.ContainsFunc(s.Topologies, func(t Topology) bool { return t.TLS }) {
		d.Problem(o.Keys["request"], "add tls: true to the topologies that do, or remove request.tls", "the request has tls, and no topology speaks it")
	}
	if s.Search != nil {
		blocks.Beside(o, s.Fresh == FreshRun)
		s.Fresh = FreshRun
		if !o.Has("repeats") {
			s.Repeats = IntervalRepeats
		}
	}
	d.starts(s, o)
	d.containers(s, o)
	s.read = d.read
	if cells := len(s.Topologies) * len(s.Loads) * s.listed(); cells > d.maxCells {
		d.Problem(o.Keys["matrix"], "remove values from an axis, split the scenario, or raise the limit with --max-cells",
			"topologies × loads × repeats is %d × %d × %d = %d cells, more than the limit of %d",
			len(s.Topologies), len(s.Loads), s.listed(), cells, d.maxCells)
	}
	return s
}

// mostClientCores is the largest client.cores.
const mostClientCores = 1024

// client checks what excludes each other of the client. A Pod has other cores than this
// machine, and no Python.
func (d *decoder) client(c Client, o yamlfile.Object) {
	for _, key := range []string{"node", "cores"} {
		switch {
		case !o.Has(key):
		case c.Cpuset != "":
			d.Problem(o.Keys[key], "remove one of them", "client.%s is of a Pod, and client.cpuset names cores of this machine", key)
		case c.Engine == EnginePythonRequests:
			d.Problem(o.Keys[key], "use engine: native, or remove client."+key, "client.%s is of a Pod, which the engine %s does not have", key, c.Engine)
		}
	}
}

// containers checks what follows for each service from all that is said of it.
func (d *decoder) containers(s *Scenario, o yamlfile.Object) {
	for _, t := range s.Topologies {
		own := t.Over(s.App.Options)
		all := []container.Options{own}
		for _, service := range t.Services {
			all = append(all, service.Over(own))
		}
		if gpu := s.Resources.GPU; t.GPUProduct != "" && (gpu.Mode == GPUOff || len(gpu.Devices) > 0) {
			d.Problem(cmp.Or(o.Keys["resources"], o.Keys["topologies"]), "remove mode: off and devices, or the product",
				"topology %s says which product its GPU is, and the scenario's resources.gpu is off, or names devices", t.Name)
			return
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
		condition, err := d.loader.Figures.Parse(text)
		var wrong *threshold.Error
		if errors.As(err, &wrong) {
			d.ProblemIn(item, wrong.Column, wrong.Hint, "%s", wrong.Message)
			continue
		}
		if err == nil {
			if why, hint := condition.Tight(); why != "" {
				d.Warn(item, hint, "%s", why)
			}
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
