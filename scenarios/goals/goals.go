// Package goals is what a topology is chosen for, and reads it from a scenario.
package goals

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/threshold"
	"stackmeter/scenarios/units"
	"stackmeter/scenarios/yamlfile"
)

// A Recommend is what to choose a topology by. The metrics are those of package
// results.
type Recommend struct {
	Under     map[string]string `json:"under,omitempty"` // budgets by metric, as they are written: gpu_peak 5GiB
	Objective string            `json:"objective"`       // a metric
}

// Metrics are the names of the figures that have a budget, sorted.
func (r Recommend) Metrics() []string {
	return slices.Sorted(maps.Keys(r.Under))
}

// A Search is what is looked for among the topologies of a scenario, and when enough is
// known: once it is sure to Confidence that no topology is better than the answer by
// more than Within of the objective, or after Time.
type Search struct {
	Recommend
	Within     float64       `json:"within"`     // as a share: 0.02
	Confidence float64       `json:"confidence"` // from 0 to 1, without either
	Time       time.Duration `json:"-"`          // of the whole run; 0: until it is sure
}

// plain is a Search without methods.
type plain Search

type searchJSON struct {
	*plain
	TimeS float64 `json:"time_s,omitempty"`
}

// MarshalJSON implements json.Marshaler: a duration is a number of seconds.
func (s Search) MarshalJSON() ([]byte, error) {
	return json.Marshal(searchJSON{(*plain)(&s), s.Time.Seconds()})
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Search) UnmarshalJSON(text []byte) error {
	read := searchJSON{plain: (*plain)(s)}
	err := json.Unmarshal(text, &read)
	s.Time = units.Duration(read.TimeS)
	return err
}

const (
	// Below evens nothing is sure, and full certainty takes forever.
	leastConfidence, mostConfidence = 50, 99.99 // percent

	leastTime, mostTime = 1, 7 * 24 * 3600 // seconds
)

// A Reader reads blocks of a file that name figures.
type Reader struct {
	*yamlfile.File
	Figures threshold.Vocabulary
}

// Recommend reads a recommend block.
func (r Reader) Recommend(n *yaml.Node) *Recommend {
	asked := &Recommend{Objective: defaultObjective}
	_, ok := r.Object(n, "recommend", "recommend", r.fields("recommend", asked)...)
	if ok && len(n.Content) == 0 {
		r.Problem(n, "for example {under: {gpu_peak: 5GiB}, objective: duration}", "recommend is empty")
	}
	return asked
}

// Search reads a search block. All of it has a default.
func (r Reader) Search(n *yaml.Node) *Search {
	s := &Search{Recommend: Recommend{Objective: defaultObjective}, Within: 0.02, Confidence: 0.95}
	percent := func(key string, into *float64, low, high float64) yamlfile.Field {
		return yamlfile.Key(key, func(n *yaml.Node) {
			if value, ok := r.QuantityIn(n, "search."+key, units.Percent, low, high); ok {
				*into = value / 100
			}
		})
	}
	r.Object(n, "topologySearch", "search", append(r.fields("search", &s.Recommend),
		percent("within", &s.Within, 0, 100),
		percent("confidence", &s.Confidence, leastConfidence, mostConfidence),
		yamlfile.Key("time", func(n *yaml.Node) {
			if seconds, ok := r.QuantityIn(n, "search.time", units.Seconds, leastTime, mostTime); ok {
				s.Time = units.Duration(seconds)
			}
		}),
	)...)
	return s
}

// Beside checks that nothing else in the scenario says what a search decides: what is
// measured next, and how often. stay says that its stacks stay up.
func (r Reader) Beside(scenario yamlfile.Object, stay bool) {
	for key, why := range map[string]string{
		"starts":    "a search starts a stack anew where that decides",
		"lanes":     "a search measures one cell at a time",
		"order":     "a search orders what it tries by what it knows",
		"prune":     "a search always leaves out what is larger than what ran out of memory",
		"recommend": "a search has budgets and an objective of its own",
	} {
		if scenario.Has(key) {
			r.Problem(scenario.Keys[key], "remove "+key+", or search", "%s", why)
		}
	}
	if fresh := scenario.Values["fresh"]; fresh != nil && !stay {
		r.Problem(scenario.Keys["fresh"], "remove fresh, or search", "a search measures in rounds over stacks that stay up, and fresh says %s", show.Quote(fresh.Value))
	}
	if repeats := scenario.Values["repeats"]; repeats != nil && repeats.Kind == yaml.MappingNode {
		r.Problem(scenario.Keys["repeats"], "write as one number how often the whole matrix would be measured, or remove it",
			"a search decides itself how often a cell is measured, and repeats has bounds")
	}
}

// defaultObjective is what a topology is chosen by unless a file says otherwise.
const defaultObjective = "duration"

// fields are the keys that a choice is made by.
func (r Reader) fields(block string, into *Recommend) []yamlfile.Field {
	return []yamlfile.Field{
		yamlfile.Key("under", func(n *yaml.Node) { into.Under = r.budgets(n, block+".under") }),
		yamlfile.Key("objective", func(n *yaml.Node) {
			if r.Text(n, block+".objective", &into.Objective) {
				r.figure(n, block+".objective")
			}
		}),
	}
}

// figure is the figure that a node names.
func (r Reader) figure(n *yaml.Node, what string) (threshold.Figure, bool) {
	f, known := r.Figures.Find(n.Value)
	if !known {
		r.Problem(n, show.Suggest(n.Value, r.Figures.Names()), "%s: there is no figure %s", what, show.Quote(n.Value))
	}
	return f, known
}

// budgets reads the limits of some figures and keeps them as they are written.
func (r Reader) budgets(n *yaml.Node, what string) map[string]string {
	if n.Kind != yaml.MappingNode {
		r.Problem(n, "for example {gpu_peak: 5GiB, p99: 2s}", "%s must be a mapping, not %s", what, yamlfile.Describe(n))
		return nil
	}
	budgets := map[string]string{}
	for key, value := range yamlfile.Pairs(n) {
		if f, known := r.figure(key, what); known {
			if _, ok := r.Quantity(value, what+"."+f.Name, f.Unit); ok {
				budgets[f.Name] = value.Value
			}
		}
	}
	return budgets
}

// Searched makes a search of a scenario that is none. Its recommend block says what is
// searched for. What says how the whole matrix is measured is dropped, and of repeats
// within bounds the most stay.
func Searched(scenario *yaml.Node) {
	values, keys := map[string]*yaml.Node{}, map[string]*yaml.Node{}
	for key, value := range yamlfile.Pairs(scenario) {
		keys[key.Value], values[key.Value] = key, value
	}
	if scenario.Kind != yaml.MappingNode || keys["search"] != nil {
		return
	}
	if key := keys["recommend"]; key != nil {
		key.Value = "search"
	} else {
		scenario.Content = append(scenario.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "search"}, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"})
	}
	for key, value := range yamlfile.Pairs(scenario) {
		if key.Value != "repeats" {
			continue
		}
		for bound, most := range yamlfile.Pairs(value) {
			if bound.Value == "max" {
				*value = *most
				break
			}
		}
	}
	kept := scenario.Content[:0:0]
	for key, value := range yamlfile.Pairs(scenario) {
		switch key.Value {
		case "fresh", "starts", "lanes", "order", "prune":
		default:
			kept = append(kept, key, value)
		}
	}
	scenario.Content = kept
}
