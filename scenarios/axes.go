package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"path"
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
		yamlfile.Key("gpu", v.gpu),
		yamlfile.Key("cpus", func(n *yaml.Node) {
			number(n, "cpus", units.None, 0, mostCPUs, func(t *Topology, cpus float64) { t.CPUs = cpus })
		}),
		yamlfile.Key("memory", func(n *yaml.Node) {
			number(n, "memory", units.Bytes, leastMemory, mostMemory, func(t *Topology, bytes float64) { t.Memory = int64(bytes) })
		}),
	)
}

// gpu reads which GPUs a topology gets instead of the scenario's.
func (v *variants) gpu(n *yaml.Node) {
	const name = "resources.gpu.product"
	v.d.Object(n, "topologyGPU", "a topology's resources.gpu", yamlfile.Key("product", func(n *yaml.Node) {
		products := axisOf(v.d, n, name, func(item *yaml.Node, into *string) bool {
			return v.d.Checked(item, name, into, validProduct, productRule)
		})
		axisFrom(v, name, products, asIs, func(t *Topology, product string) { t.GPUProduct = product })
		v.named("resources")
		axis := v.axes["resources"][len(v.axes["resources"])-1]
		for i := range axis.values { // a product's name says what it is
			if one := &axis.values[i]; axis.own && len(one.text) <= longestProduct {
				one.name = strings.TrimPrefix(one.text, "NVIDIA-")
			}
		}
	}))
}

// longestProduct is what the name of a product in that of a topology may have.
const longestProduct = 32
