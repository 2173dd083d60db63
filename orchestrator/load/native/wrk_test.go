//go:build linux

package native

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/wire"
)

// BenchmarkWrk runs this client and wrk in turn against the same nginx. The server and
// the client each have a core of their own. For each case it reports both clients'
// requests per second and CPU time per request, with their ratios, and the ratios'
// geometric means. The client's deadlines, histograms and checks of answers are on. It
// takes about four minutes on a machine that has two cores and does nothing else:
//
//	apt-get install wrk nginx-light
//	go test ./orchestrator/load/native -run '^$' -bench '^BenchmarkWrk$' -benchtime 1x
//
// What it should show: requests per second at least 0.9 of wrk's and CPU per
// request at most 1.25 of wrk's as geometric means over the twelve cases, and
// none of them below 0.7 or above 1.6.
func BenchmarkWrk(b *testing.B) {
	wrk := needed(b, "wrk", "wrk")
	address := startNginx(b)
	var rates, costs []float64
	for _, c := range wrkCases() {
		b.Run(c.name(), func(b *testing.B) {
			for range b.N {
				reference, ours := c.measure(b, wrk, address)
				b.ReportMetric(reference.rate, "wrk-rps")
				b.ReportMetric(ours.rate, "rps")
				b.ReportMetric(reference.cpu*1e6, "wrk-µs/request")
				b.ReportMetric(ours.cpu*1e6, "µs/request")
				b.ReportMetric(ours.rate/reference.rate, "rps-ratio")
				b.ReportMetric(ours.cpu/reference.cpu, "cpu-ratio")
				b.ReportMetric(0, "ns/op") // says nothing here
				rates = append(rates, ours.rate/reference.rate)
				costs = append(costs, ours.cpu/reference.cpu)
			}
		})
	}
	if len(rates) == 0 {
		return
	}
	b.Run(fmt.Sprintf("mean-of-%d", len(rates)), func(b *testing.B) {
		b.ReportMetric(geometricMean(rates), "rps-ratio")
		b.ReportMetric(geometricMean(costs), "cpu-ratio")
		b.ReportMetric(0, "ns/op")
	})
}

func geometricMean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += math.Log(v)
	}
	return math.Exp(sum / float64(len(values)))
}

// A wrkCase is one cell of the comparison.
type wrkCase struct {
	post      bool // 100 KB; otherwise a GET
	pool      int
	keepAlive bool
}

func wrkCases() []wrkCase {
	var cases []wrkCase
	for _, post := range []bool{true, false} {
		for _, keepAlive := range []bool{true, false} {
			for _, pool := range []int{1, 10, 50} {
				cases = append(cases, wrkCase{post, pool, keepAlive})
			}
		}
	}
	return cases
}

func (c wrkCase) name() string {
	method, connections := "GET", "new"
	if c.post {
		method = "POST100K"
	}
	if c.keepAlive {
		connections = "keepalive"
	}
	return fmt.Sprintf("%s/%s/%d", method, connections, c.pool)
}

// A cost is what one client did in one case.
type cost struct {
	rate float64 // requests per second
	cpu  float64 // of the client, seconds per request
}

// How long and how often each client is measured.
const (
	wrkSeconds = 2 // wrk takes whole ones
	wrkRounds  = 3
)

// measure runs both clients in turn and gives the medians.
func (c wrkCase) measure(b *testing.B, wrk, address string) (reference, ours cost) {
	var references, own []cost
	for range wrkRounds {
		r := c.runWrk(b, wrk, address)
		references = append(references, r)
		own = append(own, c.runOurs(b, address, int(r.rate*wrkSeconds)))
	}
	return medianCost(references), medianCost(own)
}

func medianCost(costs []cost) cost {
	pick := func(of func(cost) float64) float64 {
		var values []float64
		for _, c := range costs {
			values = append(values, of(c))
		}
		return median(values)
	}
	return cost{pick(func(c cost) float64 { return c.rate }), pick(func(c cost) float64 { return c.cpu })}
}

// postBody is the size of a POST's body.
const postBody = 100 << 10

var (
	wrkRequests = regexp.MustCompile(`(\d+) requests in `)
	wrkRate     = regexp.MustCompile(`Requests/sec:\s*([\d.]+)`)
)

func (c wrkCase) runWrk(b *testing.B, wrk, address string) cost {
	b.Helper()
	var script strings.Builder
	if c.post {
		fmt.Fprintf(&script, "wrk.method = 'POST'\nwrk.body = string.rep('x', %d)\nwrk.headers['Content-Type'] = 'application/octet-stream'\n", postBody)
	}
	if !c.keepAlive {
		script.WriteString("wrk.headers['Connection'] = 'close'\n")
	}
	file := filepath.Join(b.TempDir(), "wrk.lua")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command("taskset", "-c", strconv.Itoa(clientCore), wrk, "-t1", "-c"+strconv.Itoa(c.pool),
		fmt.Sprintf("-d%ds", wrkSeconds), "-s", file, "http://"+address+"/")
	out, err := cmd.CombinedOutput()
	requests, rate := wrkRequests.FindSubmatch(out), wrkRate.FindSubmatch(out)
	if err != nil || requests == nil || rate == nil || bytes.Contains(out, []byte("Socket errors")) || bytes.Contains(out, []byte("Non-2xx")) {
		b.Fatalf("wrk: %v\n%s", err, out)
	}
	n, _ := strconv.ParseFloat(string(requests[1]), 64)
	perSecond, _ := strconv.ParseFloat(string(rate[1]), 64)
	cpu := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return cost{rate: perSecond, cpu: cpu.Seconds() / n}
}

func (c wrkCase) runOurs(b *testing.B, address string, requests int) cost {
	b.Helper()
	request := get("/")
	request.Expect.BodyDigest = expect.DigestSame
	if c.post {
		file := filepath.Join(b.TempDir(), "body.bin")
		if err := os.WriteFile(file, bytes.Repeat([]byte{'x'}, postBody), 0o600); err != nil {
			b.Fatal(err)
		}
		request.Method, request.Body = "POST", &wire.Body{Files: []string{file}}
	}
	r := mustFire(b, &Client{}, load.Job{
		URL: "http://" + address, Request: request, Cores: []int{clientCore},
		Load: scenarios.LoadSpec{Requests: requests, Client: scenarios.ClientMT, Pool: c.pool, KeepAlive: c.keepAlive},
	})
	if r.Errors > 0 || r.Replies != requests {
		b.Fatalf("%d replies of %d, errors %v", r.Replies, requests, r.FirstErrors)
	}
	return cost{rate: float64(r.Replies) / r.Duration.Seconds(), cpu: r.CPU.Seconds() / float64(r.Replies)}
}
