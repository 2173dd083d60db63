package scenarios

import (
	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/units"
	"stackmeter/scenarios/yamlfile"
)

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
		d.Problem(n, rateRule, "%s has to be a rate, not %s", what, yamlfile.Describe(n))
		return false
	}
	value, ok := d.Quantity(n, what, units.PerSecond)
	if !ok {
		return false
	}
	if err := rateInRange(what, value); err != nil {
		d.Problem(n, "", "%v", err)
		return false
	}
	into.Rate, into.P99 = value, 0
	return true
}

func (d *decoder) search(n *yaml.Node, what string, into *LoadSpec) bool {
	sound := false
	o, ok := d.Object(n, "rate", what, yamlfile.Key("search", func(n *yaml.Node) {
		inner, ok := d.Object(n, "search", what+".search", yamlfile.Key("p99", func(n *yaml.Node) {
			if sound = d.duration(n, what+".search.p99", &into.P99); sound {
				into.Rate = 0
			}
		}))
		if ok && !inner.Has("p99") {
			d.Problem(n, "add p99: 500ms", "%s.search has no limit", what)
		}
	}))
	if ok && !o.Has("search") {
		d.Problem(n, rateRule, "%s has no search", what)
	}
	return sound
}
