//go:build linux

package native

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// How the latency of each behaviour is measured: by ten clients in a closed
// loop, and in an open loop at a rate.
const (
	truthClients = 10
	truthRate    = 200
	truthRounds  = 3 // of which the median is taken
	heyModule    = "github.com/rakyll/hey@v0.1.4"
)

// A truthCase is a behaviour of a server, how long it is measured, and which
// percentiles are compared: those that do not depend on a single request.
type truthCase struct {
	name string
	behaviour
	seconds     int
	percentiles []float64
}

var truthCases = []truthCase{
	{"constant-20ms", behaviour{delay: 20 * time.Millisecond}, 5, []float64{50, 90, 99}},
	{"1%-at-500ms", behaviour{delay: 20 * time.Millisecond, slow: 500 * time.Millisecond, slowEvery: 100}, 10, []float64{50, 90, 99.5}},
	{"stall-1s-in-5s", behaviour{delay: 2 * time.Millisecond, serial: true, stall: time.Second, every: 5 * time.Second}, 15, []float64{50, 90, 99}},
}

// BenchmarkLatency measures the latency of servers that delay by a known schedule, with
// this client, wrk and hey. The row called truth follows from the schedule alone. In
// the open loop 200 requests come in a second, whatever the server does, and the truth
// counts from the moment at which each came. wrk has no such mode, and hey's (-q) waits
// for answers. It shows the medians of three rounds, since a virtual machine loses its
// cores now and then. It takes about eight minutes on a machine that has two cores and
// does nothing else:
//
//	apt-get install wrk
//	go test ./orchestrator/load/native -run '^$' -bench '^BenchmarkLatency$' -benchtime 1x
//
// The server never sleeps, so that it is punctual: at a real-time priority the kernel
// would throttle it. hey is built in a folder of its own, from the Go module proxy.
//
// off-schedule is how far the worst percentile is from the truth. off-log is how far it
// is from the server's log of the same run, which knows what else the machine did
// meanwhile. Both are in units of 1% or 200 µs, whichever is more. This client should
// show at most 1.
func BenchmarkLatency(b *testing.B) {
	wrk, hey := needed(b, "wrk", "wrk"), buildHey(b)
	for _, c := range truthCases {
		closed, open := c.closedTruth(), c.openTruth()
		for _, run := range []struct {
			name  string
			truth []time.Duration
			do    func(*testing.B, *truthServer) []time.Duration
		}{
			{"closed/truth", closed, nil},
			{"closed/stackmeter", closed, c.closed},
			{"closed/wrk", closed, func(b *testing.B, s *truthServer) []time.Duration { return c.wrk(b, wrk, s) }},
			{"closed/hey", closed, func(b *testing.B, s *truthServer) []time.Duration { return c.hey(b, hey, s) }},
			{"open200/truth", open, nil},
			{"open200/stackmeter", open, c.open},
			{"open200/hey", open, func(b *testing.B, s *truthServer) []time.Duration {
				return c.hey(b, hey, s, "-q", strconv.Itoa(truthRate/truthClients))
			}},
		} {
			b.Run(c.name+"/"+run.name, func(b *testing.B) {
				b.ReportMetric(0, "ns/op") // says nothing here
				truth := c.pick(run.truth)
				if run.do == nil {
					c.report(b, truth)
					return
				}
				scheduled := strings.HasPrefix(run.name, "open")
				for range b.N {
					var rounds [truthRounds][]time.Duration
					var offSchedule, offLog []float64
					for i := range rounds {
						s := startTruth(b, c.behaviour)
						rounds[i] = run.do(b, s)
						s.stop() // it takes its core whole
						offSchedule = append(offSchedule, worst(rounds[i], truth))
						offLog = append(offLog, worst(rounds[i], c.pick(s.truth(scheduled))))
					}
					c.report(b, medians(rounds[:]))
					b.ReportMetric(median(offSchedule), "off-schedule")
					b.ReportMetric(median(offLog), "off-log")
				}
			})
		}
	}
}

func (c truthCase) pick(samples []time.Duration) []time.Duration {
	var picked []time.Duration
	for _, p := range c.percentiles {
		picked = append(picked, nearestRank(samples, p))
	}
	return picked
}

// medians are the medians of each percentile over the rounds.
func medians(rounds [][]time.Duration) []time.Duration {
	var all []time.Duration
	for i := range rounds[0] {
		var of []time.Duration
		for _, round := range rounds {
			of = append(of, round[i])
		}
		all = append(all, median(of))
	}
	return all
}

// median is the middle one of an odd number of values.
func median[T cmp.Ordered](values []T) T { return slices.Sorted(slices.Values(values))[len(values)/2] }

func (c truthCase) report(b *testing.B, latency []time.Duration) {
	for i, p := range c.percentiles {
		b.ReportMetric(latency[i].Seconds()*1e3, fmt.Sprintf("p%v-ms", p))
	}
}

// worst is how far the worst latency is from the truth, in units of what is allowed.
func worst(got, truth []time.Duration) float64 {
	worst := 0.0
	for i := range got {
		allowed := max(float64(truth[i])*0.01, float64(200*time.Microsecond))
		worst = max(worst, math.Abs(float64(got[i]-truth[i]))/allowed)
	}
	return worst
}

// truth is the latencies by the server's log: from when each request came, or, in an
// open loop, from when it should have come, by the most punctual one.
func (s *truthServer) truth(open bool) []time.Duration {
	log := s.all()
	slices.SortFunc(log, func(a, b served) int { return cmp.Compare(a.begin, b.begin) })
	offsets := load.Offsets(openLoad(len(log), 1, truthRate), 0)
	var truth []time.Duration
	base := instant(math.MaxInt64)
	for i, request := range log {
		base = min(base, request.begin-instant(offsets[i]))
	}
	for i, request := range log {
		from := request.begin
		if open {
			from = base + instant(offsets[i])
		}
		truth = append(truth, request.answered.sub(from))
	}
	return truth
}

// requests is how many are sent in an open loop.
func (c truthCase) requests() int { return truthRate * c.seconds }

// openTruth is the latency of requests that come at a constant rate, from the schedule
// alone.
func (c truthCase) openTruth() []time.Duration {
	line := timeline{behaviour: c.behaviour}
	var truth []time.Duration
	for _, at := range load.Offsets(openLoad(c.requests(), 1, truthRate), 0) {
		truth = append(truth, line.answer(instant(at)).sub(instant(at)))
	}
	return truth
}

// closedTruth is the latency of clients that send a request when they have the answer
// to the one before, from the schedule alone.
func (c truthCase) closedTruth() []time.Duration {
	line := timeline{behaviour: c.behaviour}
	var truth []time.Duration
	next := make([]instant, truthClients) // when each client sends
	for {
		first := slices.Index(next, slices.Min(next))
		at := next[first]
		if at >= instant(c.seconds)*instant(time.Second) {
			return truth
		}
		next[first] = line.answer(at)
		truth = append(truth, next[first].sub(at))
	}
}

// closed is this client's closed loop, with as many requests as fit into the
// time.
func (c truthCase) closed(b *testing.B, s *truthServer) []time.Duration {
	return c.stackmeter(b, s, scenarios.LoadSpec{
		Requests: len(c.closedTruth()), Client: scenarios.ClientMT, Pool: truthClients, KeepAlive: true,
	})
}

func (c truthCase) open(b *testing.B, s *truthServer) []time.Duration {
	return c.stackmeter(b, s, scenarios.LoadSpec{
		Requests: c.requests(), Client: scenarios.ClientOpen, Pool: scenarios.OpenPool, KeepAlive: true,
		Rate: truthRate, Arrivals: scenarios.ArrivalsConstant,
	})
}

func (c truthCase) stackmeter(b *testing.B, s *truthServer, l scenarios.LoadSpec) []time.Duration {
	r := mustFire(b, &Client{}, load.Job{URL: s.url, Request: get("/"), Load: l, Cores: []int{clientCore}})
	if r.Errors > 0 {
		b.Fatalf("errors: %v", r.FirstErrors)
	}
	var got []time.Duration
	for _, p := range c.percentiles {
		got = append(got, r.Latency.Percentile(p))
	}
	return got
}

var luaPercentile = regexp.MustCompile(`(?m)^us (\d+)`)

func (c truthCase) wrk(b *testing.B, wrk string, s *truthServer) []time.Duration {
	script := "done = function(summary, latency)\n"
	for _, p := range c.percentiles {
		script += fmt.Sprintf("  print(string.format('us %%d', latency:percentile(%v)))\n", p)
	}
	file := filepath.Join(b.TempDir(), "wrk.lua")
	if err := os.WriteFile(file, []byte(script+"end\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	out, err := exec.Command("taskset", "-c", strconv.Itoa(clientCore), wrk, "-t1", "-c"+strconv.Itoa(truthClients), fmt.Sprintf("-d%ds", c.seconds), "-s", file, s.url).CombinedOutput()
	lines := luaPercentile.FindAllSubmatch(out, -1)
	if err != nil || len(lines) != len(c.percentiles) {
		b.Fatalf("wrk: %v\n%s", err, out)
	}
	var got []time.Duration
	for _, line := range lines {
		us, _ := strconv.Atoi(string(line[1]))
		got = append(got, time.Duration(us)*time.Microsecond)
	}
	return got
}

func buildHey(b *testing.B) string {
	b.Helper()
	folder := b.TempDir()
	cmd := exec.Command("go", "install", heyModule)
	cmd.Dir = folder // outside of any module
	cmd.Env = append(os.Environ(), "GOBIN="+folder, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Skipf("hey cannot be built: %v\n%s", err, out)
	}
	return filepath.Join(folder, "hey")
}

// hey gives percentiles of hey's own samples.
func (c truthCase) hey(b *testing.B, hey string, s *truthServer, options ...string) []time.Duration {
	argv := append([]string{"-c", strconv.Itoa(clientCore), hey, "-c", strconv.Itoa(truthClients), "-z", fmt.Sprintf("%ds", c.seconds), "-o", "csv"}, options...)
	out, err := exec.Command("taskset", append(argv, s.url)...).Output()
	if err != nil {
		b.Fatalf("hey: %v\n%s", err, out)
	}
	rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil || len(rows) < 2 || rows[0][0] != "response-time" {
		b.Fatalf("hey's answer is not understood: %v\n%.300s", err, out)
	}
	var samples []time.Duration
	for _, row := range rows[1:] {
		seconds, err := strconv.ParseFloat(row[0], 64)
		if err != nil {
			b.Fatal(err)
		}
		samples = append(samples, time.Duration(seconds*float64(time.Second)))
	}
	var got []time.Duration
	for _, p := range c.percentiles {
		got = append(got, nearestRank(samples, p))
	}
	return got
}
