package scenarios

import (
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
	"stackmeter/scenarios/yamlfile"
)

// An ErrorLimit is how many errors a cell may have among its answers. With more
// the load stops early and the cell is failed, its counts kept. The zero value
// allows none.
type ErrorLimit struct {
	Count   int     `json:"count,omitempty"`
	Percent float64 `json:"percent,omitempty"` // of the cell's requests; Count is 0 then
}

// Allowed is how many errors a number of requests may have.
func (l ErrorLimit) Allowed(requests int) int {
	if l.Percent > 0 {
		// The smallest part keeps 7% of 100 from being 7.000000000000001 or 6.99….
		return int(l.Percent*float64(requests)/100 + 1e-9)
	}
	return l.Count
}

// String writes the limit as ParseErrorLimit reads it.
func (l ErrorLimit) String() string {
	if l.Percent > 0 {
		return strconv.FormatFloat(l.Percent, 'f', -1, 64) + "%"
	}
	return strconv.Itoa(l.Count)
}

// ParseErrorLimit reads a number of errors, or a percentage of the requests: 10
// or 2.5%.
func ParseErrorLimit(text string) (ErrorLimit, error) {
	if count, err := strconv.Atoi(text); err == nil && strconv.Itoa(count) == text {
		return ErrorLimit{Count: count}, inRange("the number of errors", count, 0, MaxRequests)
	}
	percent, err := units.Parse(text, units.Percent)
	switch {
	case err != nil && !strings.Contains(text, "%"):
		err = &units.Error{Message: show.Quote(text) + " is neither a number of errors nor a percentage", Hint: "for example 10 or 2.5%"}
	case err == nil && percent > 100:
		err = fmt.Errorf("%s is more than 100%%", show.Quote(text))
	}
	return ErrorLimit{Percent: percent}, err
}

// errorLimit reads a limit of errors.
func (d *decoder) errorLimit(n *yaml.Node, what string) *ErrorLimit {
	if n.Kind != yaml.ScalarNode {
		d.Problem(n, "for example 10 or 2.5%", "%s has to be a number or a percentage, not %s", what, yamlfile.Describe(n))
		return nil
	}
	limit, err := ParseErrorLimit(n.Value)
	if err != nil {
		d.Refuse(n, what, err)
		return nil
	}
	return &limit
}
