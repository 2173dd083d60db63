package expect

import (
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/yamlfile"
)

// A Count is how many events a stream may have.
type Count struct {
	Min int `json:"min"`
	Max int `json:"max,omitempty"` // 0: any number
}

// Holds reports whether a number of events is as expected.
func (c Count) Holds(events int) bool { return events >= c.Min && (c.Max == 0 || events <= c.Max) }

// String writes the count as a scenario has it: 20, 5-30 or 5-.
func (c Count) String() string {
	switch c.Max {
	case c.Min:
		return strconv.Itoa(c.Min)
	case 0:
		return strconv.Itoa(c.Min) + "-"
	}
	return fmt.Sprintf("%d-%d", c.Min, c.Max)
}

// maxEvents bounds a count. A stream of them all would be longer than a body may be.
const maxEvents = 100_000_000

// count reads a number of events, or a range.
func (r reader) count(n *yaml.Node) *Count {
	const what = "request.expect.events"
	low, high, ranged := strings.Cut(n.Value, "-")
	least, errLow := strconv.Atoi(low)
	most, errHigh := strconv.Atoi(high)
	switch {
	case !ranged:
		most, errHigh = least, nil
	case high == "":
		most, errHigh = 0, nil
	}
	c := Count{least, most}
	switch {
	case n.Kind != yaml.ScalarNode || errLow != nil || errHigh != nil || c.String() != n.Value:
		r.Problem(n, "for example 20, 5-30, or 5- for 5 or more", "%s must be a number of events or a range, not %s", what, yamlfile.Describe(n))
	case max(least, most) < 1 || max(least, most) > maxEvents:
		r.Problem(n, "", "%s must be from 1 to %d, not %s", what, maxEvents, n.Value)
	case most != 0 && least > most:
		r.Problem(n, fmt.Sprintf("write %d-%d", most, least), "%s: %d is more than %d", what, least, most)
	default:
		return &c
	}
	return nil
}

// An Event is what the data of an event must be: one of the two.
type Event struct {
	Text string            `json:"text,omitempty"` // the whole of it, or a regular expression that it must match, see Pattern
	JSON map[string]string `json:"json,omitempty"` // what it must have at some places, as Answer.JSON
}

// event reads what the last event has to be: a text, or a mapping of places.
func (r reader) event(n *yaml.Node) *Event {
	const what = "request.expect.last_event"
	var e Event
	switch n.Kind {
	case yaml.MappingNode:
		e.JSON = r.places(n, what)
	case yaml.SequenceNode:
		r.Problem(n, `write "[DONE]" in quotes for the text [DONE]`, "%s must be text or a mapping of places to values, not %s", what, yamlfile.Describe(n))
		return nil
	default:
		if !r.Text(n, what, &e.Text) {
			return nil
		}
		if pattern, is := Pattern(e.Text); is && !r.pattern(n, what, pattern) {
			return nil
		}
	}
	return &e
}
