package load

import (
	"math"
	"testing"
	"time"

	"stackmeter/scenarios"
)

// TestNextRate: whatever a stack holds, and wherever the search begins, the rate
// is found to 5% in few probes, or none is where there is none.
func TestNextRate(t *testing.T) {
	for _, truth := range []float64{0.02, 0.7, 1, 19.9, 333, 2_400} {
		for _, first := range []float64{0.5 * truth, truth, 3 * truth, 40 * truth} {
			var probes []Probe
			for rate, more := nextRate(first, nil); more; rate, more = nextRate(first, probes) {
				probes = append(probes, Probe{Rate: rate, Holds: rate <= truth})
			}
			found, _ := bracket(probes)
			if found > truth || found < truth/1.06 {
				t.Errorf("from %v, of %v: found %v by %v", first, truth, found, probes)
			}
			if len(probes) > 14 {
				t.Errorf("from %v, of %v: %d probes", first, truth, len(probes))
			}
		}
	}
	var probes []Probe
	for rate, more := nextRate(100, nil); more; rate, more = nextRate(100, probes) {
		probes = append(probes, Probe{Rate: rate})
	}
	if low, high := bracket(probes); low != 0 || math.IsInf(high, 1) || len(probes) > searchProbes {
		t.Errorf("a stack that holds nothing: %v to %v after %d probes", low, high, len(probes))
	}
}

// TestRequestsAt: what a probe sends takes ten times the limit, so that a queue
// at an overloaded stack grows beyond it.
func TestRequestsAt(t *testing.T) {
	l := scenarios.LoadSpec{Requests: 100, P99: 60 * time.Millisecond}
	for rate, want := range map[float64]int{1: 100, 166: 100, 1000: 600, 1010.5: 607} {
		if got := requestsAt(rate, l); got != want {
			t.Errorf("at %v/s: %d requests, want %d", rate, got, want)
		}
	}
}
