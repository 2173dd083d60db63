package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/folder"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/syntax"
	"stackmeter/scenarios/units"
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

// A topologyAxis is what a topology's key gives more than one value for.
type topologyAxis struct {
	name   string // env.BATCH
	values []axisValue
	own    bool // its values have names of their own
}

// An axisValue is one value of an axis.
type axisValue struct {
	text string
	name string // in the topology's name: batch8; empty where that follows from the topology
	set  func(*Topology)
}

// axisOf reads the values of an axis, none of them twice.
func axisOf[T comparable](d *decoder, n *yaml.Node, what string, read func(item *yaml.Node, into *T) bool) []T {
	var values []T
	for _, item := range d.List(n, what, d.maxCells) {
		var value T
		switch {
		case !read(item, &value):
		case slices.Contains(values, value):
			text := fmt.Sprint(value)
			switch {
			case strings.HasPrefix(what, "env."):
				text = "a value" // which may be a secret
			case len(text) > show.Quoted || show.Columns(text) != text:
				text = show.Quote(text) // a file's
			}
			d.Problem(item, "remove one of them", "%s has %s twice", what, text)
		default:
			values = append(values, value)
		}
	}
	return values
}

// axisFrom adds an axis. Its name begins with the key of the topology that it is
// below.
func axisFrom[T any](v *variants, name string, values []T, text func(T) string, set func(*Topology, T)) {
	key, _, _ := strings.Cut(name, ".")
	one := topologyAxis{name: name}
	for _, from := range values {
		one.values = append(one.values, axisValue{text: text(from), set: func(t *Topology) { set(t, from) }})
	}
	v.axes[key] = append(v.axes[key], one)
}

// named gives the values of the last axis of a key names of their own, which all
// differ.
func (v *variants) named(key string) {
	last := &v.axes[key][len(v.axes[key])-1]
	if len(last.values) < 2 {
		return
	}
	last.own = true
	word := strings.ToLower(last.name[strings.LastIndexByte(last.name, '.')+1:])
	used := map[string]bool{}
	for i := range last.values {
		one := &last.values[i]
		switch {
		case one.text == "true":
			one.name = word
		case one.text == "false":
			continue
		case one.text != "" && one.text[0] >= '0' && one.text[0] <= '9':
			one.name = word + one.text
		default:
			one.name = word + "-" + one.text
		}
		if one.text == "" || len(one.text) > 16 || !validName(one.name) || used[one.name] {
			one.name = fmt.Sprintf("%s.%d", word, i+1)
		}
		used[one.name] = true
	}
}

// numbers reads an axis of numbers from 1.
func (v *variants) numbers(n *yaml.Node, name string, most int) {
	values := axisOf(v.d, n, name, func(item *yaml.Node, into *int) bool { return v.d.Integer(item, name, into, 1, most) })
	axisFrom(v, name, values, strconv.Itoa, func(t *Topology, number int) { *t.number(name) = number })
}

// number is the field of an axis that is a number.
func (t *Topology) number(name string) *int {
	switch name {
	case placeWorkers:
		return &t.Workers
	case placeThreads:
		return &t.Threads
	case keyReplicas:
		return &t.Replicas
	}
	return &t.Concurrency
}

func (v *variants) class(n *yaml.Node) {
	v.classes = axisOf(v.d, n, "class", func(item *yaml.Node, into *string) bool {
		server, named := v.d.loader.Servers.Server(v.base.Server)
		if !named {
			return false // reported
		}
		if len(server.ClassNames()) == 0 {
			v.d.Problem(item, "remove it", "%s has no classes", server.Name)
			return false
		}
		return v.d.Choice(item, "class", into, server.ClassNames()...)
	})
	axisFrom(v, "class", v.classes, asIs, func(t *Topology, class string) { t.Class = class })
}

func asIs(s string) string { return s }

// noProxy is the value of the axis proxy for none.
const noProxy = "none"

func (v *variants) proxy(n *yaml.Node) {
	v.proxies = axisOf(v.d, n, "proxy", func(item *yaml.Node, into *string) bool {
		return v.d.Choice(item, "proxy", into, append([]string{noProxy}, v.d.loader.Servers.ProxyNames()...)...)
	})
	axisFrom(v, "proxy", v.proxies, asIs, func(t *Topology, proxy string) {
		if t.Proxy = proxy; proxy == noProxy {
			t.Proxy = ""
		}
	})
}

// front reads what the key of a proxy's name has: true, false or the proxy's
// settings, or a list of these. Where the key proxy says which proxy it is, these are
// settings alone.
func (v *variants) front(n *yaml.Node, proxy syntax.Proxy) {
	if n.Kind == yaml.MappingNode {
		if v.frontSettings(n, proxy); v.proxies == nil {
			v.proxies, v.base.Proxy = []string{proxy.Name}, proxy.Name
		}
		return
	}
	if v.proxies != nil {
		v.d.Problem(n, "keep one of them, or write proxy: [NAME, NAME]", "a topology says twice what is in front of the server")
		return
	}
	fronts := map[string]axisValue{}
	written := axisOf(v.d, n, proxy.Name, func(item *yaml.Node, into *string) bool {
		one, ok := v.oneFront(item, proxy)
		*into, fronts[one.text] = one.text, one
		return ok
	})
	one := topologyAxis{name: proxy.Name}
	for _, text := range written {
		one.values = append(one.values, fronts[text])
		v.proxies = append(v.proxies, map[bool]string{true: noProxy, false: proxy.Name}[text == "false"])
	}
	one.own = len(distinct(slices.Clone(v.proxies))) < len(v.proxies)
	v.axes[proxy.Name] = append(v.axes[proxy.Name], one)
}

// oneFront reads true, false, or settings with one value each.
func (v *variants) oneFront(n *yaml.Node, proxy syntax.Proxy) (axisValue, bool) {
	if n.Kind != yaml.MappingNode {
		var is bool
		ok := v.d.Boolean(n, proxy.Name, &is)
		return axisValue{text: strconv.FormatBool(is), set: func(t *Topology) {
			if is {
				t.Proxy = proxy.Name
			}
		}}, ok
	}
	alone := variants{d: v.d, axes: map[string][]topologyAxis{}}
	ok := alone.frontSettings(n, proxy)
	var texts []string
	for _, setting := range alone.axes[proxy.Name] {
		if len(setting.values) > 1 {
			v.d.Problem(n, "write several values where there is no list around them: "+proxy.Name+": {KEY: [1, 2]}", "%s has several values within a list", setting.name)
		}
		if ok = ok && len(setting.values) == 1; ok {
			texts = append(texts, strings.TrimPrefix(setting.name, proxy.Name+".")+": "+setting.values[0].text)
		}
	}
	return axisValue{text: "{" + strings.Join(texts, ", ") + "}", set: func(t *Topology) {
		t.Proxy = proxy.Name
		for _, setting := range alone.axes[proxy.Name] {
			setting.values[0].set(t)
		}
	}}, ok
}

// frontSettings reads the settings of a proxy.
func (v *variants) frontSettings(n *yaml.Node, proxy syntax.Proxy) bool {
	var fields []yamlfile.Field
	for _, setting := range proxy.Settings {
		fields = append(fields, yamlfile.Key(setting.Name, func(n *yaml.Node) {
			v.setting(n, proxy.Name+"."+setting.Name, setting, func(t *Topology) *map[string]string { return &t.ProxySettings })
		}))
	}
	o, ok := v.d.Object(n, proxy.Name, proxy.Name, fields...)
	if other := slices.Index(o.Order, "config"); ok && other >= 0 && len(o.Order) > 1 {
		v.d.Problem(o.Keys[o.Order[(other+1)%len(o.Order)]], "say it in the configuration, or remove config", "%s has a configuration of your own", proxy.Name)
	}
	return ok
}

// setting reads a value of a server or a proxy, or several, into one of the
// topology's mappings.
func (v *variants) setting(n *yaml.Node, name string, setting syntax.Setting, into func(*Topology) *map[string]string) {
	text, files := map[string]string{}, map[string]bool{}
	values := axisOf(v.d, n, name, func(item *yaml.Node, value *string) bool {
		ok := v.d.setting(item, name, setting, value)
		if text[*value] = *value; setting.Kind == syntax.File {
			base := path.Base(item.Value)
			if text[*value] = base; files[base] {
				text[*value] = item.Value // another folder's
			}
			files[base] = true
		}
		return ok
	})
	axisFrom(v, name, values, func(value string) string { return text[value] }, func(t *Topology, value string) { *into(t) = with(*into(t), name, value) })
	key, _, _ := strings.Cut(name, ".")
	v.named(key)
}

// setting reads one value of a setting as it is written down: numbers in base
// units.
func (d *decoder) setting(n *yaml.Node, what string, setting syntax.Setting, into *string) bool {
	low, high := float64(setting.Least), float64(setting.Most)
	switch setting.Kind {
	case syntax.Truth:
		var is bool
		ok := d.Boolean(n, what, &is)
		*into = strconv.FormatBool(is)
		return ok
	case syntax.Whole:
		var number int
		ok := d.Integer(n, what, &number, setting.Least, setting.Most)
		*into = strconv.Itoa(number)
		return ok
	case syntax.Span, syntax.Size:
		unit := map[int]units.Unit{syntax.Span: units.Seconds, syntax.Size: units.Bytes}[setting.Kind]
		value, ok := d.QuantityIn(n, what, unit, low, high)
		*into = strconv.FormatFloat(value, 'f', -1, 64)
		return ok
	case syntax.Word:
		return d.Choice(n, what, into, setting.Words...)
	case syntax.File:
		var name string
		if !d.Text(n, what, &name) {
			return false
		}
		content, err := d.folder.Read(name, d.Given(n), setting.Most)
		if err != nil {
			d.Problem(n, folder.Hint(err), "%s: %v", what, err)
		} else if !setting.Pattern.MatchString(content) {
			d.Problem(n, setting.Rule, "%s: the file %s is not as it has to be", what, show.Quote(name))
			return false
		}
		*into, d.read = content, append(d.read, d.folder.Path(name))
		return err == nil
	}
	return d.Checked(n, what, into, setting.Pattern.MatchString, setting.Rule)
}

// with returns a mapping with one more value: topologies share what they have in
// common.
func with(m map[string]string, key, value string) map[string]string {
	m = maps.Clone(m)
	if m == nil {
		m = map[string]string{}
	}
	m[key] = value
	return m
}

// images reads the images of an axis.
func (d *decoder) images(n *yaml.Node, what string) []string {
	return axisOf(d, n, what, func(item *yaml.Node, into *string) bool { return d.Checked(item, what, into, validImage, imageRule) })
}

// images adds an axis of images. Their values are what tells all of them apart: the
// tags and the beginnings of digests, the names, or the whole references.
func (v *variants) images(images []string) {
	name := func(image string) (name, rest string) {
		name, rest, _ = strings.Cut(image[strings.LastIndexByte(image, '/')+1:], ":")
		return strings.TrimSuffix(name, "@sha256"), rest
	}
	text := asIs
	for _, short := range []func(string) string{
		func(image string) string { name, _ := name(image); return name },
		func(image string) string {
			if _, digest, found := strings.Cut(image, "@sha256:"); found {
				return digest[:min(8, len(digest))]
			}
			name, tag := name(image)
			return cmp.Or(tag, name)
		},
	} {
		texts := slices.Clone(images)
		for i, image := range texts {
			texts[i] = short(image)
		}
		if len(distinct(texts)) == len(images) {
			text = short
		}
	}
	axisFrom(v, "image", images, text, func(t *Topology, image string) { t.Image = image })
	v.named("image")
}

// env reads the environment. A list is an axis.
func (v *variants) env(n *yaml.Node) {
	v.dictionary(n, "env", func(n *yaml.Node, into *map[string]string) { v.d.environment(n, "a topology's env", into) },
		func(t *Topology) *map[string]string { return &t.Env })
}

// validOption is the name of an option of a command line, without its hyphens.
var validOption = matching(`[A-Za-z][A-Za-z0-9_-]{0,63}`)

// options reads further options of a server's command line. A list is an axis.
func (v *variants) options(n *yaml.Node) {
	v.dictionary(n, "options", func(n *yaml.Node, into *map[string]string) {
		v.d.Dictionary(n, "options", into, validOption, "an option's name without the hyphens before it")
	}, func(t *Topology) *map[string]string { return &t.ServerOptions })
}

// dictionary reads a mapping whose values can be lists.
func (v *variants) dictionary(n *yaml.Node, key string, read func(n *yaml.Node, into *map[string]string), of func(*Topology) *map[string]string) {
	if n.Kind != yaml.MappingNode {
		read(n, of(&v.base)) // which reports it
		return
	}
	plain := *n
	plain.Content = nil
	for name, item := range yamlfile.Pairs(n) {
		if item.Kind != yaml.SequenceNode {
			plain.Content = append(plain.Content, name, item)
			continue
		}
		values := axisOf(v.d, item, key+"."+name.Value, func(item *yaml.Node, into *string) bool {
			one := *n
			one.Content = []*yaml.Node{name, item}
			var values map[string]string
			read(&one, &values)
			value, ok := values[name.Value]
			*into = value
			return ok
		})
		axisFrom(v, key+"."+name.Value, values, asIs, func(t *Topology, value string) { *of(t) = with(*of(t), name.Value, value) })
		v.named(key)
	}
	read(&plain, of(&v.base))
}

// resources reads what each service may use instead of the scenario's resources.
func (v *variants) resources(n *yaml.Node) {
	number := func(n *yaml.Node, name string, unit units.Unit, low, high float64, set func(*Topology, float64)) {
		at := map[string]float64{} // by the first way of writing it
		values := axisOf(v.d, n, "resources."+name, func(item *yaml.Node, into *string) bool {
			value, ok := v.d.QuantityIn(item, "resources."+name, unit, low, high)
			*into = strings.ReplaceAll(item.Value, " ", "")
			for text, before := range at {
				if before == value {
					*into = text
				}
			}
			at[*into] = value
			return ok
		})
		axisFrom(v, "resources."+name, values, asIs, func(t *Topology, text string) { set(t, at[text]) })
		v.named("resources")
	}
	v.d.Object(n, "topologyResources", "a topology's resources",
		yamlfile.Key("cpus", func(n *yaml.Node) {
			number(n, "cpus", units.None, 0, mostCPUs, func(t *Topology, cpus float64) { t.CPUs = cpus })
		}),
		yamlfile.Key("memory", func(n *yaml.Node) {
			number(n, "memory", units.Bytes, leastMemory, mostMemory, func(t *Topology, bytes float64) { t.Memory = int64(bytes) })
		}),
	)
}

// check reports contradictions between the keys. It returns true if the variants
// can be expanded.
func (v *variants) check() bool {
	d, o := v.d, v.object
	known := d.loader.Servers
	kinds := listed(o, "server", "command", "services")
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
		for _, key := range listed(o, "class", "unix") {
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
			for _, key := range listed(o, "image", "resources", keyReplicas) {
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
