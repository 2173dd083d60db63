package wire

import (
	"fmt"
	"strconv"
	"strings"

	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
)

// An ErrorLimit is how many errors a cell may have among its answers. With more,
// the load stops early and the cell fails; its counts are kept. The zero value
// allows none.
type ErrorLimit struct {
	Count   int     `json:"count,omitempty"`
	Percent float64 `json:"percent,omitempty"` // of the cell's requests; Count is 0 then
}

// Allowed is how many errors a number of requests may have.
func (l ErrorLimit) Allowed(requests int) int {
	if l.Percent > 0 {
		// The tiny addend makes up for rounding: 0.57% of 10000 is 56.99999999999999.
		return int(l.Percent*float64(requests)/100 + 1e-9)
	}
	return l.Count
}

// String writes the limit as parseErrorLimit reads it.
func (l ErrorLimit) String() string {
	if l.Percent > 0 {
		return strconv.FormatFloat(l.Percent, 'f', -1, 64) + "%"
	}
	return strconv.Itoa(l.Count)
}

// parseErrorLimit reads a number of errors, or a percentage of the requests: 10
// or 2.5%.
func parseErrorLimit(text string) (ErrorLimit, error) {
	if count, err := strconv.Atoi(text); err == nil && strconv.Itoa(count) == text {
		if count < 0 || count > MaxRequests {
			err = fmt.Errorf("the number of errors must be from 0 to %d, not %d", MaxRequests, count)
		}
		return ErrorLimit{Count: count}, err
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
