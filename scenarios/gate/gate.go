// Package gate is what a run is held against at its end, and reads it from a scenario.
package gate

import (
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/yamlfile"
)

// Values of Gate.Undecided.
const (
	Warn = "warn" // the default
	Fail = "fail"
)

// Bounds of Against.Nights. The least is what a spread between nights takes; older
// nights than the most are of another time.
const (
	defaultNights = 7
	leastNights   = 4
	mostNights    = 60
)

// A Gate says what thresholds with base are held against, and what becomes of what
// cannot be decided.
type Gate struct {
	Against   Against `json:"against,omitzero"`
	Anchor    string  `json:"anchor,omitempty"`    // a tag; the run with it shows what came slowly
	Undecided string  `json:"undecided,omitempty"` // whether what is over a limit and not shown to be fails: Warn, Fail; empty: Warn
}

// An Against is the last nights that passed, or one run. The zero value is the usual
// number of nights.
type Against struct {
	Nights int    `json:"nights,omitempty"`
	Run    string `json:"run,omitempty"` // by its id, a tag, last-passed …; empty: Nights
}

// Count is how many nights a run is held against; 0: one run.
func (a Against) Count() int {
	switch {
	case a.Run != "":
		return 0
	case a.Nights > 0:
		return a.Nights
	}
	return defaultNights
}

// prefix is what a number of nights has before it where there is one line for it.
const prefix = "nights:"

// Parse reads what a flag says: nights:7, or a run. Nothing is the zero value.
func Parse(text string) (Against, error) {
	number, nights := strings.CutPrefix(text, prefix)
	if !nights {
		return Against{Run: text}, nil
	}
	n, err := strconv.Atoi(number)
	if err != nil || n < leastNights || n > mostNights {
		return Against{}, fmt.Errorf("%q: after %s stands a number from %d to %d", show.Shorten(show.Line(text), 60), prefix, leastNights, mostNights)
	}
	return Against{Nights: n}, nil
}

// Keys are those of a scenario that a gate has.
func Keys(f *yamlfile.File, g *Gate) []yamlfile.Field {
	return []yamlfile.Field{
		yamlfile.Key("against", func(n *yaml.Node) { against(f, n, &g.Against) }),
		yamlfile.Key("anchor", func(n *yaml.Node) {
			if f.Text(n, "anchor", &g.Anchor) && strings.TrimSpace(g.Anchor) == "" {
				f.Problem(n, "give the tag of the run that changes are counted from, such as release-1.2, or remove it", "anchor is empty")
			}
		}),
		yamlfile.Key("undecided", func(n *yaml.Node) { f.Choice(n, "undecided", &g.Undecided, Warn, Fail) }),
	}
}

// against reads {nights: 7}, or the name of a run.
func against(f *yamlfile.File, n *yaml.Node, a *Against) {
	if n.Kind == yaml.MappingNode {
		f.Object(n, "against", "against",
			yamlfile.Needed("nights", "add nights: 7", func(n *yaml.Node) { f.Integer(n, "against.nights", &a.Nights, leastNights, mostNights) }))
		return
	}
	if !f.Text(n, "against", &a.Run) {
		return
	}
	switch {
	case strings.TrimSpace(a.Run) == "":
		f.Problem(n, "for example {nights: 7}, last-passed, or the tag of a run", "against is empty")
	case strings.HasPrefix(a.Run, prefix):
		f.Problem(n, "write {nights: 7}", "against is %s", show.Quote(a.Run))
	}
}
