package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/container"
	"stackmeter/scenarios/show"
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
	v := variants{d: d, node: n, app: app, appKeys: appKeys}
	if n.Kind == yaml.ScalarNode {
		var text string
		if !d.Text(n, "a topology", &text) {
			return nil
		}
		short, err := d.loader.Servers.parse(text)
		if err != nil {
			d.Problem(n, d.loader.Servers.rule(), "topology %s: %v", show.Quote(text), err)
			return nil
		}
		n = short.mapping(n)
	}
	o, ok := d.Object(n, "topology", "a topology", append([]yamlfile.Field{
		yamlfile.Key("name", func(n *yaml.Node) { d.Checked(n, "a topology's name", &v.base.Name, validName, nameRule) }),
		yamlfile.Key("server", func(n *yaml.Node) {
			d.Choice(n, "a topology's server", &v.base.Server, d.loader.Servers.names()...)
		}),
		yamlfile.Key("workers", func(n *yaml.Node) { v.workers = d.numbers(n, "workers", maxWorkers) }),
		yamlfile.Key("threads", func(n *yaml.Node) { v.threads = d.numbers(n, "threads", maxThreads) }),
		yamlfile.Key("nginx", func(n *yaml.Node) {
			v.nginx = axisOf(d, n, "nginx", d.front)
		}),
		yamlfile.Key("command", func(n *yaml.Node) { v.command = d.command(n, "a topology's command", new(int)) }),
		yamlfile.Key("image", func(n *yaml.Node) { d.Checked(n, "a topology's image", &v.base.Image, validImage, imageRule) }),
		yamlfile.Key("env", func(n *yaml.Node) { d.environment(n, "a topology's env", &v.base.Env) }),
		yamlfile.Key("tls", func(n *yaml.Node) {
			d.Boolean(n, "a topology's tls", &v.base.TLS)
			d.forPython(n, !v.base.TLS, "remove tls", "a topology has tls, and the engine python-requests verifies certificates by its own rules only")
		}),
		yamlfile.Key("services", func(n *yaml.Node) { v.services, v.commands = d.services(n, app, appKeys) }),
	}, container.Fields(d.File, "a topology's ", &v.base.Options)...)...)
	if !ok {
		return nil
	}
	v.object = o
	if !v.check() {
		return nil
	}
	return v.expand()
}

// needsApp reports what a topology needs from the app and does not find.
func (d *decoder) needsApp(n *yaml.Node, t *Topology, app yamlfile.Object) {
	if _, named := d.loader.Servers.find(t.Server); named && !app.Has("wsgi") {
		d.Problem(n, "add to app: "+wsgiRule, "topology %s needs app.wsgi", t.Name)
	}
	if t.Server != ServerServices && t.Image == "" {
		d.needsImage(n, app, "topology "+t.Name)
	}
}

func (d *decoder) needsImage(n *yaml.Node, app yamlfile.Object, what string) {
	if !app.Has("image") && !app.Has("build") && !app.Has("dir") {
		d.Problem(n, "add image: REFERENCE or build: FOLDER to app, or dir: FOLDER for local processes alone",
			"%s needs app.image or app.build", what)
	}
}

// axisOf reads the values of an axis, none of them twice.
func axisOf[T comparable](d *decoder, n *yaml.Node, what string, read func(item *yaml.Node, into *T) bool) []T {
	var values []T
	for _, item := range d.List(n, what, d.maxCells) {
		var value T
		switch {
		case !read(item, &value):
		case slices.Contains(values, value):
			d.Problem(item, "remove one of them", "%s has %v twice", what, value)
		default:
			values = append(values, value)
		}
	}
	return values
}

// A front is a value of the axis nginx.
type front struct {
	nginx     bool
	says      bool // how many idle connections nginx keeps, instead of what fits the server
	keepalive int
}

// String is the value as it is written.
func (f front) String() string {
	if f.says {
		return fmt.Sprintf("{upstream_keepalive: %d}", f.keepalive)
	}
	return strconv.FormatBool(f.nginx)
}

// usualKeepalive is how many idle connections nginx keeps to a server that keeps
// them, too.
const usualKeepalive = 32

// front reads true, false, or nginx's options.
func (d *decoder) front(n *yaml.Node, into *front) bool {
	if n.Kind != yaml.MappingNode {
		return d.Boolean(n, "nginx", &into.nginx)
	}
	sound := true
	_, ok := d.Object(n, "nginx", "nginx",
		yamlfile.Key("upstream_keepalive", func(n *yaml.Node) {
			into.says = true
			sound = d.Integer(n, "nginx.upstream_keepalive", &into.keepalive, 0, maxThreads)
		}),
	)
	into.nginx = true
	return ok && sound
}

// numbers reads an axis of numbers from 1.
func (d *decoder) numbers(n *yaml.Node, what string, most int) []int {
	return axisOf(d, n, what, func(item *yaml.Node, into *int) bool { return d.Integer(item, what, into, 1, most) })
}

// An argument is one text of a command and where it is.
type argument struct {
	node *yaml.Node
	template
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
		t, err := parseTemplate(text)
		if err != nil {
			d.Problem(item, "", "%s: %v", what, err)
			continue
		}
		for _, name := range t.names {
			if _, address := whose(name); !address && !slices.Contains(placeholders(), name) {
				d.Problem(item, show.Suggest(name, placeholders()), "there is no value for {%s}", show.Columns(show.Shorten(name, show.Quoted)))
			}
		}
		if *size += len(text) + maxWSGI*len(t.names); *size > maxCommand {
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
		}, container.Fields(d.File, "a service's ", &s.Options)...)...)
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

// variants is a topology with its axes, before they are multiplied.
type variants struct {
	d        *decoder
	node     *yaml.Node
	object   yamlfile.Object
	app      App
	appKeys  yamlfile.Object
	base     Topology
	workers  []int
	threads  []int
	nginx    []front
	command  []argument
	services []Service
	commands [][]argument // of the services
}

// check reports contradictions between the keys. It returns true if the variants
// can be expanded.
func (v *variants) check() bool {
	d, o := v.d, v.object
	kinds := listed(o, "server", "command", "services")
	if len(kinds) == 0 {
		d.Problem(v.node, "add server: "+strings.Join(d.loader.Servers.names(), " or ")+", a command: [PROGRAM, …], or services", "a topology has no server")
		return false
	}
	for _, key := range kinds[1:] {
		d.Problem(o.Keys[key], "keep one of them", "a topology has both %s and %s", kinds[0], key)
	}
	if len(kinds) > 1 {
		return false
	}
	kind := kinds[0]
	if kind != "server" {
		v.base.Server = map[string]string{"command": ServerCommand, "services": ServerServices}[kind]
		if !o.Has("name") {
			d.Problem(v.node, "add name: NAME", "a topology with a %s of its own has no name", kind)
			return false
		}
	}
	server, named := d.loader.Servers.find(v.base.Server)
	for _, axis := range []struct {
		key    string
		usual  int
		values *[]int
	}{{"workers", server.Workers, &v.workers}, {"threads", server.Threads, &v.threads}} {
		if named && axis.usual == 0 && o.Has(axis.key) {
			d.Problem(o.Keys[axis.key], "remove it, or use another server", "%s has no %s to set: %s", server.Name, axis.key, server.Lacks)
		}
		if named && (axis.usual == 0 || !o.Has(axis.key)) {
			*axis.values = []int{axis.usual}
		}
	}
	for _, env := range []map[string]string{v.app.Env, d.loader.Env, v.base.Env} {
		for _, name := range slices.Sorted(maps.Keys(env)) {
			if slices.ContainsFunc(server.Decides, func(start string) bool { return strings.HasPrefix(name, start) }) {
				d.Problem(v.node, "remove it from the environment of the app and of the topology, or write a command of your own instead of server: "+server.Name,
					"the environment sets %s, which server: %s decides itself", show.Quote(name), server.Name)
			}
		}
	}
	if kind == "services" {
		for _, key := range []string{"nginx", "image"} {
			if o.Has(key) {
				d.Problem(o.Keys[key], "make it part of a service", "a topology with services of its own has no %s", key)
			}
		}
	}
	if kind != "server" {
		v.checkPlaceholders()
	}
	if v.base.TLS && (kind == "server" || slices.ContainsFunc(v.nginx, func(f front) bool { return f.nginx })) {
		d.Problem(o.Keys["tls"], "use a command or services of your own whose last one has a certificate",
			"%s and nginx are started without TLS", strings.Join(d.loader.Servers.names(), ", "))
	}
	sound := (!o.Has("name") || v.base.Name != "") && v.base.Server != ""
	for key, values := range map[string]int{"workers": len(v.workers), "threads": len(v.threads), "nginx": len(v.nginx)} {
		sound = sound && (!o.Has(key) || values > 0)
	}
	return sound
}

// checkPlaceholders reports placeholders without a value, and axes that would
// multiply a command without changing it.
func (v *variants) checkPlaceholders() {
	filled := map[string]bool{
		placeWorkers: v.object.Has("workers"),
		placeThreads: v.object.Has("threads"),
		placeWSGI:    v.appKeys.Has("wsgi"),
	}
	var services []string
	for _, s := range v.services {
		services = append(services, s.Name)
	}
	used := map[string]bool{}
	for _, argv := range append(v.commands, v.command) {
		for _, a := range argv {
			for _, name := range a.names {
				used[name] = true
				if service, address := whose(name); address && !slices.Contains(services, service) {
					hint := "only a topology with services has other services to name"
					if len(services) > 0 {
						hint = show.Suggest(service, services)
					}
					v.d.Problem(a.node, hint, "there is no value for {%s}", show.Columns(show.Shorten(name, show.Quoted)))
				}
				if full, known := filled[name]; known && !full {
					hint := "add " + name + " to the topology, for example " + name + ": [1, 2, 4]"
					if name == placeWSGI {
						hint = "add wsgi to app, for example wsgi: wsgi:app"
					}
					v.d.Problem(a.node, hint, "there is no value for {%s}", name)
				}
			}
		}
	}
	for _, axis := range []string{placeWorkers, placeThreads} {
		if v.object.Has(axis) && !used[axis] {
			v.d.Problem(v.object.Keys[axis], "write {"+axis+"} where the command takes the number",
				"the command does not use {%s}: every value would be the same server", axis)
		}
	}
}

// expand multiplies the axes, the first one listed varying slowest.
func (v *variants) expand() []Topology {
	workers, threads, nginx := orZero(v.workers), orZero(v.threads), orZero(v.nginx)
	count := len(workers) * len(threads) * len(nginx)
	if count > v.d.maxCells {
		v.d.Problem(v.node, "remove values from an axis, or raise the limit with --max-cells", "a topology expands to %d, more than the limit of %d cells", count, v.d.maxCells)
		return nil
	}
	lengths := map[string]int{"workers": len(workers), "threads": len(threads), "nginx": len(nginx)}
	var all []Topology
	for i := range count {
		at := map[string]int{}
		for _, key := range slices.Backward(v.object.Order) {
			if n := lengths[key]; n > 0 {
				at[key], i = i%n, i/n
			}
		}
		all = append(all, v.variant(workers[at["workers"]], threads[at["threads"]], nginx[at["nginx"]]))
	}
	v.d.needsApp(v.node, &all[0], v.appKeys)
	return all
}

// orZero returns the values of an axis, or one zero value if it has none.
func orZero[T any](values []T) []T {
	if len(values) == 0 {
		return make([]T, 1)
	}
	return values
}

func (v *variants) variant(workers, threads int, front front) Topology {
	t := v.base
	t.Workers, t.Threads, t.Nginx = workers, threads, front.nginx
	if front.nginx {
		keep := front.keepalive
		if server, _ := v.d.loader.Servers.find(t.Server); !front.says && server.Keeps > 0 && threads >= server.Keeps {
			keep = usualKeepalive
		}
		t.UpstreamKeepalive = &keep
	}
	name := t.Name
	if name == "" {
		name = t.Server
	}
	t.Name = topologyName(name, front.nginx, workers, threads)
	values := map[string]string{
		placeWorkers: strconv.Itoa(workers),
		placeThreads: strconv.Itoa(threads),
		placeWSGI:    v.app.WSGI,
	}
	t.Command = fill(v.command, values)
	for i, s := range v.services {
		s.Command = fill(v.commands[i], values)
		t.Services = append(t.Services, s)
	}
	return t
}

func fill(argv []argument, values map[string]string) []string {
	var command []string
	for _, a := range argv {
		command = append(command, a.fill(values))
	}
	return command
}
