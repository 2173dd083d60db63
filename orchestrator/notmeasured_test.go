package orchestrator

import (
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// A load of which a part was never sent is no measurement, whatever became of
// the rest.
func TestNotMeasured(t *testing.T) {
	errors := map[string]int{load.ErrStatus: 6}
	cases := map[string]struct {
		sent  load.Result
		limit *scenarios.ErrorLimit
		want  string // a part; empty: a measurement
	}{
		"all well":         {load.Result{Requests: 10, Replies: 10}, nil, ""},
		"errors, no limit": {load.Result{Requests: 10, Replies: 4, Errors: 6, ErrorKinds: errors}, nil, "6 of 10 requests had errors, and without request.max_errors none may"},
		"any number":       {load.Result{Requests: 10, Replies: 4, Errors: 6, ErrorKinds: errors}, &scenarios.ErrorLimit{Percent: 100}, ""},
		"within the limit": {load.Result{Requests: 10, Replies: 4, Errors: 6, ErrorKinds: errors}, &scenarios.ErrorLimit{Count: 6}, ""},
		"above the limit":  {load.Result{Requests: 10, Replies: 4, Errors: 6, ErrorKinds: errors}, &scenarios.ErrorLimit{Count: 5}, "6 errors"},
		"no reply":         {load.Result{Requests: 6, Errors: 6, ErrorKinds: errors}, nil, "none of 6 requests"},
		"no rate": {load.Result{Requests: 9, Replies: 9, Search: &load.Search{P99: time.Second, Probes: []load.Probe{{Rate: 8, P99: 3 * time.Second}, {Rate: 4, P99: 2 * time.Second}}}},
			nil, "no rate within 1s: at 4/s, the lowest that it tried, the 99th percentile was 2s, with 0 errors"},
		"given up": {load.Result{Requests: 300, Replies: 2, Errors: 6, ErrorKinds: errors}, nil, "stopped after 8 of 300 requests"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := notMeasured(c.sent, c.limit)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
