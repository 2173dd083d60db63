package scenarios

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/units"
	"stackmeter/scenarios/wire"
	"stackmeter/scenarios/yamlfile"
)

// An axisSet is a set of axes: one bit for each of axes.
type axisSet uint

const (
	axisRequests axisSet = 1 << iota
	axisClient
	axisPool
	axisKeepAlive
	axisRate // a search is one of its values
	axisArrivals
)

// An axis is one key of the matrix: how to read a value of it, and how to copy
// the value from one load to another.
type axis struct {
	name string
	read func(d *decoder, n *yaml.Node, what string, into *LoadSpec) bool
	copy func(to *LoadSpec, from LoadSpec)
}

// axes are all the axes of a matrix.
var axes = []axis{
	{"requests", func(d *decoder, n *yaml.Node, what string, into *LoadSpec) bool {
		return d.Integer(n, what, &into.Requests, 1, wire.MaxRequests)
	}, func(to *LoadSpec, from LoadSpec) { to.Requests = from.Requests }},
	{"client", func(d *decoder, n *yaml.Node, what string, into *LoadSpec) bool {
		return d.Choice(n, what, &into.Client, ClientSingle, ClientMP, ClientMT, ClientOpen)
	}, func(to *LoadSpec, from LoadSpec) { to.Client = from.Client }},
	{"pool", func(d *decoder, n *yaml.Node, what string, into *LoadSpec) bool {
		return d.Integer(n, what, &into.Pool, 1, maxPool) && d.forPython(n, into.Pool <= maxPythonPool,
			fmt.Sprintf("use at most %d", maxPythonPool), "the engine python-requests has a pool of at most %d", maxPythonPool)
	}, func(to *LoadSpec, from LoadSpec) { to.Pool = from.Pool }},
	{"keepalive", func(d *decoder, n *yaml.Node, what string, into *LoadSpec) bool {
		return d.Boolean(n, what, &into.KeepAlive)
	}, func(to *LoadSpec, from LoadSpec) { to.KeepAlive = from.KeepAlive }},
	{"rate", (*decoder).rate, func(to *LoadSpec, from LoadSpec) { to.Rate, to.P99 = from.Rate, from.P99 }},
	{"arrivals", func(d *decoder, n *yaml.Node, what string, into *LoadSpec) bool {
		return d.Choice(n, what, &into.Arrivals, ArrivalsConstant, ArrivalsPoisson)
	}, func(to *LoadSpec, from LoadSpec) { to.Arrivals = from.Arrivals }},
}

// copied returns a load with the values of another one in some axes.
func copied(to, from LoadSpec, which axisSet) LoadSpec {
	for i, a := range axes {
		if which&(1<<i) != 0 {
			a.copy(&to, from)
		}
	}
	return to
}

// A combination is a load under construction.
type combination struct {
	load     LoadSpec
	set      axisSet    // which values it has
	original axisSet    // which of them come from the axes: no include overwrites those
	node     *yaml.Node // where it is written
}

// differs reports whether two combinations disagree in one of the axes.
func (c combination) differs(other combination, which axisSet) bool {
	return copied(c.load, other.load, which) != c.load
}

// take copies all values that the other one has.
func (c *combination) take(other combination) {
	c.load = copied(c.load, other.load, other.set)
	c.set |= other.set
}

// drop removes values.
func (c *combination) drop(which axisSet) {
	c.load = copied(c.load, LoadSpec{}, which)
	c.set &^= which
	c.original &^= which
}

// withoutOthers removes what the combination's client does not have.
func (c *combination) withoutOthers() {
	switch c.load.Client {
	case ClientOpen:
		c.drop(axisPool)
		if c.set&axisRate != 0 && c.load.Rate == 0 && c.load.P99 == 0 { // max
			c.drop(axisArrivals)
		}
	case ClientSingle:
		c.drop(axisRate | axisArrivals)
		c.load.Pool = 1
		c.original |= axisPool
		c.set |= axisPool
	default:
		c.drop(axisRate | axisArrivals)
	}
}

// A matrix is what the file says, before it is multiplied.
type matrix struct {
	axes     [][]combination // the values of each axis, as they are listed; each has nothing else
	exclude  []combination
	includes []combination
}

// loads expands the matrix. Axes, exclude and include mean what they mean in a
// GitHub Actions matrix. The axes are crossed, the first one listed varying
// slowest. Combinations that an exclude matches in all its keys are dropped. Then
// each include is added to every combination of the axes that it does not
// contradict; if there is none, it becomes a combination of its own.
//
// There are three differences. single and open are not crossed with pool: single
// has a pool of 1, and open has none. Only open is crossed with rate and
// arrivals. Two equal loads are a problem.
//
// https://docs.github.com/actions/using-jobs/using-a-matrix-for-your-jobs
func (d *decoder) loads(n *yaml.Node) []LoadSpec {
	m, ok := d.matrix(n)
	if !ok {
		return nil
	}
	product := 1
	for _, values := range m.axes {
		if product *= len(values); product > d.maxCells {
			d.Problem(n, "remove values from an axis, or raise the limit with --max-cells", "the matrix has more combinations than the limit of %d cells", d.maxCells)
			return nil
		}
	}
	all := m.cross(n)
	all = slices.DeleteFunc(all, func(c combination) bool {
		return slices.ContainsFunc(m.exclude, func(e combination) bool {
			return e.set&^c.set == 0 && !c.differs(e, e.set)
		})
	})
	crossed := len(all)
	for _, include := range m.includes {
		added := false
		for i := range all[:crossed] {
			if c := &all[i]; !c.differs(include, include.set&c.original) {
				c.take(include)
				added = true
			}
		}
		if !added {
			all = append(all, include)
		}
	}
	return d.finish(n, all)
}

// cross is the cross product of the axes.
func (m matrix) cross(n *yaml.Node) []combination {
	if len(m.axes) == 0 {
		return nil // and not one combination without values
	}
	all := []combination{{node: n}}
	for _, values := range m.axes {
		var next []combination
		for _, c := range all {
			for _, value := range values {
				crossed := c
				crossed.take(value)
				crossed.original |= value.set
				next = append(next, crossed)
			}
		}
		all = next
	}
	// single is now there once for each pool, and others once for each rate. The
	// first one stays. No axis has a value twice.
	seen := map[LoadSpec]bool{}
	var kept []combination
	for _, c := range all {
		if c.set&axisClient != 0 {
			c.withoutOthers()
		}
		if !seen[c.load] {
			kept = append(kept, c)
		}
		seen[c.load] = true
	}
	return kept
}

// finish checks that each combination is a complete load and that no two are the
// same.
func (d *decoder) finish(n *yaml.Node, all []combination) []LoadSpec {
	if len(all) == 0 {
		d.Problem(n, "add requests: and client:, or remove an exclude", "the matrix has no combination")
		return nil
	}
	var loads []LoadSpec
	first := map[LoadSpec]*yaml.Node{}
	for _, c := range all {
		whole := true
		need := func(axis axisSet, what, hint string) {
			if c.set&axis == 0 {
				d.Problem(c.node, hint, "%s has no %s", d.what(n, c), what)
				whole = false
			}
		}
		need(axisRequests, "requests", "add requests: NUMBER")
		need(axisClient, "client", "add client: single, mp, mt or open")
		switch {
		case c.load.Client == ClientMP || c.load.Client == ClientMT:
			need(axisPool, "pool", fmt.Sprintf("%s needs the number of clients: add pool: NUMBER", c.load.Client))
		case c.load.Client == ClientSingle && c.set&axisPool == 0:
			c.load.Pool = 1
		case c.load.Client == ClientSingle && c.original&axisPool == 0:
			d.Problem(c.node, "remove pool", "single has a pool of 1: it is one client, not %d", c.load.Pool)
			whole = false
		case c.load.Client == ClientOpen:
			need(axisRate, "rate", "open needs a rate: add rate: 20/s, rate: max or rate: {search: {p99: 500ms}}")
			c.openDefaults()
		}
		if c.load.Client != ClientOpen {
			c.drop(axisRate | axisArrivals) // of an include that says nothing of the client
		}
		if !whole {
			continue
		}
		if before := first[c.load]; before != nil {
			d.Problem(c.node, "remove one of them", "the load %s is already in %s", c.load.Name(), d.Place(before))
			continue
		}
		if err := c.load.check(); err != nil { // of its values together
			d.Problem(c.node, "", "%s: %v", c.load.Name(), err)
			continue
		}
		first[c.load] = c.node
		loads = append(loads, c.load)
	}
	return loads
}

// openDefaults fills in what an open loop may leave out.
func (c *combination) openDefaults() {
	if c.set&axisPool == 0 {
		c.load.Pool = OpenPool
	}
	switch {
	case c.load.Rate == 0 && c.load.P99 == 0:
		c.load.Arrivals = ""
	case c.load.Arrivals == "":
		c.load.Arrivals = ArrivalsConstant
	}
}

// what says in a message where a combination comes from.
func (d *decoder) what(n *yaml.Node, c combination) string {
	if c.node == n {
		return "the matrix"
	}
	return "an include that becomes a load of its own"
}

// matrix reads the keys of the matrix.
func (d *decoder) matrix(n *yaml.Node) (matrix, bool) {
	var m matrix
	found := map[string][]combination{}
	sound := true
	var fields []yamlfile.Field
	for i, a := range axes {
		fields = append(fields, yamlfile.Key(a.name, func(n *yaml.Node) {
			found[a.name] = d.axis(n, a, 1<<i)
			sound = sound && len(found[a.name]) > 0
		}))
	}
	rules := func(what string, into *[]combination) yamlfile.Field {
		return yamlfile.Key(what, func(n *yaml.Node) {
			list := yamlfile.Items(n)
			if len(list) > d.maxCells {
				d.Problem(n, "", "matrix.%s has %d entries, more than the limit of %d cells", what, len(list), d.maxCells)
				sound = false
				return
			}
			for _, item := range list {
				if c, ok := d.combination(item, "matrix."+what); ok {
					*into = append(*into, c)
				} else {
					sound = false
				}
			}
		})
	}
	o, ok := d.Object(n, "matrix", "matrix", append(fields, rules("exclude", &m.exclude), rules("include", &m.includes))...)
	for _, key := range o.Order {
		if values, is := found[key]; is {
			m.axes = append(m.axes, values)
		}
	}
	d.unusedAxes(o, append(slices.Clone(m.includes), found["client"]...), len(found["client"]) > 0)
	return m, ok && sound
}

// axis reads the values of one axis, none of them twice.
func (d *decoder) axis(n *yaml.Node, a axis, which axisSet) []combination {
	var values []combination
	seen := map[LoadSpec]bool{}
	for _, item := range d.List(n, "matrix."+a.name, d.maxCells) {
		value := combination{set: which, node: item}
		switch {
		case !a.read(d, item, "matrix."+a.name, &value.load):
		case seen[value.load]:
			d.Problem(item, "remove one of them", "matrix.%s has %s twice", a.name, item.Value)
		default:
			seen[value.load] = true
			values = append(values, value)
		}
	}
	return values
}

// unusedAxes reports axes that no client of the matrix has. said is false if the
// axes do not say who the clients are.
func (d *decoder) unusedAxes(o yamlfile.Object, clients []combination, said bool) {
	if !said {
		return
	}
	has := func(modes ...string) bool {
		return slices.ContainsFunc(clients, func(c combination) bool {
			return c.set&axisClient != 0 && slices.Contains(modes, c.load.Client)
		})
	}
	switch {
	case !o.Has("pool") || has(ClientMP, ClientMT):
	case has(ClientOpen):
		d.Problem(o.Keys["pool"], "remove pool; to bound the requests under way write include: [{client: open, pool: 50}]",
			"open is not crossed with pool, and the matrix has neither mp nor mt")
	default:
		d.Problem(o.Keys["pool"], "remove pool, or add mp or mt to client", "single has a pool of 1, and the matrix has no other client")
	}
	for _, key := range []string{"rate", "arrivals"} {
		if o.Has(key) && !has(ClientOpen) {
			d.Problem(o.Keys[key], "remove it, or add open to client", "only open has %s, and the matrix has no such client", key)
		}
	}
}

// combination reads one entry of include or exclude.
func (d *decoder) combination(n *yaml.Node, what string) (combination, bool) {
	c := combination{node: n}
	sound := true
	var fields []yamlfile.Field
	for i, a := range axes {
		fields = append(fields, yamlfile.Key(a.name, func(n *yaml.Node) {
			if a.read(d, n, what+"."+a.name, &c.load) {
				c.set |= 1 << i
			} else {
				sound = false
			}
		}))
	}
	o, ok := d.Object(n, "combination", "an entry of "+what, fields...)
	if c.set&axisClient != 0 && c.load.Client != ClientOpen {
		for _, key := range []string{"rate", "arrivals"} {
			if o.Has(key) {
				d.Problem(o.Keys[key], "remove it, or write client: open", "%s has no %s; only open has", c.load.Client, key)
				sound = false
			}
		}
	}
	switch {
	case ok && len(n.Content) == 0:
		d.Problem(n, "", "an entry of %s is empty", what)
		sound = false
	case c.load.Client == ClientSingle && o.Has("pool"):
		d.Problem(o.Keys["pool"], "remove pool", "single has a pool of 1 and no other")
		sound = false
	}
	return c, ok && sound && len(o.Order) == len(n.Content)/2
}

const rateRule = "for example 20/s, 0.5/s, max, or {search: {p99: 500ms}}"

// rate reads the rate of an open loop: a number for each second, max, or how
// to search for it.
func (d *decoder) rate(n *yaml.Node, what string, into *LoadSpec) bool {
	if n.Kind == yaml.MappingNode {
		return d.search(n, what, into)
	}
	if n.Kind == yaml.ScalarNode && n.Value == "max" {
		into.Rate, into.P99 = 0, 0
		return true
	}
	if n.Kind != yaml.ScalarNode || !units.Begins(n.Value) {
		d.Problem(n, rateRule, "%s must be a rate, not %s", what, yamlfile.Describe(n))
		return false
	}
	value, ok := d.QuantityIn(n, what, units.PerSecond, LowestRate, MaxRate)
	if ok {
		into.Rate, into.P99 = value, 0
	}
	return ok
}

func (d *decoder) search(n *yaml.Node, what string, into *LoadSpec) bool {
	sound := false
	d.Object(n, "rate", what, yamlfile.Needed("search", rateRule, func(n *yaml.Node) {
		d.forPython(n, false, "give the rate, as 20/s", "the engine python-requests does not search for a rate")
		d.Object(n, "search", what+".search", yamlfile.Needed("p99", "add p99: 500ms", func(n *yaml.Node) {
			if sound = d.Duration(n, what+".search.p99", &into.P99); sound {
				into.Rate = 0
			}
		}))
	}))
	return sound
}
