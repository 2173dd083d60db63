package scenarios

import (
	"fmt"
	"slices"

	"stackmeter/scenarios/yamlfile"

	"gopkg.in/yaml.v3"
)

// The axes of a matrix, as a set.
type axisSet uint

const (
	axisRequests axisSet = 1 << iota
	axisClient
	axisPool
	axisKeepAlive
	axisRate // a search is one of its values
	axisArrivals

	axesOfOpen = axisRate | axisArrivals // what only open has
)

// A combination is a load under construction.
type combination struct {
	load     LoadSpec
	set      axisSet    // which values it has
	original axisSet    // which of them come from the axes: no include overwrites those
	node     *yaml.Node // where it is written
}

// differs says whether the two disagree in one of the axes.
func (c combination) differs(other combination, axes axisSet) bool {
	a, b := c.load, other.load
	return axes&axisRequests != 0 && a.Requests != b.Requests ||
		axes&axisClient != 0 && a.Client != b.Client ||
		axes&axisPool != 0 && a.Pool != b.Pool ||
		axes&axisKeepAlive != 0 && a.KeepAlive != b.KeepAlive ||
		axes&axisRate != 0 && (a.Rate != b.Rate || a.P99 != b.P99) ||
		axes&axisArrivals != 0 && a.Arrivals != b.Arrivals
}

// take copies what the other one has.
func (c *combination) take(other combination) {
	if other.set&axisRequests != 0 {
		c.load.Requests = other.load.Requests
	}
	if other.set&axisClient != 0 {
		c.load.Client = other.load.Client
	}
	if other.set&axisPool != 0 {
		c.load.Pool = other.load.Pool
	}
	if other.set&axisKeepAlive != 0 {
		c.load.KeepAlive = other.load.KeepAlive
	}
	if other.set&axisRate != 0 {
		c.load.Rate, c.load.P99 = other.load.Rate, other.load.P99
	}
	if other.set&axisArrivals != 0 {
		c.load.Arrivals = other.load.Arrivals
	}
	c.set |= other.set
}

// withoutOthers takes out what the combination's client does not have.
func (c *combination) withoutOthers() {
	unset := func(axes axisSet) {
		c.set &^= axes
		c.original &^= axes
	}
	if c.load.Client == ClientOpen {
		c.load.Pool = 0
		unset(axisPool)
		if c.load.Rate == 0 && c.load.P99 == 0 && c.set&axisRate != 0 {
			c.load.Arrivals = ""
			unset(axisArrivals)
		}
		return
	}
	c.load.Rate, c.load.P99, c.load.Arrivals = 0, 0, ""
	unset(axesOfOpen)
	if c.load.Client == ClientSingle {
		c.load.Pool = 1
		c.original |= axisPool
		c.set |= axisPool
	}
}

// A matrix is what the file says, before it is multiplied.
type matrix struct {
	axes     []axis // as they are listed
	exclude  []combination
	includes []combination
}

// An axis is one key of the matrix and its values, each as a combination that
// has nothing else.
type axis struct {
	which  axisSet
	values []combination
}

// loads expands the matrix. Axes, exclude and include mean what they mean in
// a GitHub Actions matrix: the cross product, the first axis listed varying
// slowest; without the combinations that an exclude matches in all that it
// says; then each include is added to every combination of the axes whose
// values it does not contradict, or, if there is none, becomes a combination
// of its own. Ours are three differences: single has a pool of 1 and open none,
// neither is crossed with pool; rate and arrivals are crossed with open only;
// and two equal loads are a problem.
//
// https://docs.github.com/actions/using-jobs/using-a-matrix-for-your-jobs
func (d *decoder) loads(n *yaml.Node) []LoadSpec {
	m, ok := d.matrix(n)
	if !ok {
		return nil
	}
	product := 1
	for _, a := range m.axes {
		if product *= len(a.values); product > d.maxCells {
			d.Problem(n, "take values out of an axis, or raise the limit with --max-cells", "the matrix has more combinations than the limit of %d cells", d.maxCells)
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
	for _, a := range m.axes {
		var next []combination
		for _, c := range all {
			for _, value := range a.values {
				crossed := c
				crossed.take(value)
				crossed.original |= a.which
				next = append(next, crossed)
			}
		}
		all = next
	}
	// single is there once for each pool now, and others once for each rate;
	// the first one stays. The axes have no value twice.
	seen := map[LoadSpec]bool{}
	var kept []combination
	for _, c := range all {
		if c.set&axisClient != 0 {
			c.withoutOthers()
		}
		if !seen[c.load] {
			seen[c.load] = true
			kept = append(kept, c)
		}
	}
	return kept
}

// finish checks that each combination is a whole load and that no two are the
// same.
func (d *decoder) finish(n *yaml.Node, all []combination) []LoadSpec {
	if len(all) == 0 {
		d.Problem(n, "add requests: and client:, or take an exclude out", "the matrix has no combination")
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
			d.Problem(c.node, "take pool out", "single has a pool of 1: it is one client, not %d", c.load.Pool)
			whole = false
		case c.load.Client == ClientOpen:
			need(axisRate, "rate", "open needs a rate: add rate: 20/s, rate: max or rate: {search: {p99: 500ms}}")
			c.openDefaults()
		}
		if c.load.Client != ClientOpen {
			c.load.Rate, c.load.P99, c.load.Arrivals = 0, 0, "" // of an include that says nothing of the client
		}
		if !whole {
			continue
		}
		if before := first[c.load]; before != nil {
			d.Problem(c.node, "take one of them out", "the load %s is in %s already", c.load.Name(), d.Place(before))
			continue
		}
		if err := c.load.Check(); err != nil { // of its values together
			d.Problem(c.node, "", "%s: %v", c.load.Name(), err)
			continue
		}
		first[c.load] = c.node
		loads = append(loads, c.load)
	}
	return loads
}

// openDefaults fills in what an open loop need not say.
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

// what names a combination by where it comes from.
func (d *decoder) what(n *yaml.Node, c combination) string {
	if c.node == n {
		return "the matrix"
	}
	return "an include that becomes a load of its own"
}

// matrix reads the keys of the matrix.
func (d *decoder) matrix(n *yaml.Node) (matrix, bool) {
	var m matrix
	found := map[string]axis{}
	sound := true
	read := func(which axisSet, name string) yamlfile.Field {
		return yamlfile.Key(name, func(n *yaml.Node) {
			a := axis{which: which}
			seen := map[LoadSpec]bool{}
			for _, item := range d.List(n, "matrix."+name, d.maxCells) {
				value := combination{set: which, node: item}
				if !d.axisValue(item, "matrix."+name, which, &value.load) {
					continue
				}
				if seen[value.load] {
					d.Problem(item, "take one of them out", "matrix.%s has %s twice", name, item.Value)
					continue
				}
				seen[value.load] = true
				a.values = append(a.values, value)
			}
			sound = sound && len(a.values) > 0
			found[name] = a
		})
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
	o, ok := d.Object(n, "matrix", "matrix",
		read(axisRequests, "requests"),
		read(axisClient, "client"),
		read(axisPool, "pool"),
		read(axisKeepAlive, "keepalive"),
		read(axisRate, "rate"),
		read(axisArrivals, "arrivals"),
		rules("exclude", &m.exclude),
		rules("include", &m.includes),
	)
	for _, key := range o.Order {
		if a, is := found[key]; is {
			m.axes = append(m.axes, a)
		}
	}
	d.unusedAxes(o, append(slices.Clone(m.includes), found["client"].values...), len(found["client"].values) > 0)
	return m, ok && sound
}

// unusedAxes reports what no client of the matrix has. said is false where the
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
		d.Problem(o.Keys["pool"], "take pool out; to bound the requests under way write include: [{client: open, pool: 50}]",
			"open is not crossed with pool, and the matrix has neither mp nor mt")
	default:
		d.Problem(o.Keys["pool"], "take pool out, or add mp or mt to client", "single has a pool of 1, and the matrix has no other client")
	}
	for _, key := range []string{"rate", "arrivals"} {
		if o.Has(key) && !has(ClientOpen) {
			d.Problem(o.Keys[key], "take it out, or add open to client", "only open has %s, and the matrix has no such client", key)
		}
	}
}

// combination reads one entry of include or exclude.
func (d *decoder) combination(n *yaml.Node, what string) (combination, bool) {
	c := combination{node: n}
	sound := true
	value := func(which axisSet, name string) yamlfile.Field {
		return yamlfile.Key(name, func(n *yaml.Node) {
			if d.axisValue(n, what+"."+name, which, &c.load) {
				c.set |= which
			} else {
				sound = false
			}
		})
	}
	o, ok := d.Object(n, "combination", "an entry of "+what,
		value(axisRequests, "requests"),
		value(axisClient, "client"),
		value(axisPool, "pool"),
		value(axisKeepAlive, "keepalive"),
		value(axisRate, "rate"),
		value(axisArrivals, "arrivals"),
	)
	if c.set&axisClient != 0 && c.load.Client != ClientOpen {
		for _, key := range []string{"rate", "arrivals"} {
			if o.Has(key) {
				d.Problem(o.Keys[key], "take it out, or write client: open", "%s has no %s; only open has", c.load.Client, key)
				sound = false
			}
		}
	}
	switch {
	case ok && len(n.Content) == 0:
		d.Problem(n, "", "an entry of %s is empty", what)
		sound = false
	case c.load.Client == ClientSingle && o.Has("pool"):
		d.Problem(o.Keys["pool"], "take pool out", "single has a pool of 1 and no other")
		sound = false
	}
	return c, ok && sound && len(o.Order) == len(n.Content)/2
}

// axisValue reads one value of an axis into a load.
func (d *decoder) axisValue(n *yaml.Node, what string, which axisSet, into *LoadSpec) bool {
	switch which {
	case axisRequests:
		return d.Integer(n, what, &into.Requests, 1, MaxRequests)
	case axisClient:
		return d.Choice(n, what, &into.Client, ClientSingle, ClientMP, ClientMT, ClientOpen)
	case axisPool:
		return d.Integer(n, what, &into.Pool, 1, MaxPool)
	case axisRate:
		return d.rate(n, what, into)
	case axisArrivals:
		return d.Choice(n, what, &into.Arrivals, ArrivalsConstant, ArrivalsPoisson)
	default:
		return d.Boolean(n, what, &into.KeepAlive)
	}
}
