package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/syntax"
	"stackmeter/scenarios/yamlfile"
)

// variants is a topology with its axes, before they are multiplied.
type variants struct {
	d        *decoder
	node     *yaml.Node
	object   yamlfile.Object
	app      App
	appKeys  yamlfile.Object
	base     Topology
	axes     map[string][]topologyAxis // by the key of the topology that they are below
	classes  []string
	proxies  []string
	command  []argument
	services []Service
	commands [][]argument // of the services
}

// check reports contradictions between the keys. It returns true if the variants
// can be expanded.
func (v *variants) check() bool {
	d, o := v.d, v.object
	known := d.loader.Servers
	kinds := o.Among("server", "command", "services")
	if len(kinds) == 0 {
		d.Problem(v.node, "add server: "+strings.Join(known.ServerNames(), " or ")+", a command: [PROGRAM, …], or services", "a topology has no server")
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
	server, named := known.Server(v.base.Server)
	v.checkServer(server, named, kind)
	if v.base.TLS && (named || slices.ContainsFunc(v.proxies, func(proxy string) bool { return proxy != noProxy })) {
		d.Problem(o.Keys["tls"], "use a command or services of your own whose last one has a certificate",
			"%s are started without TLS", strings.Join(slices.Concat(known.ServerNames(), known.ProxyNames()), ", "))
	}
	if len(v.proxies) == 0 || slices.Contains(v.proxies, noProxy) {
		for key, what := range map[string]string{"unix": "a unix socket is between a proxy and a server", keyReplicas: "replicas stand behind a proxy"} {
			if o.Has(key) {
				d.Problem(o.Keys[key], "add a proxy, or remove "+key, "%s, and there is no proxy", what)
			}
		}
	}
	sound := (!o.Has("name") || v.base.Name != "") && v.base.Server != ""
	for _, axes := range v.axes {
		for _, one := range axes {
			sound = sound && len(one.values) > 0
		}
	}
	if sound {
		v.checkPlaceholders(server, named)
	}
	return sound
}

// checkServer reports keys that the topology's server does not have.
func (v *variants) checkServer(server syntax.Server, named bool, kind string) {
	d, o := v.d, v.object
	called := "a topology with a " + kind + " of its own"
	if named {
		called = server.Name
	}
	if o.Has("unix") && v.app.Ready.NeedsPort() {
		d.Problem(o.Keys["unix"], "let app.ready ask for a path", "app.ready waits for a port, and a server with a unix socket has none")
	}
	for _, setting := range d.loader.Servers.Settings() {
		if o.Has(setting.Name) && !slices.ContainsFunc(server.Settings, func(s syntax.Setting) bool { return s.Name == setting.Name }) {
			d.Problem(o.Keys[setting.Name], "remove it, or use another server", "%s has no %s", called, setting.Name)
		}
	}
	if o.Has("options") && !server.Options {
		d.Problem(o.Keys["options"], "write a command of your own", "%s has no options", called)
	}
	for key := range yamlfile.Pairs(cmp.Or(o.Values["options"], &yaml.Node{})) {
		// Many programs take the beginning of an option's name for it.
		if i := slices.IndexFunc(server.Reserved, func(one string) bool { return strings.HasPrefix(one, key.Value) }); i >= 0 {
			d.Problem(key, "other keys of the topology and of the app say it", "the option %s is given by stackmeter", show.Quote(server.Reserved[i]))
		}
	}
	if !named {
		for _, key := range o.Among("class", "unix") {
			if key != "unix" || kind != "command" {
				d.Problem(o.Keys[key], "remove it", "%s has no %s", called, key)
			}
		}
		for i, s := range v.services {
			if slices.Contains(v.proxies, s.Name) {
				d.Problem(o.Values["services"].Content[i], "give it another name", "the service %s is called as the proxy in front of it", s.Name)
			}
		}
		if kind == "services" {
			for _, key := range o.Among("image", "resources", keyReplicas) {
				d.Problem(o.Keys[key], "make it part of a service", "a topology with services of its own has no %s", key)
			}
		}
		return
	}
	for _, name := range append([]string{""}, v.classes...)[min(1, len(v.classes)):] {
		class, _ := server.Class(name)
		for _, one := range class.Axes() {
			if one.Usual == 0 && o.Has(one.Name) {
				d.Problem(o.Keys[one.Name], "remove it, or use another server", "%s has no %s to set: %s", server.Called(name), one.Name, class.Lacks)
			}
		}
	}
	if o.Has("unix") && !server.Unix {
		d.Problem(o.Keys["unix"], "remove it, or use another server", "%s cannot listen on a unix socket", server.Name)
	}
	own := map[string]string{} // an axis' variables too
	for key := range yamlfile.Pairs(cmp.Or(o.Values["env"], &yaml.Node{})) {
		own[key.Value] = ""
	}
	for _, env := range []map[string]string{v.app.Env, d.loader.Env, own} {
		for _, name := range slices.Sorted(maps.Keys(env)) {
			if slices.ContainsFunc(server.Decides, func(start string) bool { return strings.HasPrefix(name, start) }) {
				d.Problem(v.node, "remove it from the environment of the app and of the topology, or write a command of your own instead of server: "+server.Name,
					"the environment sets %s, which server: %s decides itself", show.Quote(name), server.Name)
			}
		}
	}
}

// checkPlaceholders reports placeholders without a value, and axes that would
// multiply a command without changing it.
func (v *variants) checkPlaceholders(server syntax.Server, named bool) {
	o := v.object
	filled := map[string]bool{placeWSGI: v.appKeys.Has("wsgi"), placeASGI: v.appKeys.Has("asgi"), placeSocket: o.Has("unix")}
	for _, one := range (syntax.Class{}).Axes() {
		filled[one.Name] = o.Has(one.Name)
	}
	if named {
		class, _ := server.Class(append(v.classes, "")[0])
		for _, one := range class.Axes() {
			filled[one.Name] = one.Usual > 0
		}
	}
	var services []string
	for _, s := range v.services {
		services = append(services, s.Name)
	}
	used := map[string]bool{}
	apps := false // it is in the app's environment
	use := func(at *yaml.Node, name string) {
		used[name] = true
		if full, known := filled[name]; known && !full {
			hint := "add " + name + " to the topology, for example " + name + ": [1, 2, 4]"
			switch {
			case apps:
				hint = "give it in the env of the topologies that have one"
			case name == placeWSGI || name == placeASGI:
				hint = "add " + name + " to app, for example " + name + ": " + name + ":app"
			case name == placeSocket:
				hint = "add unix: true to a topology with a command and a proxy, or write {host} and {port}"
			case named:
				hint = "remove it"
			}
			v.d.Problem(at, hint, "there is no value for {%s}", name)
		}
	}
	for _, argv := range append(v.commands, v.command) {
		for _, a := range argv {
			for _, name := range a.Names {
				use(a.node, name)
				if service, address := whose(name); address && !slices.Contains(services, service) {
					hint := "only a topology with services has other services to name"
					if len(services) > 0 {
						hint = show.Suggest(service, services)
					}
					v.d.Problem(a.node, hint, "there is no value for {%s}", show.Columns(show.Shorten(name, show.Quoted)))
				}
			}
		}
	}
	dictionaries := []*yaml.Node{v.appKeys.Values["env"], o.Values["env"], o.Values["options"]}
	for _, s := range yamlfile.Items(cmp.Or(o.Values["services"], &yaml.Node{})) {
		for key, value := range yamlfile.Pairs(s) {
			if key.Value == "env" {
				dictionaries = append(dictionaries, value)
			}
		}
	}
	for i, dictionary := range dictionaries {
		apps = i == 0
		for _, value := range yamlfile.Pairs(cmp.Or(dictionary, &yaml.Node{})) {
			for _, item := range yamlfile.Items(value) {
				for _, found := range inText.FindAllStringSubmatch(item.Value, -1) {
					if found[1] != "" {
						use(item, found[1])
					}
				}
			}
		}
	}
	if one := v.axes["unix"]; !named && o.Has("unix") && (!used[placeSocket] || len(one[0].values) != 1 || one[0].values[0].text != "true") {
		v.d.Problem(o.Keys["unix"], "write unix: true, and {socket} where the command takes the path of its socket", "a command listens on a unix socket, or it does not")
	}
	for _, one := range (syntax.Class{}).Axes() {
		if !named && o.Has(one.Name) && !used[one.Name] {
			v.d.Problem(o.Keys[one.Name], "write {"+one.Name+"} where the command takes the number",
				"the command does not use {%s}: every value would be the same server", one.Name)
		}
	}
}

// inText finds the placeholders that are filled in values of env and options, and
// those that are not because their braces are doubled. Other braces are nothing
// special there: such values may be JSON.
var inText = regexp.MustCompile(`\{\{(?:` + strings.Join(textPlaceholders(), "|") + `)\}\}|\{(` + strings.Join(textPlaceholders(), "|") + `)\}`)

// fillText fills the placeholders of a value of env or options.
func fillText(text string, values map[string]string) string {
	return inText.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, "{{") {
			return found[1 : len(found)-1]
		}
		return values[found[1:len(found)-1]]
	})
}

func fillTexts(texts, values map[string]string) map[string]string {
	texts = maps.Clone(texts)
	for name, text := range texts {
		texts[name] = fillText(text, values)
	}
	return texts
}

// expand multiplies the axes, the first one listed varying slowest.
func (v *variants) expand() []Topology {
	appImage := func(s Service) bool { return s.Image == "" }
	if len(v.d.appImages) > 1 && !v.object.Has("image") && (len(v.services) == 0 || slices.ContainsFunc(v.services, appImage)) {
		v.images(v.d.appImages)
		v.object.Order = append(v.object.Order, "image")
	}
	var axes []topologyAxis
	count := 1
	for _, key := range v.object.Order {
		for _, one := range v.axes[key] {
			axes = append(axes, one)
			count = min(count*len(one.values), v.d.maxCells+1)
		}
	}
	if count > v.d.maxCells {
		v.d.Problem(v.node, "remove values from an axis, or raise the limit with --max-cells", "a topology expands to more than the limit of %d cells", v.d.maxCells)
		return nil
	}
	var all []Topology
	called, used := map[string][]Topology{}, map[string]bool{}
	for number := range count {
		chosen := make([]axisValue, len(axes))
		i := number
		for n, one := range slices.Backward(axes) {
			chosen[n], i = one.values[i%len(one.values)], i/len(one.values)
		}
		t, name := v.variant(axes, chosen)
		if len(t.Name+name) > maxName && name != "" {
			name = fmt.Sprintf(".%d", number+1)
		}
		if t.Name += name; len(t.Name) > maxName {
			v.d.Problem(v.node, "give the topology a short name", "the name %s has more than %d characters", show.Quote(t.Name), maxName)
			return nil
		}
		if slices.ContainsFunc(called[t.Name], func(other Topology) bool { return reflect.DeepEqual(t, other) }) {
			continue // they differ in settings of a proxy that is not there
		}
		called[t.Name] = append(called[t.Name], t)
		for n, first := 2, t.Name; used[t.Name]; n++ { // two axes call their values the same
			t.Name = fmt.Sprintf("%s.%d", first, n)
		}
		used[t.Name] = true
		all = append(all, t)
	}
	v.d.needsApp(v.node, all, v.app, v.appKeys)
	return all
}

// variant is the topology with one value of each axis, and what its name ends in: the
// values that have names of their own.
func (v *variants) variant(axes []topologyAxis, chosen []axisValue) (t Topology, name string) {
	t = v.base
	for _, one := range chosen {
		one.set(&t)
	}
	settings := t.ProxySettings
	t.ProxySettings = nil
	for name, value := range settings {
		if proxy, name, _ := strings.Cut(name, "."); proxy == t.Proxy {
			t.ProxySettings = with(t.ProxySettings, name, value)
		}
	}
	server, _ := v.d.loader.Servers.Server(t.Server)
	if len(server.Classes) > 0 {
		class, _ := server.Class(t.Class)
		for _, one := range class.Axes() {
			if !v.object.Has(one.Name) {
				*t.number(one.Name) = one.Usual
			}
		}
	}
	values := t.placeholders(v.app)
	t.Env = fillTexts(t.Env, values)
	for name, text := range v.app.Env {
		_, given := t.Env[name]
		if _, operators := v.d.loader.Env[name]; !given && !operators && inText.MatchString(text) {
			t.Env = with(t.Env, name, fillText(text, values))
		}
	}
	t.ServerOptions = fillTexts(t.ServerOptions, values)
	for _, name := range slices.Sorted(maps.Keys(t.ProxySettings)) { // a configuration of one's own has placeholders, too
		for _, found := range inText.FindAllStringSubmatch(t.ProxySettings[name], -1) {
			if value, filled := values[found[1]]; filled && (value == "" || value == "0") {
				v.d.Problem(v.object.Keys[t.Proxy], "write the number into the file, or add "+found[1]+" to the topology", "%s.%s has {%s}, and the topology has no value for it", t.Proxy, name, found[1])
				break
			}
		}
	}
	t.ProxySettings = fillTexts(t.ProxySettings, values)
	t.Command = fill(v.command, values)
	for i, s := range v.services {
		s.Command, s.Env = fill(v.commands[i], values), fillTexts(s.Env, values)
		t.Services = append(t.Services, s)
	}
	t.Axes = map[string]string{}
	t.Name = cmp.Or(t.Name, t.Server)
	if t.Class != "" {
		t.Axes["class"] = t.Class
		if t.Class != server.Classes[0].Name {
			t.Name += "-" + t.Class
		}
	}
	for _, one := range (syntax.Class{}).Axes() {
		if number := *t.number(one.Name); number > 0 {
			t.Name += "-" + one.Letter + strconv.Itoa(number)
		}
	}
	if t.Concurrency > 0 {
		t.Axes["concurrency"] = strconv.Itoa(t.Concurrency)
	}
	if t.Replicas == 1 {
		t.Replicas = 0
	} else if t.Replicas > 1 {
		t.Axes[keyReplicas] = strconv.Itoa(t.Replicas)
	}
	if t.Unix {
		t.Name += "-unix"
		t.Axes["unix"] = "true"
	}
	if t.Replicas > 0 {
		t.Name += "-r" + strconv.Itoa(t.Replicas)
	}
	if t.Proxy != "" {
		t.Name = t.Proxy + "+" + t.Name
		t.Axes["proxy"] = t.Proxy
	}
	for i, one := range chosen {
		if key, _, _ := strings.Cut(axes[i].name, "."); key != t.Proxy && slices.Contains(v.d.loader.Servers.ProxyNames(), key) {
			continue // a setting of a proxy that is not there
		}
		if one.name != "" {
			name += "-" + one.name
		}
		if axes[i].own {
			t.Axes[axes[i].name] = one.text
		}
	}
	if len(t.Axes) == 0 {
		t.Axes = nil
	}
	return t, name
}

// placeholders are the values of those that follow from a topology.
func (t Topology) placeholders(app App) map[string]string {
	values := map[string]string{placeWSGI: app.WSGI, placeASGI: app.ASGI}
	for _, one := range (syntax.Class{}).Axes() {
		values[one.Name] = strconv.Itoa(*t.number(one.Name))
	}
	return values
}

func fill(argv []argument, values map[string]string) []string {
	var command []string
	for _, a := range argv {
		command = append(command, a.Fill(values))
	}
	return command
}
