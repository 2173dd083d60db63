//go:build linux

package native

import (
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// TestNextRate: whatever a stack holds, and wherever the search begins, the search
// finds the rate to 5% in few probes, or finds that there is none.
func TestNextRate(t *testing.T) {
	for _, truth := range []float64{0.02, 0.7, 1, 19.9, 333, 2_400} {
		for _, first := range []float64{0.5 * truth, truth, 3 * truth, 40 * truth} {
			var probes []load.Probe
			for rate, more := nextRate(first, nil); more; rate, more = nextRate(first, probes) {
				probes = append(probes, load.Probe{Rate: rate, Holds: rate <= truth})
			}
			found, _ := (&load.Search{Probes: probes}).Bracket()
			if found > truth || found < truth/1.06 {
				t.Errorf("from %v, of %v: found %v by %v", first, truth, found, probes)
			}
			if len(probes) > 14 {
				t.Errorf("from %v, of %v: %d probes", first, truth, len(probes))
			}
		}
	}
	// A probe in a bad moment does not hold, whatever the rate: what the stack
	// holds is found all the same.
	for bad := range 8 {
		const truth, first = 333, 20
		var probes []load.Probe
		for rate, more := nextRate(first, nil); more; rate, more = nextRate(first, probes) {
			probes = append(probes, load.Probe{Rate: rate, Holds: rate <= truth && len(probes) != bad})
		}
		if found, _ := (&load.Search{Probes: probes}).Bracket(); found > truth || found < truth/1.06 {
			t.Errorf("with a bad moment at probe %d: found %v of %v by %v", bad, found, truth, probes)
		}
	}
	var probes []load.Probe
	for rate, more := nextRate(100, nil); more; rate, more = nextRate(100, probes) {
		probes = append(probes, load.Probe{Rate: rate})
	}
	if low, high := (&load.Search{Probes: probes}).Bracket(); low != 0 || math.IsInf(high, 1) || len(probes) > searchProbes {
		t.Errorf("a stack that holds nothing: %v to %v after %d probes", low, high, len(probes))
	}
}

func TestReadable(t *testing.T) {
	for rate, want := range map[float64]float64{89.7776: 89.8, 0.0123456: 0.0123, 98765: 98800, 4: 4} {
		if got := readable(rate); got != want {
			t.Errorf("%v: %v, want %v", rate, got, want)
		}
	}
}

// TestRequestsAt: a probe lasts at least twenty times the limit, so that the queue of
// an overloaded stack grows beyond it.
func TestRequestsAt(t *testing.T) {
	l := scenarios.LoadSpec{Requests: 100, P99: 60 * time.Millisecond}
	for rate, want := range map[float64]int{1: 100, 83: 100, 1000: 1200, 1010.5: 1213} {
		if got := requestsAt(rate, l); got != want {
			t.Errorf("at %v/s: %d requests, want %d", rate, got, want)
		}
	}
}

// TestProbe: a rate holds only if it was met. If the client is why it does not hold,
// the search says so.
func TestProbe(t *testing.T) {
	const (
		limit    = 100 * time.Millisecond
		rate     = 50.0
		schedule = 2 * time.Second // 100 requests
	)
	result := func(latency, service, duration time.Duration, flags ...string) load.Result {
		r := load.Result{Requests: 100, Replies: 100, Late: 30, Duration: duration, Flags: flags, Latency: new(load.Latency), Service: new(load.Latency)}
		for range r.Replies {
			r.Latency.Record(latency)
			r.Service.Record(service)
		}
		return r
	}
	withError := result(90*time.Millisecond, 20*time.Millisecond, schedule, load.FlagClientLate)
	withError.Replies, withError.Errors = 99, 1
	for name, test := range map[string]struct {
		result load.Result
		holds  bool
		client []string
	}{
		"met":                        {result(90*time.Millisecond, 90*time.Millisecond, 2070*time.Millisecond), true, nil},
		"met, though late":           {result(90*time.Millisecond, 20*time.Millisecond, 2070*time.Millisecond, load.FlagClientLate), true, nil},
		"not met":                    {result(90*time.Millisecond, 20*time.Millisecond, 2120*time.Millisecond), false, nil},
		"not met by a late client":   {result(90*time.Millisecond, 20*time.Millisecond, 2120*time.Millisecond, load.FlagClientLate), false, []string{load.FlagClientLate}},
		"late client":                {result(200*time.Millisecond, 20*time.Millisecond, 2070*time.Millisecond, load.FlagClientLate), false, []string{load.FlagClientLate}},
		"slow stack fills the pool":  {result(300*time.Millisecond, 200*time.Millisecond, 2300*time.Millisecond, load.FlagClientLate), false, nil},
		"client without CPU":         {result(300*time.Millisecond, 200*time.Millisecond, 2300*time.Millisecond, load.FlagClientBound), false, []string{load.FlagClientBound}},
		"error of the stack":         {withError, false, nil},
		"nothing was answered":       {load.Result{Requests: 100, Errors: 100, Duration: schedule}, false, nil},
		"slow stack":                 {result(200*time.Millisecond, 200*time.Millisecond, 2200*time.Millisecond), false, nil},
		"a doubt that is not of CPU": {result(200*time.Millisecond, 200*time.Millisecond, 2200*time.Millisecond, load.FlagInsecure), false, nil},
	} {
		probe := newProbe(rate, limit, schedule, test.result)
		if probe.Holds != test.holds {
			t.Errorf("%s: holds is %v: %+v", name, probe.Holds, probe)
		}
		// What failed above it says nothing of the rate that was found.
		above := load.Probe{Rate: 2 * rate, Flags: []string{load.FlagClientBound}}
		search := load.Search{P99: limit, Probes: []load.Probe{above, probe, {Rate: rate / 2, Holds: true}}}
		if probe.Holds {
			search.Probes = search.Probes[1:]
		}
		lowest, client := search.Bound()
		if !slices.Equal(client, test.client) || (lowest == nil) != probe.Holds {
			t.Errorf("%s: the bound is %+v, because of the client: %v, want %v", name, lowest, client, test.client)
		}
	}
}

// TestSearchOfAClientThatIsTheLimit: over two connections, a server that takes 20 ms
// gives at most a hundred answers a second, whatever it could do. The search reports no
// higher rate, and says whose limit it is.
func TestSearchOfAClientThatIsTheLimit(t *testing.T) {
	url, _ := startHTTP(t, func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) })
	job := load.Job{URL: url, Request: get("/"), Load: scenarios.LoadSpec{
		Requests: 50, Client: scenarios.ClientOpen, Pool: 2, Arrivals: scenarios.ArrivalsConstant, P99: 60 * time.Millisecond,
	}}
	seeker, err := new(Client).prepareSearch(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	defer seeker.Close()
	result, err := seeker.Fire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	most := 100 * searchPrecision
	if result.Search.Rate > most {
		t.Errorf("found %v/s, of at most %v/s: %+v", result.Search.Rate, most, result.Search.Probes)
	}
	for _, p := range result.Search.Probes {
		if p.Rate > most && (p.Holds || p.Late < 0.5 || p.Achieved > 100 || !slices.Contains(p.Flags, load.FlagClientLate)) {
			t.Errorf("a rate that two connections cannot send: %+v", p)
		}
	}
	lowest, client := result.Search.Bound()
	if lowest == nil {
		t.Fatalf("every rate held: %+v", result.Search)
	}
	for _, flag := range client {
		if !slices.Contains(result.Flags, flag) {
			t.Errorf("flags %v, though %s held the search back: %+v", result.Flags, flag, lowest)
		}
	}
}
