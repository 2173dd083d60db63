package orchestrator

import (
	"testing"
	"time"

	"stackmeter/results"
)

// TestStarved: a client that waited for a core is flagged where other programs had it,
// and not where it waited for the stack or for itself.
func TestStarved(t *testing.T) {
	known := func(seconds float64) *float64 { return &seconds }
	for _, test := range []struct {
		name           string
		stack, machine *float64 // CPU seconds of 10
		waited         time.Duration
		starved        bool
	}{
		{"others had its core", known(1), known(18), 4 * time.Second, true},
		{"the stack had it", known(18), known(19.5), 4 * time.Second, false},
		{"a short wait beside busy programs", known(1), known(18), time.Second / 2, false},
		{"nobody knows what others used", known(1), nil, 4 * time.Second, false},
		{"nor what the stack used", nil, known(18), 4 * time.Second, false},
	} {
		rec := &results.Record{Duration: known(10), CPU: results.CPU{Stack: test.stack, Client: known(1), Machine: test.machine}}
		if got := starved(rec, test.waited); got != test.starved {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
