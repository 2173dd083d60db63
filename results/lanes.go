package results

import (
	"fmt"
	"strings"

	"stackmeter/scenarios/show"
)

// Lanes are what a run had to measure side by side with, and why that could be believed
// or could not.
type Lanes struct {
	Have  []Lane     `json:"have"`            // by Record.Lane; one alone: nothing was measured side by side
	Check *LaneCheck `json:"check,omitempty"` // nil: it was not made
	Off   string     `json:"off,omitempty"`   // why there is one lane, although there were to be more
}

// A Lane is what one lane had.
type Lane struct {
	Devices []string `json:"devices,omitempty"` // that each of its stacks got, by UUID
	Cores   string   `json:"cores,omitempty"`   // that its stacks might use, as 0-3,6; empty: any
	Client  string   `json:"client,omitempty"`  // likewise, of the load client
}

// A LaneCheck is what the lanes' cells took alone and with all other lanes busy, in turn.
type LaneCheck struct {
	Lanes  int      `json:"lanes"`
	Pairs  int      `json:"pairs"`
	Alone  float64  `json:"alone_s"`  // the median
	Beside float64  `json:"beside_s"` // the median
	Ratio  float64  `json:"ratio"`    // of the pairs, see stats.Pair
	Low    *float64 `json:"low"`      // of the ratio's 95% interval; nil with too few pairs
	High   *float64 `json:"high"`
}

// String says what was found.
func (c LaneCheck) String() string {
	interval := "too few pairs for an interval"
	if c.Low != nil && c.High != nil {
		interval = fmt.Sprintf("×%.3f, from %.3f to %.3f", c.Ratio, *c.Low, *c.High)
	}
	return fmt.Sprintf("a cell took %.3g s alone and %.3g s with the other lanes busy (%s in %s)", c.Alone, c.Beside, interval, show.Plural(c.Pairs, "pair"))
}

// String says how many lanes there were and why, empty if there was never to be more
// than one.
func (l *Lanes) String() string {
	switch {
	case l == nil || len(l.Have) == 0:
		return ""
	case l.Off != "":
		return "one, because " + l.Off
	}
	text := fmt.Sprint(len(l.Have))
	if each := l.each(); each != "" {
		text += ", each with " + each
	}
	if l.Check != nil {
		text += "; " + l.Check.String()
	}
	return text
}

// each is what every lane had to itself.
func (l *Lanes) each() string {
	var own []string
	first := l.Have[0]
	if len(first.Devices) > 0 {
		own = append(own, show.Plural(len(first.Devices), "device"))
	}
	if len(l.Have) > 1 && first.Cores != l.Have[1].Cores {
		own = append(own, "cores of its own")
	}
	return strings.Join(own, " and ")
}
