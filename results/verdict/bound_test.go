package verdict

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/scenarios"
)

// using is a record of ten seconds with so many requests at once, whose stack
// and client used so many cores.
func using(topology scenarios.Topology, atOnce int, stack, client float64) results.Record {
	const duration = 10.0
	spec := pooled(scenarios.ClientMT, atOnce, 10*atOnce)
	if atOnce == 1 {
		spec = single(10)
	}
	r := ok(topology, spec, 1, duration, 100)
	r.Latency = new(load.Latency)
	for range spec.Requests {
		r.Latency.Record(time.Second)
	}
	stack, client = stack*duration, client*duration
	r.CPU = results.CPU{Stack: &stack, Client: &client}
	switch topology.Server {
	case "flask":
		r.Stack = &results.Stack{Interpreters: 1}
	case "gunicorn":
		r.Stack = &results.Stack{Interpreters: topology.Workers, Slots: topology.Workers * topology.Threads}
	}
	return r
}

func withGPU(r results.Record, percent float64) results.Record {
	peak := int64(3 << 30)
	r.GPU = gpu.Usage{Validity: gpu.Valid, Peak: &peak, TelemetrySamples: 10, Devices: []gpu.DeviceUsage{{}}}
	if percent >= 0 {
		r.GPU.Devices[0].Activity.UtilizationMean = &percent
	}
	return r
}

func TestFindBound(t *testing.T) {
	ten := 10
	greenlets := using(gunicorn("gevent-w2-c10", false, 2, 1), 30, 0.02, 0.02)
	greenlets.Stack = &results.Stack{Interpreters: 2, Slots: 20, Concurrency: &ten}
	w1t1, w1t4, w4t1 := gunicorn("w1-t1", false, 1, 1), gunicorn("w1-t4", true, 1, 4), gunicorn("w4-t1", false, 4, 1)
	waitress := scenarios.Topology{Name: "waitress", Server: scenarios.ServerCommand, Threads: 4}
	limited := scenarios.Plan{Resources: scenarios.Resources{CPUs: 1}}
	ownLimit := w4t1
	ownLimit.CPUs = 1
	pinned := scenarios.Plan{Resources: scenarios.Resources{Cpuset: "0-1"}}
	flagged := func(r results.Record, flag string) results.Record {
		r.Flags = append(r.Flags, flag)
		return r
	}
	apart := using(w4t1, 8, 2.9, 0.4)
	apart.Load.Cores = []int{3}
	noDuration, noCPU := using(flask(), 4, 1, 0.1), using(flask(), 4, 1, 0.1)
	noDuration.Duration, noCPU.CPU = nil, results.CPU{}
	crowded := using(gunicorn("w2-t1", false, 2, 1), 4, 0.31, 0.02)
	machine := 19.3
	crowded.CPU.Machine = &machine
	for _, test := range []struct {
		name   string
		record results.Record
		plan   scenarios.Plan
		cores  int
		by     string
		why    string // that the sentence has
	}{
		{"all cores of the machine", using(w4t1, 8, 1.9, 0.05), scenarios.Plan{}, 2, boundCPU, "used 1.90 of 2 cores (the machine's)"},
		{"all of its limit", using(w4t1, 8, 0.97, 0.05), limited, 8, boundCPU, "used 0.97 of 1 cores (resources.cpus)"},
		{"all of the topology's own limit", using(ownLimit, 8, 0.97, 0.05), scenarios.Plan{}, 8, boundCPU, "used 0.97 of 1 cores (resources.cpus)"},
		{"all of its cpuset", using(w4t1, 8, 1.8, 0.05), pinned, 8, boundCPU, "of 2 cores (resources.cpuset)"},
		{"all that the client left", apart, scenarios.Plan{}, 4, boundCPU, "used 2.90 of 3 cores (those that the client left)"},
		{"together with the client", using(w4t1, 8, 1.1, 0.8), scenarios.Plan{}, 2, boundCPU, "the stack used 1.10 and the client 0.80"},
		{"the client takes more of what they share", using(w4t1, 8, 0.8, 1.1), scenarios.Plan{}, 2, boundClient, "the client used 1.10 and the stack 0.80"},
		{"one request at a time that computes", using(w4t1, 1, 0.95, 0.01), scenarios.Plan{}, 8, boundCPU, "a faster core would help"},
		{"one interpreter", using(w1t4, 4, 1.02, 0.05), scenarios.Plan{}, 4, boundWorkers, "1 worker kept 1.02 of 4 cores busy"},
		{"flask's one interpreter", using(flask(), 4, 1.02, 0.05), scenarios.Plan{}, 4, boundWorkers, "1 worker kept"},
		{"more cores than interpreters: libraries compute", using(w1t4, 4, 2.4, 0.05), scenarios.Plan{}, 4, boundUnclear, "used 2.40 of 4 cores"},
		{"they wait, and there are too few", using(w1t1, 10, 0.02, 0.02), scenarios.Plan{}, 2, boundWorkers, "10.0 requests at once waited for 1 worker thread (1 × 1)"},
		{"two that compute, on a machine that others use", using(gunicorn("w2-t1", false, 2, 1), 4, 0.52, 0.02), scenarios.Plan{}, 2, boundUnclear, "used 0.52 of 2 cores"},
		{"they seem to wait, on a machine that others use", crowded, scenarios.Plan{}, 2, boundUnclear, "other programs kept 1.60 of the machine's 2 cores busy, and the stack had 0.31"},
		{"they wait, and there are enough", using(w1t4, 4, 0.02, 0.02), scenarios.Plan{}, 2, boundUnclear, "4.0 requests at once for 4 worker threads"},
		{"they wait in greenlets", greenlets, scenarios.Plan{}, 2, boundWorkers, "30.0 requests at once waited for 20 request slots (2 × 10)"},
		{"flask has no such limit", using(flask(), 10, 0.02, 0.02), scenarios.Plan{}, 2, boundUnclear, "10.0 requests at once"},
		{"nor a command, as far as is known", using(waitress, 10, 0.02, 0.02), scenarios.Plan{}, 2, boundUnclear, "10.0 requests at once"},
		{"the GPU", withGPU(using(w1t4, 4, 0.9, 0.05), 93), scenarios.Plan{}, 8, boundGPU, "busy for 93% of the time"},
		{"a GPU half busy, and too few workers", withGPU(using(w1t1, 10, 0.1, 0.05), 60), scenarios.Plan{}, 8, boundUnclear, "the GPU was busy for 60%"},
		{"a GPU that idles, and too few workers", withGPU(using(w1t1, 10, 0.1, 0.05), 12), scenarios.Plan{}, 8, boundWorkers, "and the GPU 12% of the time"},
		{"a GPU of which nothing is known", withGPU(using(w1t1, 10, 0.1, 0.05), -1), scenarios.Plan{}, 8, boundUnclear, "is not known"},
		{"the client says so itself", flagged(using(flask(), 10, 0.5, 0.9), load.FlagClientBound), scenarios.Plan{}, 8, boundClient, "0.90 cores"},
		{"the client was late", flagged(using(flask(), 10, 0.5, 0.9), load.FlagClientLate), scenarios.Plan{}, 8, boundClient, "fell behind"},
		{"no duration", noDuration, scenarios.Plan{}, 2, boundUnclear, "no duration"},
		{"no CPU", noCPU, scenarios.Plan{}, 2, boundUnclear, "not measured"},
		{"an unknown machine", using(w4t1, 8, 1.9, 0.05), scenarios.Plan{}, 0, boundUnclear, "used 1.90 cores"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := findBound(test.record, nil, test.plan, results.Host{Cores: test.cores})
			if got.By != test.by || !strings.Contains(got.Why, test.why) {
				t.Errorf("%s: %s; want %s: …%s…", got.By, got.Why, test.by, test.why)
			}
		})
	}
	t.Run("repeats that disagree", func(t *testing.T) {
		a, b := using(w4t1, 8, 1.9, 0.05), using(w4t1, 8, 1.0, 0.05)
		b.Cell.Repeat = 2
		host := results.Host{Cores: 2}
		summary := Summarise([]results.Record{a, b})[0]
		if got := BoundOf(summary, scenarios.Plan{}, host); got.By != boundUnclear || !strings.Contains(got.Why, "disagree") {
			t.Errorf("%+v", got)
		}
		summary = Summarise(slices.Concat([]results.Record{a}))[0]
		if got := BoundOf(summary, scenarios.Plan{}, host); got.By != boundCPU {
			t.Errorf("%+v", got)
		}
	})
}

// TestAttackBound: saturated is what has more offered than it serves and does not
// idle, and what was not seen for long enough is not known.
func TestAttackBound(t *testing.T) {
	w1t1 := gunicorn("w1-t1", false, 1, 1)
	open := func(stack, rate float64) results.Record {
		r := using(w1t1, 1, stack, 0.01)
		r.Cell.Load = scenarios.LoadSpec{Client: scenarios.ClientOpen, Requests: 100, Pool: 100, Rate: rate}
		r.Replies, r.Latency = 100, new(load.Latency)
		for range 100 {
			r.Latency.Record(5 * time.Millisecond)
		}
		return r
	}
	known := func(r results.Record, machine float64) results.Record {
		machine *= *r.Duration
		r.CPU.Machine = &machine
		return r
	}
	brief := withGPU(using(w1t1, 10, 0.95, 0.01), 0)
	brief.GPU.TelemetrySamples = 2
	busy := withGPU(using(w1t1, 10, 0.3, 0.01), 100)
	busy.GPU.TelemetrySamples = 4
	for _, test := range []struct {
		name   string
		record results.Record
		by     string
		why    string
	}{
		{"an open loop that uses 5% of a core", open(0.05, 10), boundRate, "10 of 10 requests that were offered each second were answered"},
		{"an open loop that is not served, and is idle", open(0.05, 100), boundUnclear, "used 0.05 of 8 cores"},
		{"one request on four of eight cores", using(w1t1, 1, 4, 0.01), boundUnclear, "used 4.00 of 8 cores"},
		{"a CPU that spins beside a GPU at 75%", withGPU(using(w1t1, 1, 1, 0.01), 75), boundUnclear, "busy for 75%"},
		{"and beside one of which nothing is known", withGPU(using(w1t1, 1, 1, 0.01), -1), boundUnclear, "is not known"},
		{"a GPU seen too seldom does not idle", brief, boundUnclear, "is not known"},
		{"nor is it busy", busy, boundUnclear, "is not known"},
		{"a worker at a quarter of a core under ten clients", known(using(w1t1, 10, 0.25, 0.02), 0.3), boundWorkers, "waited for 1 worker thread"},
		{"and at half of one", known(using(w1t1, 10, 0.5, 0.02), 0.6), boundWorkers, "waited for 1 worker thread"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := findBound(test.record, nil, scenarios.Plan{}, results.Host{Cores: 8}); got.By != test.by || !strings.Contains(got.Why, test.why) {
				t.Errorf("%s: %s; want %s: …%s…", got.By, got.Why, test.by, test.why)
			}
		})
	}
}

// TestBoundBesideOneClientAlone: what an app works on at a time shows in how much
// faster many clients are answered than one.
func TestBoundBesideOneClientAlone(t *testing.T) {
	uvicorn := scenarios.Topology{Name: "uvicorn-w1", Server: scenarios.ServerCommand}
	// using answers ten requests of each client in ten seconds.
	const clients = 10
	for _, test := range []struct {
		name   string
		record results.Record
		alone  float64 // replies per second of one client
		cores  int
		by     string
		why    string
	}{
		{"an event loop that waits in its app", using(uvicorn, clients, 0.1, 0.02), 9.9, 2, boundWorkers, "10.0 requests at once were answered one at a time, 1.01 times as fast as those of one client alone, while the stack used 0.10 of 2 cores"},
		{"and one that computes", using(uvicorn, clients, 1, 0.02), 9.9, 2, boundWorkers, "one at a time"},
		{"on many cores", using(uvicorn, clients, 1, 0.02), 9.9, 64, boundWorkers, "one at a time"},
		{"of Python alone", using(flask(), clients, 1, 0.02), 9.9, 8, boundWorkers, "one at a time, 1.01 times as fast as those of one client alone, and 1 worker kept 1.00 of 8 cores busy"},
		{"on all cores", using(uvicorn, clients, 1.9, 0.02), 9.9, 2, boundCPU, "used 1.90 of 2 cores"},
		{"on a GPU", withGPU(using(uvicorn, clients, 0.3, 0.02), 20), 9.9, 8, boundWorkers, "used 0.30 of 8 cores and the GPU 20% of the time"},
		{"on a GPU that is busy", withGPU(using(uvicorn, clients, 0.3, 0.02), 60), 9.9, 8, boundUnclear, "busy for 60%"},
		{"a lock behind threads", using(gunicorn("w1-t4", false, 1, 4), clients, 0.1, 0.02), 9.9, 2, boundWorkers, "one at a time"},
		{"one thread", using(gunicorn("w1-t1", false, 1, 1), clients, 0.1, 0.02), 9.9, 2, boundWorkers, "10.0 requests at once waited for 1 worker thread"},
		{"a pool of four threads", using(uvicorn, clients, 0.1, 0.02), 2.5, 2, boundWorkers, "were answered 4.0 times as fast as those of one client alone: as if the app worked on so many at a time, while"},
		{"one that computes in part", using(uvicorn, clients, 1.2, 0.02), 2.5, 2, boundUnclear, "used 1.20 of 2 cores"},
		{"a pool for all of them", using(uvicorn, clients, 0.1, 0.02), 1.02, 2, boundPool, "9.80 times as fast"},
		{"threads for all of them", using(gunicorn("w1-t16", false, 1, 16), clients, 0.1, 0.02), 1.02, 2, boundPool, "more clients may get more"},
		{"threads for all of them that compute", using(gunicorn("w1-t16", false, 1, 16), clients, 7.9, 0.02), 1.02, 8, boundCPU, "used 7.90 of 8 cores"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := findBound(test.record, &test.alone, scenarios.Plan{}, results.Host{Cores: test.cores})
			if got.By != test.by || !strings.Contains(got.Why, test.why) {
				t.Errorf("%s: %s; want %s: …%s…", got.By, got.Why, test.by, test.why)
			}
		})
	}
}

// TestAlone: the cell of one client is looked for among those of the same topology,
// and with the same number of requests if there is one.
func TestAlone(t *testing.T) {
	kept := pooled(scenarios.ClientMT, 4, 20)
	kept.KeepAlive = true
	failed := ok(gunicorn("w2-t1", false, 2, 1), single(10), 1, 1, 100)
	failed.Errors = 1
	got := map[string]float64{}
	for _, s := range Summarise([]results.Record{
		ok(flask(), single(10), 1, 10, 100), ok(flask(), single(20), 1, 4, 100),
		ok(flask(), pooled(scenarios.ClientMT, 4, 10), 1, 3, 100), ok(flask(), pooled(scenarios.ClientMP, 4, 20), 1, 3, 100),
		ok(flask(), pooled(scenarios.ClientMT, 4, 30), 1, 3, 100), ok(flask(), kept, 1, 3, 100),
		failed, ok(gunicorn("w2-t1", false, 2, 1), pooled(scenarios.ClientMT, 4, 10), 1, 3, 100),
	}) {
		if s.Alone != nil {
			got[s.Name()] = *s.Alone
		}
	}
	if want := map[string]float64{"flask/mt4/n10": 1, "flask/mp4/n20": 5, "flask/mt4/n30": 1}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
