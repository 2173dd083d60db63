package scenarios

import (
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/container"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/syntax"
	"stackmeter/scenarios/template"
	"stackmeter/scenarios/yamlfile"
)

// topologies expands the list of topologies in its order and checks that their
// names differ.
func (d *decoder) topologies(n *yaml.Node, app App, appKeys yamlfile.Object) []Topology {
	var all []Topology
	first := map[string]*yaml.Node{}
	for _, item := range d.List(n, "topologies", d.maxCells) {
		expanded := d.topology(item, app, appKeys)
		if len(all)+len(expanded) > d.maxCells {
			d.Problem(item, "", "more topologies than the limit of %d cells", d.maxCells)
			return nil
		}
		for _, t := range expanded {
			if before := first[t.Name]; before != nil {
				d.Problem(item, "remove one of them, or give it a name of its own",
					"topology %s is already in %s", t.Name, d.Place(before))
				continue
			}
			first[t.Name] = item
			all = append(all, t)
		}
	}
	return all
}

func (d *decoder) topology(n *yaml.Node, app App, appKeys yamlfile.Object) []Topology {
	v := variants{d: d, node: n, app: app, appKeys: appKeys, axes: map[string][]topologyAxis{}}
	known := d.loader.Servers
	if n.Kind == yaml.ScalarNode {
		var text string
		if !d.Text(n, "a topology", &text) {
			return nil
		}
		short, err := known.Parse(text)
		if err != nil {
			d.Problem(n, known.Rule(), "topology %s: %v", show.Quote(text), err)
			return nil
		}
		n = short.Mapping(n)
	}
	fields := []yamlfile.Field{
		yamlfile.Key("name", func(n *yaml.Node) { d.Checked(n, "a topology's name", &v.base.Name, validName, nameRule) }),
		yamlfile.Key("server", func(n *yaml.Node) {
			d.Choice(n, "a topology's server", &v.base.Server, known.ServerNames()...)
		}),
		yamlfile.Key("class", v.class),
	}
	for _, one := range (syntax.Class{}).Axes() {
		fields = append(fields, yamlfile.Key(one.Name, func(n *yaml.Node) { v.numbers(n, one.Name, one.Most) }))
	}
	fields = append(fields, yamlfile.Key("proxy", v.proxy))
	for _, proxy := range known.Proxies {
		fields = append(fields, yamlfile.Key(proxy.Name, func(n *yaml.Node) { v.front(n, proxy) }))
	}
	fields = append(fields,
		yamlfile.Key("unix", func(n *yaml.Node) {
			values := axisOf(d, n, "unix", func(item *yaml.Node, into *bool) bool { return d.Boolean(item, "unix", into) })
			axisFrom(&v, "unix", values, strconv.FormatBool, func(t *Topology, unix bool) { t.Unix = unix })
		}),
		yamlfile.Key(keyReplicas, func(n *yaml.Node) { v.numbers(n, keyReplicas, maxReplicas) }),
		yamlfile.Key("command", func(n *yaml.Node) { v.command = d.command(n, "a topology's command", new(int)) }),
		yamlfile.Key("image", func(n *yaml.Node) { v.images(d.images(n, "a topology's image")) }),
		yamlfile.Key("env", v.env),
		yamlfile.Key("options", v.options),
		yamlfile.Key("resources", v.resources),
		yamlfile.Key("tls", func(n *yaml.Node) {
			d.Boolean(n, "a topology's tls", &v.base.TLS)
			d.forPython(n, !v.base.TLS, "remove tls", "a topology has tls, and the engine python-requests verifies certificates by its own rules only")
		}),
		yamlfile.Key("services", func(n *yaml.Node) { v.services, v.commands = d.services(n, app, appKeys) }),
	)
	fields = append(fields, container.Fields(d.File, "a topology's ", d.folder, &v.base.Options)...)
	for _, setting := range known.Settings() {
		fields = append(fields, yamlfile.Key(setting.Name, func(n *yaml.Node) {
			v.setting(n, setting.Name, setting, func(t *Topology) *map[string]string { return &t.Settings })
		}))
	}
	o, ok := d.Object(n, "topology", "a topology", fields...)
	if !ok {
		return nil
	}
	v.object = o
	if !v.check() {
		return nil
	}
	return v.expand()
}

// needsApp reports what topologies of one entry need from the app and do not find, and
// what their server cannot do, each for one of them.
func (d *decoder) needsApp(n *yaml.Node, all []Topology, app App, keys yamlfile.Object) {
	for _, t := range all {
		server, named := d.loader.Servers.Server(t.Server)
		if !named {
			break
		}
		class, _ := server.Class(t.Class)
		key, callable, rule := "wsgi", app.WSGI, wsgiRule
		if class.ASGI {
			key, callable, rule = "asgi", app.ASGI, asgiRule
		}
		if !keys.Has(key) {
			d.Problem(n, "add to app: "+rule, "topology %s needs app.%s", t.Name, key)
			break
		}
		if why, hint := server.Refuses(key, callable, t.Workers, t.Settings); why != "" {
			d.Problem(n, hint, "topology %s: %s", t.Name, why)
			break
		}
	}
	if t := all[0]; t.Server != ServerServices && t.Image == "" {
		d.needsImage(n, keys, "topology "+t.Name)
	}
}

func (d *decoder) needsImage(n *yaml.Node, app yamlfile.Object, what string) {
	if !app.Has("image") && !app.Has("build") && !app.Has("dir") {
		d.Problem(n, "add image: REFERENCE or build: FOLDER to app, or dir: FOLDER for local processes alone",
			"%s needs app.image or app.build", what)
	}
}

// An argument is one text of a command and where it is.
type argument struct {
	node *yaml.Node
	template.Template
}

// command reads an argv and adds its bytes to size. The size is bounded because a
// plan holds the filled commands of each topology.
func (d *decoder) command(n *yaml.Node, what string, size *int) []argument {
	if n.Kind != yaml.SequenceNode {
		d.Problem(n, "for example [waitress-serve, --port=8000, wsgi:app]; no shell splits a text",
			"%s must be a list, not %s", what, yamlfile.Describe(n))
		return nil
	}
	var argv []argument
	for _, item := range d.List(n, what, 256) {
		var text string
		if item.Kind == yaml.ScalarNode && item.Tag == "!!str" && item.Value == "" && len(argv) > 0 {
			text = "" // an empty argument is one, an empty program is none
		} else if !d.Written(item, what, &text) {
			continue
		}
		t, err := template.Parse(text)
		if err != nil {
			d.Problem(item, "", "%s: %v", what, err)
			continue
		}
		for _, name := range t.Names {
			if _, address := whose(name); !address && !slices.Contains(placeholders(), name) {
				d.Problem(item, show.Suggest(name, placeholders()), "there is no value for {%s}", show.Columns(show.Shorten(name, show.Quoted)))
			}
		}
		if *size += len(text) + maxWSGI*len(t.Names); *size > maxCommand {
			d.Problem(item, "", "%s is longer than %d bytes", what, maxCommand)
			return nil
		}
		argv = append(argv, argument{item, t})
	}
	return argv
}

// services reads a custom set of services. Their commands are separate, because
// the axes fill them later.
func (d *decoder) services(n *yaml.Node, app App, appKeys yamlfile.Object) ([]Service, [][]argument) {
	var all []Service
	var commands [][]argument
	size := 0
	first := map[string]*yaml.Node{}
	for _, item := range d.List(n, "services", 32) {
		s := Service{Port: app.Port}
		var command []argument
		o, ok := d.Object(item, "service", "a service", append([]yamlfile.Field{
			yamlfile.Key("name", func(n *yaml.Node) { d.Checked(n, "a service's name", &s.Name, validService, serviceRule) }),
			yamlfile.Key("image", func(n *yaml.Node) { d.Checked(n, "a service's image", &s.Image, validImage, imageRule) }),
			yamlfile.Key("command", func(n *yaml.Node) { command = d.command(n, "a service's command", &size) }),
			yamlfile.Key("env", func(n *yaml.Node) { d.environment(n, "a service's env", &s.Env) }),
			yamlfile.Key("port", func(n *yaml.Node) { d.Integer(n, "a service's port", &s.Port, 1, 65535) }),
		}, container.Fields(d.File, "a service's ", d.folder, &s.Options)...)...)
		if !ok {
			continue
		}
		if !o.Has("name") {
			d.Problem(item, "add name: NAME; the other services reach it by that name", "a service has no name")
		} else if before := first[s.Name]; before != nil {
			d.Problem(o.Values["name"], "give it a name of its own", "the service %s is already in %s", s.Name, d.Place(before))
		} else if s.Name != "" {
			first[s.Name] = o.Values["name"]
		}
		if !o.Has("image") {
			d.needsImage(item, appKeys, "a service without an image")
		}
		all = append(all, s)
		commands = append(commands, command)
	}
	return all, commands
}
