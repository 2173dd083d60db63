//go:build linux

package native

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// exponentialDistance is the Kolmogorov–Smirnov statistic of gaps against the
// exponential distribution with a mean, in units of its critical value at the 1% level
// (1.628/√n, for n above 35: Stephens 1974, table 1). Above 1 the gaps are not
// exponential.
func exponentialDistance(gaps []time.Duration, mean time.Duration) float64 {
	sorted := slices.Sorted(slices.Values(gaps))
	n := float64(len(sorted))
	distance := 0.0
	for i, gap := range sorted {
		want := 1 - math.Exp(-float64(gap)/float64(mean))
		distance = max(distance, want-float64(i)/n, float64(i+1)/n-want)
	}
	return distance * math.Sqrt(n) / 1.628
}

func gapsOf(moments []time.Duration) []time.Duration {
	var gaps []time.Duration
	before := time.Duration(0)
	for _, at := range moments {
		gaps = append(gaps, at-before)
		before = at
	}
	return gaps
}

// The gaps of a Poisson schedule are exponential, at every rate.
func TestPoissonGaps(t *testing.T) {
	for _, rate := range []float64{0.5, 10, 100, 1000, 50_000} {
		mean := time.Duration(float64(time.Second) / rate)
		passed := 0
		const seeds = 20
		for seed := range uint64(seeds) {
			l := scenarios.LoadSpec{Requests: 2000, Rate: rate, Arrivals: scenarios.ArrivalsPoisson}
			if exponentialDistance(gapsOf(load.Offsets(l, seed)), mean) <= 1 {
				passed++
			}
		}
		// At the 1% level one of a hundred fails although all is well.
		if passed < seeds-1 {
			t.Errorf("%v/s: the gaps of %d of %d seeds are exponential", rate, passed, seeds)
		}
	}
	even := load.Offsets(openLoad(2000, 1, 100), 0)
	if d := exponentialDistance(gapsOf(even[1:]), 10*time.Millisecond); d <= 1 {
		t.Errorf("equal gaps pass for exponential ones (%v): the test cannot fail", d)
	}
}

// openLoad is an open loop for tests.
func openLoad(requests, pool int, rate float64) scenarios.LoadSpec {
	l := scenarios.LoadSpec{Requests: requests, Client: scenarios.ClientOpen, Pool: pool, Rate: rate}
	if rate > 0 {
		l.Arrivals = scenarios.ArrivalsConstant
	}
	return l
}

// No request of an open loop comes before its moment, and requests keep coming while
// the server is slow.
func TestOpenLoop(t *testing.T) {
	const n = 60
	s := startTruth(t, behaviour{delay: 100 * time.Millisecond})
	b, err := (&Client{}).prepareBatch(t.Context(), load.Job{URL: s.url, Request: numbered(t, n), Load: openLoad(n, n, 200)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := b.Fire(t.Context())
	if err != nil || r.Replies != n {
		t.Fatalf("%d replies, errors %v, %v", r.Replies, r.FirstErrors, err)
	}
	begin := instant(b.arena.signals.gun.Load())
	for _, request := range s.all() {
		if due := begin + instant(request.id)*5*instant(time.Millisecond); request.begin < due {
			t.Errorf("request %d came %v before its moment", request.id, due.sub(request.begin))
		}
	}
	// Each answer takes the time of twenty gaps.
	if r.InFlight < 15 {
		t.Errorf("at most %d requests were under way at once", r.InFlight)
	}
	if r.Lateness.Count() != n || r.Service.Count() != n || r.Service.Min() < 100*time.Millisecond || r.Little != 0 {
		t.Errorf("lateness of %d, service of %d from %v, Little %v", r.Lateness.Count(), r.Service.Count(), r.Service.Min(), r.Little)
	}
}

// If all clients are busy, a request is sent late. Its latency counts from its moment,
// and the batch is flagged.
func TestOpenLoopFallsBehind(t *testing.T) {
	const n = 20
	s := startTruth(t, behaviour{delay: 50 * time.Millisecond})
	r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: get("/"), Load: openLoad(n, 1, 200)})
	if r.Replies != n || r.InFlight != 1 || r.Late < n-1 {
		t.Errorf("%d replies, at most %d under way, %d late", r.Replies, r.InFlight, r.Late)
	}
	// The last one was due after 95 ms, and sent after 950 ms.
	if r.Lateness.Max() < 850*time.Millisecond || r.Latency.Max() < 900*time.Millisecond || r.Service.Min() < 50*time.Millisecond {
		t.Errorf("late by up to %v, latency up to %v, service from %v", r.Lateness.Max(), r.Latency.Max(), r.Service.Min())
	}
	if !slices.Contains(r.Flags, load.FlagClientLate) {
		t.Errorf("flags %v", r.Flags)
	}
}

// rate: max keeps as many requests under way as there may be.
func TestOpenLoopWithoutRate(t *testing.T) {
	const n, pool = 60, 12
	s := startTruth(t, behaviour{delay: 20 * time.Millisecond})
	r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: get("/"), Load: openLoad(n, pool, 0)})
	if r.Replies != n || r.InFlight != pool || r.Lateness != nil || r.Late != 0 {
		t.Errorf("%d replies, at most %d under way, lateness %v, %d late", r.Replies, r.InFlight, r.Lateness, r.Late)
	}
	if slices.Contains(r.Flags, load.FlagClientLate) {
		t.Errorf("flags %v", r.Flags)
	}
}

// BenchmarkSendTimes is how near to their moments an open loop's requests are sent, and
// whether the gaps between their arrivals at the server are those of a Poisson process.
// ks is exponentialDistance: up to 1 they are. It takes a minute on a machine that does
// nothing else:
//
//	go test ./orchestrator/load/native -run '^$' -bench '^BenchmarkSendTimes$' -benchtime 1x
//
// What it should show: at 200 per second the 99th percentile of lateness below
// a millisecond, and ks up to 1 at every rate.
func BenchmarkSendTimes(b *testing.B) {
	for _, c := range []struct {
		arrivals string
		rate     float64
		requests int
	}{
		{scenarios.ArrivalsConstant, 200, 2000},
		{scenarios.ArrivalsPoisson, 10, 100},
		{scenarios.ArrivalsPoisson, 100, 1000},
		{scenarios.ArrivalsPoisson, 200, 2000},
		{scenarios.ArrivalsPoisson, 1000, 10_000},
	} {
		b.Run(fmt.Sprintf("%s/%v", c.arrivals, c.rate), func(b *testing.B) {
			for range b.N {
				s := startTruth(b, behaviour{delay: 2 * time.Millisecond})
				l := openLoad(c.requests, scenarios.OpenPool, c.rate)
				l.Arrivals, l.KeepAlive = c.arrivals, true
				r := mustFire(b, &Client{}, load.Job{URL: s.url, Request: get("/"), Load: l, Cores: []int{clientCore}, Seed: 1})
				b.ReportMetric(0, "ns/op") // says nothing here
				b.ReportMetric(float64(r.Lateness.Percentile(50).Microseconds()), "late-p50-µs")
				b.ReportMetric(float64(r.Lateness.Percentile(99).Microseconds()), "late-p99-µs")
				b.ReportMetric(float64(r.Lateness.Max().Microseconds()), "late-max-µs")
				if c.arrivals != scenarios.ArrivalsPoisson {
					continue
				}
				var came []time.Duration
				for _, request := range s.all() {
					came = append(came, time.Duration(request.begin))
				}
				slices.Sort(came)
				gaps := gapsOf(came)[1:] // the first is counted from the machine's start
				b.ReportMetric(exponentialDistance(gaps, time.Duration(float64(time.Second)/c.rate)), "ks")
			}
		})
	}
}

// The timer is set earlier by as much as it came late, within a limit.
func TestEarliness(t *testing.T) {
	const us = instant(time.Microsecond)
	for rate, most := range map[float64]instant{0: 250 * us, 20: 250 * us, 1000: 50 * us, 50_000: us} {
		if got := newEarliness(rate); got.most != most || got.by != most {
			t.Errorf("at %v/s %+v, want %v at first and at most", rate, got, most)
		}
	}
	e := newEarliness(20)
	for range 500 {
		e.learn(10 * us)
	}
	if e.by < 10*us || e.by > 12*us {
		t.Errorf("%v after many that came 10 µs late", time.Duration(e.by))
	}
	e.learn(120 * us)
	if e.by != 120*us {
		t.Errorf("%v after one that came 120 µs late", time.Duration(e.by))
	}
	e.learn(10 * us)
	if e.by < 100*us {
		t.Errorf("%v: what was needed is forgotten at once", time.Duration(e.by))
	}
	e.learn(instant(time.Second))
	if e.by != e.most {
		t.Errorf("%v after one that came a second late, want %v", time.Duration(e.by), time.Duration(e.most))
	}
}

// A timer that comes early does not stop an open loop.
func TestTimerThatComesEarly(t *testing.T) {
	a, err := newArena(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if err := errors.Join(a.add("", 10, strings.NewReader("xxxxxxxxxx")), a.mapRequests()); err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(task{
		Job: load.Job{Load: openLoad(2, 1, 20)}, Socket: "/nobody", Clients: 1, Last: 2, Processes: 1, Requests: a.spans,
	}, a)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, e.poller.epoll, e.poller.timer, e.poller.wakeup, e.arrivals.stamping)
	e.next, e.base = 1, e.clock.now() // the second request is due in 50 ms
	if err := e.dispatch(); err != nil {
		t.Fatal(err)
	}
	if err := e.poller.arm(1); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the early one, then the right one
		n, err := e.poller.wait(10*time.Second, false)
		if err != nil || n != 1 || e.poller.events[0].Fd != tokenTimer {
			t.Fatalf("%d events, %v; want the timer's", n, err)
		}
		if e.clock.now() >= e.due(1) {
			return
		}
		if err := e.handle(&e.poller.events[0]); err != nil {
			t.Fatal(err)
		}
	}
}
