package load

import (
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios/wire"
)

// A load of which a part was never sent is no measurement, whatever became of
// the rest.
func TestUnmeasured(t *testing.T) {
	errors := map[string]int{ErrStatus: 6}
	cases := map[string]struct {
		sent  Result
		limit *wire.ErrorLimit
		want  string // a part; empty: a measurement
	}{
		"all well":         {Result{Requests: 10, Replies: 10}, nil, ""},
		"errors, no limit": {Result{Requests: 10, Replies: 4, Errors: 6, ErrorKinds: errors}, nil, "6 of 10 requests had errors, and without request.max_errors none may"},
		"any number":       {Result{Requests: 10, Replies: 4, Errors: 6, ErrorKinds: errors}, &wire.ErrorLimit{Percent: 100}, ""},
		"within the limit": {Result{Requests: 10, Replies: 4, Errors: 6, ErrorKinds: errors}, &wire.ErrorLimit{Count: 6}, ""},
		"above the limit":  {Result{Requests: 10, Replies: 4, Errors: 6, ErrorKinds: errors}, &wire.ErrorLimit{Count: 5}, "6 errors"},
		"no reply":         {Result{Requests: 6, Errors: 6, ErrorKinds: errors}, nil, "none of 6 requests"},
		"no rate": {Result{Requests: 9, Replies: 9, Search: &Search{P99: time.Second, Probes: []Probe{{Rate: 8, P99: 3 * time.Second}, {Rate: 4, P99: 2 * time.Second}}}},
			nil, "no rate within 1s: at 4/s, the lowest that it tried, the 99th percentile was 2s, with 0 errors"},
		"given up": {Result{Requests: 300, Replies: 2, Errors: 6, ErrorKinds: errors}, nil, "stopped after 8 of 300 requests"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := c.sent.Unmeasured(c.limit)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
