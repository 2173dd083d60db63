package python

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

// openLoad is an open loop; without a rate it is as fast as the pool can.
func openLoad(requests, pool int, rate float64, arrivals string) scenarios.LoadSpec {
	return scenarios.LoadSpec{Requests: requests, Client: scenarios.ClientOpen, Pool: pool, Rate: rate, Arrivals: arrivals, KeepAlive: true}
}

// TestOpenLoopKeepsToTheSchedule: no request comes before its moment in the schedule,
// which both engines share, and requests keep coming while the server is slow.
func TestOpenLoopKeepsToTheSchedule(t *testing.T) {
	const n, seed = 40, 3
	c := local(t)
	for _, arrivals := range []string{scenarios.ArrivalsConstant, scenarios.ArrivalsPoisson} {
		t.Run(arrivals, func(t *testing.T) {
			var mu sync.Mutex
			var came []time.Time
			url, _ := serve(t, func(http.ResponseWriter, *http.Request) {
				mu.Lock()
				came = append(came, time.Now())
				mu.Unlock()
				time.Sleep(100 * time.Millisecond) // the server's own time: twenty gaps
			})
			l := openLoad(n, n, 200, arrivals)
			b := mustPrepare(t, c, load.Job{URL: url, Request: get("/"), Load: l, Seed: seed})
			fired := time.Now()
			r, err := b.Fire(t.Context())
			if err != nil || r.Replies != n {
				t.Fatalf("%d replies, %v, %v", r.Replies, r.FirstErrors, err)
			}
			// Sorted, the i-th that came is not before the i-th moment: requests
			// overtake each other on their way.
			slices.SortFunc(came, time.Time.Compare)
			for i, offset := range load.Offsets(l, seed) {
				if at := came[i].Sub(fired); at < offset {
					t.Errorf("request %d came %v after the gun, its moment is %v", i, at, offset)
				}
			}
			if r.InFlight < 10 {
				t.Errorf("at most %d requests were under way at once", r.InFlight)
			}
			if r.Service.Min() < 100*time.Millisecond || r.Latency.Min() < r.Service.Min() || r.Lateness.Count() != n || r.Little != 0 {
				t.Errorf("service from %v, latency from %v, lateness of %d, Little %v", r.Service.Min(), r.Latency.Min(), r.Lateness.Count(), r.Little)
			}
		})
	}
}

// TestOpenLoopFallsBehind: latency counts from the moment at which each request was
// due, and the batch is flagged.
func TestOpenLoopFallsBehind(t *testing.T) {
	const n = 20
	c := local(t)
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) { time.Sleep(50 * time.Millisecond) })
	r := mustFire(t, c, load.Job{URL: url, Request: get("/"), Load: openLoad(n, 1, 200, scenarios.ArrivalsConstant)})
	if r.Replies != n || r.InFlight != 1 || r.Late < n-1 || r.Connect.Count() != 1 {
		t.Errorf("%d replies, at most %d under way, %d late, %d connections", r.Replies, r.InFlight, r.Late, r.Connect.Count())
	}
	// The last one was due after 95 ms, and sent after 950 ms.
	if r.Lateness.Max() < 850*time.Millisecond || r.Latency.Max() < 900*time.Millisecond || r.Service.Min() < 50*time.Millisecond {
		t.Errorf("late by up to %v, latency up to %v, service from %v", r.Lateness.Max(), r.Latency.Max(), r.Service.Min())
	}
	if !slices.Contains(r.Flags, load.FlagClientLate) {
		t.Errorf("flags %v", r.Flags)
	}
}

// TestOpenLoopWithoutRate keeps as many requests under way as there may be.
func TestOpenLoopWithoutRate(t *testing.T) {
	const n, pool = 30, 6
	c := local(t)
	var mu sync.Mutex
	waiting, all := 0, make(chan struct{})
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		if waiting++; waiting == pool {
			close(all)
		}
		mu.Unlock()
		<-all // until the whole pool is under way
	})
	r := mustFire(t, c, load.Job{URL: url, Request: get("/"), Load: openLoad(n, pool, 0, "")})
	if r.Replies != n || r.InFlight != pool || r.Lateness != nil || r.Late != 0 || r.Service.Count() != n {
		t.Errorf("%d replies, at most %d under way, lateness %v, %d late", r.Replies, r.InFlight, r.Lateness, r.Late)
	}
}

// TestOpenLoopUsesFewConnections: the client that was used last is used next, so a
// server that keeps up sees no more connections than requests at once.
func TestOpenLoopUsesFewConnections(t *testing.T) {
	c := local(t)
	url, connections := serve(t, func(http.ResponseWriter, *http.Request) {})
	r := mustFire(t, c, load.Job{URL: url, Request: get("/"), Load: openLoad(30, scenarios.OpenPool, 100, scenarios.ArrivalsConstant)})
	// One more waits for the next moment, and a client is busy for a while after
	// its answer; without the rule each request would have a connection.
	if n := int(connections.Load()); r.Replies != 30 || n > 2*r.InFlight+4 {
		t.Errorf("%d replies over %d connections, at most %d under way", r.Replies, n, r.InFlight)
	}
}

// TestOpenLoopStops: a request that is not sent, after too many errors or because
// nothing works, is neither a reply nor an error.
func TestOpenLoopStops(t *testing.T) {
	c := local(t)
	var mu sync.Mutex
	n := 0
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		n++
		_, _ = w.Write([]byte(strconv.Itoa(n % 2))) // every second one is wrong
	})
	for name, change := range map[string]func(*load.Job){
		"max_errors": func(j *load.Job) {
			j.Request.Expect.Match, j.Request.MaxErrors = "0", &wire.ErrorLimit{Count: 3}
		},
		"nothing works": func(j *load.Job) { j.Request.Expect.Match, j.GiveUp = "x", 4 },
	} {
		t.Run(name, func(t *testing.T) {
			const pool = 4
			job := load.Job{URL: url, Request: get("/"), Load: openLoad(400, pool, 200, scenarios.ArrivalsConstant)}
			change(&job)
			r := mustFire(t, c, job)
			// Each client may have one answer unjudged and one request under way.
			if r.ErrorKinds[load.ErrMismatch] < 4 || r.Errors > 4+2*pool || r.Replies+r.Errors >= 400 {
				t.Errorf("%d replies, %d errors: %v", r.Replies, r.Errors, r.FirstErrors)
			}
		})
	}
}
