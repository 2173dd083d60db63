package scenarios

import (
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/yamlfile"
)

func (d *decoder) expect(n *yaml.Node, e *Expect) {
	d.Object(n, "expect", "request.expect",
		yamlfile.Key("status", func(n *yaml.Node) { d.Integer(n, "request.expect.status", &e.Status, 200, 599) }),
		yamlfile.Key("json", func(n *yaml.Node) { d.expectJSON(n, e) }),
		yamlfile.Key("match", func(n *yaml.Node) {
			var pattern string
			if d.Text(n, "request.expect.match", &pattern) && d.pattern(n, "request.expect.match", pattern) {
				e.Match = pattern
			}
		}),
		yamlfile.Key("body_digest", func(n *yaml.Node) { d.Choice(n, "request.expect.body_digest", &e.BodyDigest, DigestSame) }),
	)
}

// pattern checks a regular expression.
func (d *decoder) pattern(n *yaml.Node, what, pattern string) bool {
	if _, err := regexp.Compile(pattern); err != nil {
		d.Problem(n, "the syntax is that of https://pkg.go.dev/regexp/syntax", "%s: %v", what, err)
		return false
	}
	return true
}

// expectJSON reads what a JSON body has to have at some places. What is
// written between slashes is a regular expression.
func (d *decoder) expectJSON(n *yaml.Node, e *Expect) {
	const what = "request.expect.json"
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		d.Problem(n, "for example {label: cat} or {results.0.label: /^(cat|dog)$/}", "%s has to be a mapping of places to values, not %s", what, yamlfile.Describe(n))
		return
	}
	e.JSON = make(map[string]string, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || strings.HasPrefix(key.Value, "$") || !validPlace(key.Value) {
			d.Problem(key, "keys and indices with dots between them, for example results.0.label", "%s has a place that cannot be: %s", what, show.Quote(key.Value))
			continue
		}
		if value.Tag == "!!str" {
			if pattern, is := Pattern(value.Value); is {
				if d.pattern(value, what+"."+key.Value, pattern) {
					e.JSON[key.Value] = value.Value
				}
				continue
			}
		}
		e.JSON[key.Value] = string(d.JSON(value, what+"."+key.Value))
	}
}

func validPlace(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || show.Columns(part) != part {
			return false
		}
	}
	return len(s) <= yamlfile.MaxText
}
