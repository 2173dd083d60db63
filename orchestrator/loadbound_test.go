package orchestrator

import (
	"testing"
	"time"

	"stackmeter/scenarios"
)

// TestLoadBound: no load, however large, has a bound that overflows.
func TestLoadBound(t *testing.T) {
	request := scenarios.Request{Timeout: time.Minute}
	for _, test := range []struct {
		name string
		spec scenarios.LoadSpec
		want time.Duration
	}{
		{"a hundred requests", scenarios.LoadSpec{Requests: 100}, 100*time.Minute + boundSpare},
		{"at a rate", scenarios.LoadSpec{Requests: 100, Rate: 10}, 10*time.Second + time.Minute + boundSpare},
		{"a search", scenarios.LoadSpec{Requests: 10, P99: time.Second}, searchSteps*10*time.Minute + boundSpare},
		{"a search with three million requests", scenarios.LoadSpec{Requests: 3_000_000, P99: time.Second}, longest + boundSpare},
		{"the most requests at the longest time-out", scenarios.LoadSpec{Requests: scenarios.MaxRequests, P99: time.Second}, longest + boundSpare},
	} {
		if got := loadBound(request, test.spec); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
