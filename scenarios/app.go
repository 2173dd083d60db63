package scenarios

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

func (d *decoder) app(n *yaml.Node, a *App) object {
	o, _ := d.object(n, "app", "app",
		field{"image", func(n *yaml.Node) { d.checked(n, "app.image", &a.Image, validImage, imageRule) }},
		field{"build", func(n *yaml.Node) { a.Build = d.build(n) }},
		field{"dir", func(n *yaml.Node) { a.Dir = d.appDir(n) }},
		field{"venv", func(n *yaml.Node) {
			// Whether it is there is the machine's matter, not the scenario's:
			// it is made where local processes run, and containers need none.
			if d.text(n, "app.venv", &a.Venv) {
				a.Venv = d.folder.path(a.Venv)
			}
		}},
		field{"wsgi", func(n *yaml.Node) { d.checked(n, "app.wsgi", &a.WSGI, validWSGI, wsgiRule) }},
		field{"env", func(n *yaml.Node) { d.environment(n, "app.env", &a.Env) }},
		field{"port", func(n *yaml.Node) { d.integer(n, "app.port", &a.Port, 1, 65535) }},
		field{"ready", func(n *yaml.Node) { d.ready(n, &a.Ready) }},
	)
	if o.has("image") && o.has("build") {
		d.problem(o.keys["build"], "keep image or build", "app has an image and a build: which of them is meant?")
	}
	return o
}

func (d *decoder) appDir(n *yaml.Node) string {
	var dir string
	if !d.text(n, "app.dir", &dir) {
		return ""
	}
	if err := d.folder.exists("app.dir", dir); err != nil {
		d.problem(n, "the path is relative to the scenario file", "%v", err)
	}
	return d.folder.path(dir)
}

func (d *decoder) build(n *yaml.Node) *Build {
	b := &Build{}
	context := n
	dockerfile := "Dockerfile"
	if n.Kind == yaml.ScalarNode { // the context alone
		if !d.text(n, "app.build", &b.Context) {
			return b
		}
	} else {
		o, ok := d.object(n, "build", "app.build",
			field{"context", func(n *yaml.Node) { d.text(n, "app.build.context", &b.Context) }},
			field{"dockerfile", func(n *yaml.Node) {
				d.checked(n, "app.build.dockerfile", &b.Dockerfile, filepath.IsLocal, "a path within the context")
			}},
			field{"args", func(n *yaml.Node) { d.buildArgs(n, &b.Args) }},
		)
		if !ok {
			return b
		}
		if !o.has("context") {
			d.problem(n, "add context: FOLDER", "app.build has no context")
			return b
		}
		context = o.values["context"]
		if b.Dockerfile != "" {
			dockerfile = b.Dockerfile
		} else if o.has("dockerfile") {
			return b // reported
		}
	}
	if b.Context == "" {
		return b // reported
	}
	if err := d.folder.buildContext(b.Context, dockerfile, d.operators(context)); err != nil {
		d.problem(context, pathHint(err), "%v", err)
	}
	b.Context = d.folder.path(b.Context)
	return b
}

// buildArgs reads a build's arguments. The image keeps them, so that no value
// of the operator's may be among them.
func (d *decoder) buildArgs(n *yaml.Node, into *map[string]string) {
	const what = "app.build.args"
	d.dictionary(n, what, into, validEnv, envRule)
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		for _, name := range slices.Sorted(maps.Keys(d.loader.Env)) {
			if key.Value == name || len(value.Value) >= minSecret && value.Value == d.loader.Env[name] {
				d.problem(key, "the app has it when it runs; leave it out of the build", "%s cannot have %s: it is given by --env, and an image keeps its build arguments (docker history shows them)", what, show.Quote(name))
			}
		}
	}
}

func (d *decoder) ready(n *yaml.Node, r *Ready) {
	d.object(n, "ready", "app.ready",
		field{"path", func(n *yaml.Node) { d.urlPath(n, "app.ready.path", &r.Path) }},
		field{"timeout", func(n *yaml.Node) { d.duration(n, "app.ready.timeout", &r.Timeout) }},
	)
}

func (d *decoder) resources(n *yaml.Node, r *Resources) {
	const least, most = 6 << 20, 64 << 40 // 6 MiB is the least a container engine accepts
	d.object(n, "resources", "resources",
		field{"gpu", func(n *yaml.Node) { d.gpu(n, &r.GPU) }},
		field{"cpus", func(n *yaml.Node) { d.number(n, "resources.cpus", &r.CPUs, 0, 4096) }},
		field{"memory", func(n *yaml.Node) { d.size(n, "resources.memory", &r.Memory, least, most) }},
		field{"cpuset", func(n *yaml.Node) { d.cpuset(n, "resources.cpuset", &r.Cpuset) }},
	)
}

func (d *decoder) gpu(n *yaml.Node, g *GPU) {
	o, ok := d.object(n, "gpu", "resources.gpu",
		field{"mode", func(n *yaml.Node) { d.choice(n, "resources.gpu.mode", &g.Mode, GPUAuto, GPURequired, GPUOff) }},
		field{"count", func(n *yaml.Node) {
			if n.Kind == yaml.ScalarNode && n.Value == "all" {
				g.Count = AllGPUs
			} else if n.Tag != "!!int" {
				d.problem(n, "", "resources.gpu.count has to be a whole number or all, not %s", describe(n))
			} else {
				d.integer(n, "resources.gpu.count", &g.Count, 1, 64)
			}
		}},
		field{"devices", func(n *yaml.Node) { d.devices(n, g) }},
		field{"mps", func(n *yaml.Node) { g.MPS = d.mps(n) }},
	)
	switch {
	case o.has("count") && o.has("devices"):
		d.problem(o.keys["count"], "keep count or devices", "resources.gpu has a count and devices: which of them is meant?")
	case g.Mode == GPUOff && (o.has("count") || o.has("devices")):
		d.problem(o.keys["mode"], "take mode: off out, or the devices", "resources.gpu is off and asks for devices")
	case g.Mode == GPUOff && g.MPS != nil:
		d.problem(o.keys["mode"], "take mode: off out, or mps", "resources.gpu is off and asks for MPS")
	}
	if ok && (g.Mode == GPUOff || o.has("devices")) && !o.has("count") {
		g.Count = 0
	}
}

// mps reads true, false, or the limits.
func (d *decoder) mps(n *yaml.Node) *MPS {
	const what = "resources.gpu.mps"
	if n.Kind != yaml.MappingNode {
		on := false
		if n.Tag != "!!bool" {
			d.problem(n, "write true, or limits such as {active_threads: 50%, memory: 4GiB}", "%s has to be true, false or limits, not %s", what, describe(n))
		} else if d.boolean(n, what, &on) && on {
			return &MPS{}
		}
		return nil
	}
	m := &MPS{}
	d.object(n, "mps", what,
		field{"active_threads", func(n *yaml.Node) { d.percent(n, what+".active_threads", &m.ActiveThreads) }},
		field{"memory", func(n *yaml.Node) {
			// The service counts in MiB.
			if d.size(n, what+".memory", &m.Memory, 1<<20, 64<<40) && m.Memory%(1<<20) != 0 {
				d.problem(n, "", "%s has to be a whole number of MiB, not %s", what+".memory", n.Value)
			}
		}},
	)
	return m
}

func (d *decoder) devices(n *yaml.Node, g *GPU) {
	for _, item := range d.list(n, "resources.gpu.devices", 64) {
		var name string
		if !d.written(item, "resources.gpu.devices", &name) {
			continue
		}
		rest, found := strings.CutPrefix(name, "GPU-")
		if !found {
			rest, found = strings.CutPrefix(name, "MIG-")
		}
		switch {
		case !(found && only(rest, letters+digits+"-/")) && !(only(name, digits) && len(name) <= 3):
			d.problem(item, "a UUID such as GPU-5ad2… (nvidia-smi -L lists them) or an index",
				"resources.gpu.devices has no device %s", show.Quote(name))
		case slices.Contains(g.Devices, name):
			d.problem(item, "", "resources.gpu.devices has %s twice", name)
		default:
			g.Devices = append(g.Devices, name)
		}
	}
}

// defaultReady is a GET of /, the one path that every site has, for a minute.
func defaultReady() Ready { return Ready{Path: "/", Timeout: time.Minute} }
