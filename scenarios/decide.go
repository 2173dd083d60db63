package scenarios

import (
	"slices"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/threshold"
	"stackmeter/scenarios/yamlfile"
)

// mostRepeats is the limit of repeats.
const mostRepeats = 1000

// repeats reads how often each cell is measured: a number, or from how many to
// how many until the medians are known well enough.
func (d *decoder) repeats(n *yaml.Node, s *Scenario) {
	if n.Kind != yaml.MappingNode {
		d.Integer(n, "repeats", &s.Repeats, 1, mostRepeats)
		return
	}
	until := Until{Min: 3}
	sound := true
	o, _ := d.Object(n, "repeats", "repeats",
		yamlfile.Key("min", func(n *yaml.Node) { sound = d.Integer(n, "repeats.min", &until.Min, 1, mostRepeats) && sound }),
		yamlfile.Key("max", func(n *yaml.Node) { sound = d.Integer(n, "repeats.max", &s.Repeats, 1, mostRepeats) && sound }),
		yamlfile.Key("until", func(n *yaml.Node) {
			sound = d.Percent(n, "repeats.until", &until.Within) && sound
			until.Within /= 100
		}),
	)
	for _, needed := range []struct{ key, hint string }{{"max", "add max: 10"}, {"until", "add until: 5%"}} {
		if !given(n, needed.key) {
			d.Problem(n, needed.hint, "repeats has no %s", needed.key)
			sound = false
		}
	}
	switch {
	case !sound:
	case s.Repeats < IntervalRepeats:
		d.Problem(o.Values["max"], "raise it, or write the number of repeats alone",
			"repeats.max has to be at least %d, not %d: with fewer there is no interval that until could be about", IntervalRepeats, s.Repeats)
	case until.Min > s.Repeats:
		d.Problem(o.Values["min"], "", "repeats.min is %d, more than repeats.max", until.Min)
	default:
		s.Until = &until
	}
}

// recommend reads what a topology is to be chosen for.
func (d *decoder) recommend(n *yaml.Node) *Recommend {
	r := &Recommend{Objective: "duration"}
	_, ok := d.Object(n, "recommend", "recommend",
		yamlfile.Key("under", func(n *yaml.Node) { r.Under = d.budgets(n) }),
		yamlfile.Key("objective", func(n *yaml.Node) {
			if d.Text(n, "recommend.objective", &r.Objective) {
				d.figure(n, "recommend.objective")
			}
		}),
	)
	if ok && len(n.Content) == 0 {
		d.Problem(n, "for example {under: {gpu_peak: 5GiB}, objective: duration}", "recommend is empty")
	}
	return r
}

// figure is the figure that a node names.
func (d *decoder) figure(n *yaml.Node, what string) (threshold.Figure, bool) {
	f, known := d.loader.Figures.Find(n.Value)
	if !known {
		d.Problem(n, show.Suggest(n.Value, d.loader.Figures.Names()), "%s: there is no figure %s", what, show.Quote(n.Value))
	}
	return f, known
}

// budgets reads a limit for each of some figures, as it is written.
func (d *decoder) budgets(n *yaml.Node) map[string]string {
	if n.Kind != yaml.MappingNode {
		d.Problem(n, "for example {gpu_peak: 5GiB, p99: 2s}", "recommend.under has to be a mapping, not %s", yamlfile.Describe(n))
		return nil
	}
	budgets := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if f, known := d.figure(key, "recommend.under"); known {
			if _, ok := d.Quantity(value, "recommend.under."+f.Name, f.Unit); ok {
				budgets[f.Name] = value.Value
			}
		}
	}
	return budgets
}

// Metrics are those that the budgets are about, sorted.
func (r Recommend) Metrics() []string {
	names := make([]string, 0, len(r.Under))
	for name := range r.Under {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
