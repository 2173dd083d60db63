package scenarios

import (
	"maps"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/container"
	"stackmeter/scenarios/folder"
	"stackmeter/scenarios/ready"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
	"stackmeter/scenarios/yamlfile"
)

func (d *decoder) app(n *yaml.Node, a *App) yamlfile.Object {
	o, _ := d.Object(n, "app", "app", append([]yamlfile.Field{
		yamlfile.Key("image", func(n *yaml.Node) {
			if d.appImages = d.images(n, "app.image"); len(d.appImages) == 1 {
				a.Image = d.appImages[0]
			}
		}),
		yamlfile.Key("build", func(n *yaml.Node) { a.Build = d.build(n) }),
		yamlfile.Key("dir", func(n *yaml.Node) { a.Dir = d.appDir(n) }),
		yamlfile.Key("venv", func(n *yaml.Node) {
			// It need not exist here: it is made where local processes run, and
			// containers need none.
			if d.Text(n, "app.venv", &a.Venv) {
				a.Venv = d.folder.Path(a.Venv)
			}
		}),
		yamlfile.Key("wsgi", func(n *yaml.Node) { d.Checked(n, "app.wsgi", &a.WSGI, validWSGI, wsgiRule) }),
		yamlfile.Key("asgi", func(n *yaml.Node) { d.Checked(n, "app.asgi", &a.ASGI, validWSGI, asgiRule) }),
		yamlfile.Key("env", func(n *yaml.Node) { d.environment(n, "app.env", &a.Env) }),
		yamlfile.Key("port", func(n *yaml.Node) { d.Integer(n, "app.port", &a.Port, 1, 65535) }),
		yamlfile.Key("ready", func(n *yaml.Node) { ready.Read(d.File, n, d.loader.Env, d.readyCommand, &a.Ready) }),
	}, container.Fields(d.File, "app.", d.folder, &a.Options)...)...)
	if o.Has("image") && o.Has("build") {
		d.Problem(o.Keys["build"], "keep one of them", "app has both an image and a build")
	}
	return o
}

func (d *decoder) appDir(n *yaml.Node) string {
	var dir string
	if !d.Text(n, "app.dir", &dir) {
		return ""
	}
	if err := d.folder.Exists("app.dir", dir); err != nil {
		d.Problem(n, "the path is relative to the scenario file", "%v", err)
	}
	return d.folder.Path(dir)
}

func (d *decoder) build(n *yaml.Node) *Build {
	b := &Build{}
	context := n
	dockerfile := "Dockerfile"
	if n.Kind == yaml.ScalarNode { // the context alone
		if !d.Text(n, "app.build", &b.Context) {
			return b
		}
	} else {
		o, ok := d.Object(n, "build", "app.build",
			yamlfile.Needed("context", "add context: FOLDER", func(n *yaml.Node) { d.Text(n, "app.build.context", &b.Context) }),
			yamlfile.Key("dockerfile", func(n *yaml.Node) {
				d.Checked(n, "app.build.dockerfile", &b.Dockerfile, filepath.IsLocal, "a path within the context")
			}),
			yamlfile.Key("target", func(n *yaml.Node) { d.Checked(n, "app.build.target", &b.Target, validName, nameRule) }),
			yamlfile.Key("args", func(n *yaml.Node) { d.buildArgs(n, &b.Args) }),
			yamlfile.Key("secrets", func(n *yaml.Node) { d.buildSecrets(n, &b.Secrets) }),
		)
		if !ok || !o.Has("context") {
			return b // reported
		}
		context = o.Values["context"]
		if b.Dockerfile != "" {
			dockerfile = b.Dockerfile
		} else if o.Has("dockerfile") {
			return b // reported
		}
	}
	if b.Context == "" {
		return b // reported
	}
	if err := d.folder.BuildContext(b.Context, dockerfile, d.Given(context)); err != nil {
		d.Problem(context, folder.Hint(err), "%v", err)
	}
	b.Context = d.folder.Path(b.Context)
	return b
}

// buildArgs reads the arguments of a build. The image keeps them, so no value of
// the operator's may be among them.
func (d *decoder) buildArgs(n *yaml.Node, into *map[string]string) {
	const what = "app.build.args"
	d.Dictionary(n, what, into, validEnv, envRule)
	for key, value := range yamlfile.Pairs(n) {
		for _, name := range slices.Sorted(maps.Keys(d.loader.Env)) {
			if key.Value == name || len(value.Value) >= show.MinSecret && value.Value == d.loader.Env[name] {
				d.Problem(key, "remove it from the build; the app has it when it runs", "%s cannot have %s: it is given by --env, and an image keeps its build arguments (docker history shows them)", what, show.Quote(name))
			}
		}
	}
}

// buildSecrets reads where the secrets of a build come from. A file of the
// operator's, or a variable that --env did not give, is not the scenario's to name.
func (d *decoder) buildSecrets(n *yaml.Node, into *map[string]BuildSecret) {
	const what = "app.build.secrets"
	if n.Kind != yaml.MappingNode {
		d.Problem(n, "for example {pip: {file: pip.conf}, token: {env: TOKEN}}", "%s must be a mapping", what)
		return
	}
	*into = map[string]BuildSecret{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !validName(key.Value) {
			d.Problem(key, nameRule, "%s has the invalid name %s", what, show.Quote(key.Value))
			continue
		}
		var secret BuildSecret
		o, ok := d.Object(value, "buildSecret", what+"."+key.Value,
			yamlfile.Key("file", func(n *yaml.Node) {
				if !d.Text(n, what+"."+key.Value+".file", &secret.File) {
					return
				}
				files, err := d.folder.Files(folder.EscapeGlob(secret.File), d.Given(n))
				if err != nil {
					d.Problem(n, folder.Hint(err), "%v", err)
					return
				}
				secret.File = files[0]
			}),
			yamlfile.Key("env", func(n *yaml.Node) {
				if !d.Checked(n, what+"."+key.Value+".env", &secret.Env, validEnv, envRule) {
					return
				}
				if _, given := d.loader.Env[secret.Env]; !given {
					d.Problem(n, "give it by name: --env "+secret.Env, "%s.%s: the variable %s is not given to this scenario", what, key.Value, secret.Env)
				}
			}),
		)
		if ok && o.Has("file") == o.Has("env") {
			d.Problem(key, "for example {file: pip.conf} or {env: TOKEN}", "%s.%s has to come from a file or from a variable, one of the two", what, key.Value)
		}
		(*into)[key.Value] = secret
	}
}

// readyCommand reads a command that is run beside the app, which has no topology's
// axes.
func (d *decoder) readyCommand(n *yaml.Node, what string) []string {
	argv := d.command(n, what, new(int))
	for _, a := range argv {
		for _, name := range a.Names {
			if _, address := whose(name); address || slices.Contains(append(textPlaceholders(), placeSocket), name) {
				d.Problem(a.node, "only {host} and {port}, where the service listens, are known", "%s: there is no value for {%s}", what, show.Columns(show.Shorten(name, show.Quoted)))
			}
		}
	}
	return fill(argv, nil)
}

// Ranges of resources. 6 MiB is the least a container engine accepts.
const (
	mostCPUs    = 4096
	leastMemory = 6 << 20
	mostMemory  = 64 << 40
)

func (d *decoder) resources(n *yaml.Node, r *Resources) {
	d.Object(n, "resources", "resources",
		yamlfile.Key("gpu", func(n *yaml.Node) { d.gpu(n, &r.GPU) }),
		yamlfile.Key("cpus", func(n *yaml.Node) { r.CPUs, _ = d.QuantityIn(n, "resources.cpus", units.None, 0, mostCPUs) }),
		yamlfile.Key("memory", func(n *yaml.Node) {
			bytes, _ := d.QuantityIn(n, "resources.memory", units.Bytes, leastMemory, mostMemory)
			r.Memory = int64(bytes)
		}),
		yamlfile.Key("cpuset", func(n *yaml.Node) { d.cpuset(n, "resources.cpuset", &r.Cpuset) }),
	)
}

func (d *decoder) gpu(n *yaml.Node, g *GPU) {
	o, ok := d.Object(n, "gpu", "resources.gpu",
		yamlfile.Key("mode", func(n *yaml.Node) { d.Choice(n, "resources.gpu.mode", &g.Mode, GPUAuto, GPURequired, GPUOff) }),
		yamlfile.Key("count", func(n *yaml.Node) {
			if n.Kind == yaml.ScalarNode && n.Value == "all" {
				g.Count = AllGPUs
			} else if n.Tag != "!!int" {
				d.Problem(n, "", "resources.gpu.count must be a whole number or all, not %s", yamlfile.Describe(n))
			} else {
				d.Integer(n, "resources.gpu.count", &g.Count, 1, 64)
			}
		}),
		yamlfile.Key("devices", func(n *yaml.Node) { d.devices(n, g) }),
		yamlfile.Key("product", func(n *yaml.Node) { d.Checked(n, "resources.gpu.product", &g.Product, validProduct, productRule) }),
		yamlfile.Key("mig", func(n *yaml.Node) { d.Checked(n, "resources.gpu.mig", &g.MIG, validMIG, migRule) }),
		yamlfile.Key("mps", func(n *yaml.Node) { g.MPS = d.mps(n) }),
	)
	switch {
	case o.Has("count") && o.Has("devices"):
		d.Problem(o.Keys["count"], "keep one of them", "resources.gpu has both count and devices")
	case g.Mode == GPUOff && (o.Has("count") || o.Has("devices")):
		d.Problem(o.Keys["mode"], "remove mode: off, or the devices", "resources.gpu is off and asks for devices")
	case o.Has("devices") && (o.Has("product") || o.Has("mig")):
		d.Problem(o.Keys["devices"], "keep one of them", "resources.gpu names devices, and says which kind they are")
	case g.MIG != "" && (g.MPS != nil || g.Count == AllGPUs):
		d.Problem(o.Keys["mig"], "write how many instances in count, without mps", "resources.gpu.mig is a kind of MIG instances, which have neither count: all nor mps")
	case g.Mode == GPUOff && (o.Has("product") || o.Has("mig")):
		d.Problem(o.Keys["mode"], "remove mode: off, or the kind of devices", "resources.gpu is off and says which kind of devices a stack gets")
	case g.Mode == GPUOff && g.MPS != nil:
		d.Problem(o.Keys["mode"], "remove mode: off, or mps", "resources.gpu is off and asks for MPS")
	}
	if ok && (g.Mode == GPUOff || o.Has("devices")) && !o.Has("count") {
		g.Count = 0
	}
}

// mps reads true, false, or the limits.
func (d *decoder) mps(n *yaml.Node) *MPS {
	const what = "resources.gpu.mps"
	if n.Kind != yaml.MappingNode {
		on := false
		if n.Tag != "!!bool" {
			d.Problem(n, "write true, or limits such as {active_threads: 50%, memory: 4GiB}", "%s must be true, false or limits, not %s", what, yamlfile.Describe(n))
		} else if d.Boolean(n, what, &on) && on {
			return &MPS{}
		}
		return nil
	}
	m := &MPS{}
	d.Object(n, "mps", what,
		yamlfile.Key("active_threads", func(n *yaml.Node) {
			m.ActiveThreads, _ = d.QuantityIn(n, what+".active_threads", units.Percent, 0, 100)
		}),
		yamlfile.Key("memory", func(n *yaml.Node) {
			bytes, ok := d.QuantityIn(n, what+".memory", units.Bytes, 1<<20, 64<<40)
			m.Memory = int64(bytes)
			if ok && m.Memory%(1<<20) != 0 { // the service counts in MiB
				d.Problem(n, "", "%s must be a whole number of MiB, not %s", what+".memory", n.Value)
			}
		}),
	)
	return m
}

func (d *decoder) devices(n *yaml.Node, g *GPU) {
	for _, item := range d.List(n, "resources.gpu.devices", 64) {
		var name string
		if !d.Written(item, "resources.gpu.devices", &name) {
			continue
		}
		switch {
		case !validDevice(name):
			d.Problem(item, "a UUID such as GPU-5ad2… (nvidia-smi -L lists them) or an index",
				"resources.gpu.devices has no device %s", show.Quote(name))
		case slices.Contains(g.Devices, name):
			d.Problem(item, "", "resources.gpu.devices has %s twice", name)
		default:
			g.Devices = append(g.Devices, name)
		}
	}
}
