// Package expect is what a request expects of its answers, and reads it from a
// scenario.
package expect

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/yamlfile"
)

// An Answer is what an answer must be to count as a reply. Anything else counts as
// an error. JSON, Match and BodyDigest need the body, which costs the client some
// CPU; otherwise the body is thrown away unread.
type Answer struct {
	Status int `json:"status"`

	// JSON is what the body, as JSON, must have at some places. A place is keys
	// and indices from 0 with dots between them: results.0.label. The expected
	// value is JSON, or a regular expression between slashes that the value must
	// match as text, see Pattern.
	JSON map[string]string `json:"json,omitempty"`

	Match string `json:"match,omitempty"` // a regular expression that the body has to match

	// BodyDigest is DigestSame if all answers to the same payload must be the
	// same within a cell, byte for byte.
	BodyDigest string `json:"body_digest,omitempty"`

	Events    *Count `json:"events,omitempty"`     // of an answer that streams; nil: any number
	LastEvent *Event `json:"last_event,omitempty"` // of an answer that streams; nil: anything
}

// DigestSame is the value of Answer.BodyDigest.
const DigestSame = "same"

// Streams reports whether only an answer that streams can be as expected.
func (a Answer) Streams() bool { return a.Events != nil || a.LastEvent != nil }

// String says in words what is expected.
func (a Answer) String() string {
	text := "status any 2xx"
	if a.Status != 0 {
		text = "status " + strconv.Itoa(a.Status)
	}
	for _, place := range slices.Sorted(maps.Keys(a.JSON)) {
		text += fmt.Sprintf(", json %s=%s", place, a.JSON[place])
	}
	if a.Match != "" {
		text += ", a match of " + a.Match
	}
	if a.BodyDigest != "" {
		text += ", the same answer to the same file"
	}
	if a.Events != nil {
		text += ", events " + a.Events.String()
	}
	if a.LastEvent != nil {
		text += ", last event " + a.LastEvent.Text
		for i, place := range slices.Sorted(maps.Keys(a.LastEvent.JSON)) {
			text += fmt.Sprintf("%s%s=%s", strings.Repeat(" and ", min(i, 1)), place, a.LastEvent.JSON[place])
		}
	}
	return text
}

// Pattern returns the regular expression of an expected value such as /^cat/, and
// whether the value is one.
func Pattern(want string) (string, bool) {
	if len(want) < 2 || want[0] != '/' || want[len(want)-1] != '/' {
		return "", false
	}
	return want[1 : len(want)-1], true
}

// Read reads request.expect and returns its keys. What it does not say stays as it is.
func Read(f *yamlfile.File, n *yaml.Node, a *Answer) yamlfile.Object {
	r := reader{f}
	o, _ := f.Object(n, "expect", "request.expect",
		yamlfile.Key("status", func(n *yaml.Node) { f.Integer(n, "request.expect.status", &a.Status, 200, 599) }),
		yamlfile.Key("json", func(n *yaml.Node) { a.JSON = r.places(n, "request.expect.json") }),
		yamlfile.Key("match", func(n *yaml.Node) {
			var pattern string
			if f.Text(n, "request.expect.match", &pattern) && r.pattern(n, "request.expect.match", pattern) {
				a.Match = pattern
			}
		}),
		yamlfile.Key("body_digest", func(n *yaml.Node) { f.Choice(n, "request.expect.body_digest", &a.BodyDigest, DigestSame) }),
		yamlfile.Key("events", func(n *yaml.Node) { a.Events = r.count(n) }),
		yamlfile.Key("last_event", func(n *yaml.Node) { a.LastEvent = r.event(n) }),
	)
	return o
}

type reader struct{ *yamlfile.File }

// pattern checks a regular expression.
func (r reader) pattern(n *yaml.Node, what, pattern string) bool {
	if _, err := regexp.Compile(pattern); err != nil {
		r.Problem(n, "the syntax is that of https://pkg.go.dev/regexp/syntax", "%s: %v", what, err)
		return false
	}
	return true
}

// places reads what JSON must have at some places. A text between slashes is a
// regular expression.
func (r reader) places(n *yaml.Node, what string) map[string]string {
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		r.Problem(n, "for example {label: cat} or {results.0.label: /^(cat|dog)$/}", "%s must be a mapping of places to values, not %s", what, yamlfile.Describe(n))
		return nil
	}
	places := make(map[string]string, len(n.Content)/2)
	for key, value := range yamlfile.Pairs(n) {
		if key.Kind != yaml.ScalarNode || strings.HasPrefix(key.Value, "$") || !validPlace(key.Value) {
			r.Problem(key, "keys and indices with dots between them, for example results.0.label", "%s has the invalid place %s", what, show.Quote(key.Value))
			continue
		}
		if value.Tag == "!!str" {
			if pattern, is := Pattern(value.Value); is {
				if r.pattern(value, what+"."+key.Value, pattern) {
					places[key.Value] = value.Value
				}
				continue
			}
		}
		places[key.Value] = string(r.JSON(value, what+"."+key.Value))
	}
	return places
}

func validPlace(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" || show.Columns(part) != part {
			return false
		}
	}
	return len(s) <= yamlfile.MaxText
}
