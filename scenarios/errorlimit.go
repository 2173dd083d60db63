package scenarios

import (
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
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
	if number, isPercent := strings.CutSuffix(text, "%"); isPercent {
		percent, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || strings.ContainsAny(number, "xXpP_") || !(percent >= 0 && percent <= 100) {
			return ErrorLimit{}, fmt.Errorf("%s is no percentage from 0%% to 100%%", show.Quote(text))
		}
		return ErrorLimit{Percent: percent}, nil
	}
	count, err := strconv.Atoi(text)
	if err != nil || strconv.Itoa(count) != text || count < 0 || count > MaxRequests {
		return ErrorLimit{}, fmt.Errorf("%s is no number of errors from 0 to %d, and no percentage", show.Quote(text), MaxRequests)
	}
	return ErrorLimit{Count: count}, nil
}

// errorLimit reads a limit of errors.
func (d *decoder) errorLimit(n *yaml.Node, what string) *ErrorLimit {
	if n.Kind != yaml.ScalarNode {
		d.problem(n, "for example 10 or 2.5%", "%s has to be a number or a percentage, not %s", what, describe(n))
		return nil
	}
	limit, err := ParseErrorLimit(n.Value)
	if err != nil {
		d.problem(n, "for example 10 or 2.5%", "%s: %v", what, err)
		return nil
	}
	return &limit
}
