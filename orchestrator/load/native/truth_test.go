//go:build linux

package native

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

// numbered is a request with n bodies: the numbers from 0 on.
func numbered(t testing.TB, n int) wire.Request {
	t.Helper()
	folder := t.TempDir()
	body := &wire.Body{ContentType: "text/plain"}
	for i := range n {
		file := filepath.Join(folder, strconv.Itoa(i))
		if err := os.WriteFile(file, []byte(strconv.Itoa(i)), 0o600); err != nil {
			t.Fatal(err)
		}
		body.Files = append(body.Files, file)
	}
	request := get("/")
	request.Method, request.Body = "POST", body
	return request
}

// TestLatencyIsTrue compares the client's percentiles with those of the server's log of
// when each request came and was answered. A closed loop's latency counts from the
// sending, an open loop's from the moment of the schedule. No percentile can be shorter
// than the server's, on any machine. It would be if the client left out the waiting or
// sent less while the server stalled. How much longer they are depends on what else the
// machine does, so only the lower half has a limit, and a wide one. BenchmarkLatency
// says how near they come.
func TestLatencyIsTrue(t *testing.T) {
	const (
		allowance = 100 * time.Millisecond // for a machine that does other things
		precision = 0.001                  // of the histogram
	)
	behaviours := map[string]behaviour{
		"constant":  {delay: 20 * time.Millisecond},
		"some slow": {delay: 2 * time.Millisecond, slow: 150 * time.Millisecond, slowEvery: 10},
		"stalls":    {delay: 2 * time.Millisecond, serial: true, stall: 300 * time.Millisecond, every: time.Second},
	}
	loads := []scenarios.LoadSpec{
		{Requests: 200, Client: scenarios.ClientMT, Pool: 5, KeepAlive: true},
		{Requests: 300, Client: scenarios.ClientOpen, Pool: 200, Rate: 200, Arrivals: scenarios.ArrivalsConstant},
		{Requests: 300, Client: scenarios.ClientOpen, Pool: 200, Rate: 200, Arrivals: scenarios.ArrivalsPoisson, KeepAlive: true},
	}
	for name, behaviour := range behaviours {
		for _, l := range loads {
			t.Run(fmt.Sprintf("%s/%s", name, l.Name()), func(t *testing.T) {
				t.Parallel()
				s := startTruth(t, behaviour)
				b, err := (&Client{}).prepareBatch(t.Context(), load.Job{URL: s.url, Request: numbered(t, l.Requests), Load: l, Seed: 7})
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				r, err := b.Fire(t.Context())
				if err != nil || r.Replies != l.Requests {
					t.Fatalf("%d replies of %d, errors %v, %v", r.Replies, l.Requests, r.FirstErrors, err)
				}
				begin := instant(b.arena.signals.gun.Load())
				offsets := load.Offsets(l, 7)
				var truth []time.Duration
				for _, request := range s.all() {
					from := request.begin
					if offsets != nil {
						from = begin + instant(offsets[request.id])
					}
					truth = append(truth, request.answered.sub(from))
				}
				if len(truth) != l.Requests {
					t.Fatalf("the server answered %d requests", len(truth))
				}
				for _, p := range []float64{10, 50, 90, 99, 100} {
					want, got := nearestRank(truth, p), r.Latency.Percentile(p)
					if got+time.Microsecond < time.Duration(float64(want)*(1-precision)) || p <= 50 && got > want+allowance {
						t.Errorf("p%v is %v; the server knows %v", p, got, want)
					}
				}
			})
		}
	}
}

// The timeline of a behaviour, by hand.
func TestTimeline(t *testing.T) {
	const ms = instant(time.Millisecond)
	tests := []struct {
		name string
		behaviour
		came, answered []instant
	}{
		{"constant", behaviour{delay: 20 * time.Millisecond}, []instant{0, 1 * ms, 1 * ms}, []instant{20 * ms, 21 * ms, 21 * ms}},
		{"every other is slow", behaviour{delay: 1 * time.Millisecond, slow: 9 * time.Millisecond, slowEvery: 2},
			[]instant{0, 0, 0}, []instant{1 * ms, 9 * ms, 1 * ms}},
		{"serial", behaviour{delay: 2 * time.Millisecond, serial: true}, []instant{5 * ms, 5 * ms, 20 * ms}, []instant{7 * ms, 9 * ms, 22 * ms}},
		{"stalls from 7 to 10, 17 to 20", behaviour{delay: 2 * time.Millisecond, serial: true, stall: 3 * time.Millisecond, every: 10 * time.Millisecond},
			[]instant{100 * ms, 104 * ms, 106 * ms, 116 * ms, 118 * ms, 125 * ms}, []instant{102 * ms, 106 * ms, 112 * ms, 122 * ms, 124 * ms, 127 * ms}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			line := timeline{behaviour: test.behaviour}
			for i, at := range test.came {
				if got := line.answer(at); got != test.answered[i] {
					t.Errorf("request %d at %v is answered at %v, want %v", i, time.Duration(at), time.Duration(got), time.Duration(test.answered[i]))
				}
			}
		})
	}
}
