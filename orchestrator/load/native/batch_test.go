//go:build linux

package native

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

type requestCounter = atomic.Int64

// Every mode sends exactly the requests asked for, and accounts for them.
func TestModes(t *testing.T) {
	const n = 50
	for _, keepAlive := range []bool{false, true} {
		for name, l := range modes(n, keepAlive) {
			t.Run(l.Name(), func(t *testing.T) {
				var served requestCounter
				url, connections := startHTTP(t, func(w http.ResponseWriter, r *http.Request) {
					served.Add(1)
					if r.URL.RequestURI() != "/a?b=c" || r.Header.Get("X-Mine") != "yes" || r.UserAgent() != userAgent {
						t.Errorf("got %s with headers %v", r.URL, r.Header)
					}
					if r.Close == keepAlive {
						t.Errorf("asked to close: %t, with keepalive %t", r.Close, keepAlive)
					}
					_, _ = io.WriteString(w, "answer")
				})
				request := get("/a?b=c")
				request.Headers = map[string]string{"x-mine": "yes"}
				r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: l})
				if r.Replies != n || r.Errors != 0 || served.Load() != n {
					t.Errorf("%d replies, errors %v, %d served; want %d", r.Replies, r.FirstErrors, served.Load(), n)
				}
				wantConnections := int64(n)
				if keepAlive {
					wantConnections = int64(l.Pool)
				}
				// With keepalive a slow starter of mt may find nothing left.
				if got := connections.Load(); got > wantConnections || (!keepAlive && got != wantConnections) || got == 0 {
					t.Errorf("%d connections, want %d", got, wantConnections)
				}
				if r.Latency.Count() != n || r.Latency.Max() > r.Duration || r.Latency.Min() <= 0 {
					t.Errorf("latency %d times up to %v in a batch of %v", r.Latency.Count(), r.Latency.Max(), r.Duration)
				}
				if r.CPU <= 0 || r.BytesSent <= n*50 || r.BytesRead <= n*50 || r.StartDelay <= 0 || r.StartDelay > r.Duration || r.Little <= 0 || r.Little > 1.0001 {
					t.Errorf("figures that cannot be: %+v", r)
				}
				if want := map[string]string{"mp": load.HandSplit}[name]; want != "" && r.Hand != want || want == "" && r.Hand != load.HandNext {
					t.Errorf("handed out by %q", r.Hand)
				}
			})
		}
	}
}

// The end of ctx ends a batch at once. The result has what was finished, and no
// process is left.
func TestCancel(t *testing.T) {
	for name, l := range modes(100, false) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var n requestCounter
			s := startRaw(t, "tcp", "127.0.0.1:0", func(s *rawServer, c *net.TCPConn, r *bufio.Reader) {
				if readRequest(r) && n.Add(1) <= 10 {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
					return
				}
				if n.Load() >= 10+int64(l.Pool) {
					cancel()
				}
				hang(s, c)
			})
			request := get("/")
			request.Timeout = time.Hour
			b, err := (&Client{}).prepareBatch(ctx, load.Job{URL: s.url, Request: request, Load: l})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			r, err := b.Fire(ctx)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Fire: %v, want it to be cancelled", err)
			}
			if r.Replies != 10 || r.Errors != 0 || r.Requests != 100 || r.Latency.Count() != 10 {
				t.Errorf("the part: %d replies, errors %v; want the 10 that were finished", r.Replies, r.FirstErrors)
			}
			assertNoChildren(t, b)
		})
	}
}

// A batch fails when a client process is killed, and the others end too.
func TestKilledProcess(t *testing.T) {
	var b *batch
	var once sync.Once
	prepared := make(chan struct{})
	s := startRaw(t, "tcp", "127.0.0.1:0", func(s *rawServer, c *net.TCPConn, _ *bufio.Reader) {
		<-prepared
		once.Do(func() { b.workers[1].kill() })
		hang(s, c)
	})
	var err error
	b, err = (&Client{}).prepareBatch(t.Context(), load.Job{URL: s.url, Request: get("/"), Load: modes(30, false)["mp"]})
	if err != nil {
		t.Fatal(err)
	}
	close(prepared)
	defer b.Close()
	_, err = b.Fire(t.Context())
	if err == nil || !strings.Contains(err.Error(), "load worker 2 of 3") || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Fire: %v, want the second worker's death", err)
	}
	assertNoChildren(t, b)
}

// The error about a program that is no load worker has its output.
func TestWrongCommand(t *testing.T) {
	cases := map[string]struct {
		command []string
		want    string
	}{
		"missing":       {[]string{"/nonexistent/stackmeter"}, "no such file"},
		"ends":          {[]string{"sh", "-c", "echo unknown command >&2; exit 7"}, "exit status 7: unknown command"},
		"ends happily":  {[]string{"true"}, "ended before it was ready"},
		"says nonsense": {[]string{"sh", "-c", "echo nonsense; exec cat"}, "before it was ready"},
		"not ready":     {[]string{"sh", "-c", "echo {}; exec cat"}, "did not say that it is ready"},
		"no report":     {[]string{"sh", "-c", `echo '{"Ready":true}'; cat <&4; echo '{}'`}, "tally is empty"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b, err := (&Client{command: tc.command}).prepareBatch(t.Context(),
				load.Job{URL: "http://127.0.0.1:9", Request: get("/"), Load: modes(4, false)["mp"]})
			if err == nil {
				_, err = b.Fire(t.Context())
				b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
}

// A worker never starts workers.
func TestWorkerInWorker(t *testing.T) {
	t.Setenv(workerMark, "1")
	if _, err := (&Client{}).prepareBatch(t.Context(), load.Job{}); err == nil || !strings.Contains(err.Error(), "load worker itself") {
		t.Errorf("Prepare inside a worker: %v", err)
	}
}

func TestWorkerAlone(t *testing.T) {
	if err := Worker(strings.NewReader(""), io.Discard); err == nil || !strings.Contains(err.Error(), "stackmeter load") {
		t.Errorf("a worker that nobody started: %v", err)
	}
}

// Prepare sends nothing. Close without Fire ends the processes. Both Close and Fire
// can be called again.
func TestCloseUnfired(t *testing.T) {
	for name, l := range modes(10, false) {
		t.Run(name, func(t *testing.T) {
			url, connections := startHTTP(t, func(http.ResponseWriter, *http.Request) {})
			b, err := (&Client{}).prepareBatch(t.Context(), load.Job{URL: url, Request: get("/"), Load: l})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := b.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			}
			assertNoChildren(t, b)
			if _, err := b.Fire(t.Context()); err == nil {
				t.Error("a closed batch was fired")
			}
			if b.Done() != 0 || connections.Load() != 0 {
				t.Errorf("%d done, %d connections before the gun", b.Done(), connections.Load())
			}
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	good := load.Job{URL: "http://127.0.0.1:1", Request: get("/"), Load: scenarios.LoadSpec{Requests: 1, Client: "single", Pool: 1}}
	cases := map[string]struct {
		change func(*load.Job)
		want   string
	}{
		"no CA file":        {func(j *load.Job) { j.URL, j.Request.TLS = "https://127.0.0.1", &wire.TLS{CA: "/nonexistent"} }, "/nonexistent"},
		"a CA file of none": {func(j *load.Job) { j.URL, j.Request.TLS = "https://127.0.0.1", &wire.TLS{CA: "/dev/null"} }, "no certificate"},
		"an unknown host":   {func(j *load.Job) { j.URL = "http://name.invalid" }, "name.invalid"},
		"a missing file":    {func(j *load.Job) { j.Request.Body = &wire.Body{Files: []string{"/nonexistent"}} }, "/nonexistent"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := good
			tc.change(&job)
			b, err := (&Client{}).prepareBatch(t.Context(), job)
			if err == nil {
				b.Close()
				t.Fatal("was prepared")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q, want %q in it", err, tc.want)
			}
		})
	}
}

// mp sends every request once, even with more clients than requests.
func TestFewerRequestsThanClients(t *testing.T) {
	for _, client := range []string{scenarios.ClientMP, scenarios.ClientMT} {
		t.Run(client, func(t *testing.T) {
			var served requestCounter
			url, _ := startHTTP(t, func(http.ResponseWriter, *http.Request) { served.Add(1) })
			r := mustFire(t, &Client{}, load.Job{URL: url, Request: get("/"), Load: scenarios.LoadSpec{Requests: 3, Client: client, Pool: 5}})
			if r.Replies != 3 || served.Load() != 3 {
				t.Errorf("%d replies, %d served, want 3", r.Replies, served.Load())
			}
		})
	}
}

// TestFault24ClientThatOnlyComputes: the client reads answers that take it far longer
// than the server. The record has the cost, and a flag as soon as it is most of the
// time. How much CPU time a busy machine leaves to the client varies.
func TestFault24ClientThatOnlyComputes(t *testing.T) {
	body := []byte(`{"label": "cat", "more": [` + strings.Repeat(`"text", `, 100_000) + `0]}`)
	url, _ := startHTTP(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	request := get("/")
	request.Expect.JSON = map[string]string{"label": `"cat"`}
	r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: modes(20, true)["mt"]})
	if r.Replies != 20 || r.CPU < 20*time.Millisecond {
		t.Fatalf("%d replies, errors %v, and %v of CPU for 2,000,000 values", r.Replies, r.FirstErrors, r.CPU)
	}
	bound := r.CPU.Seconds() >= 0.8*r.Duration.Seconds()
	if got := slices.Contains(r.Flags, load.FlagClientBound); got != bound {
		t.Errorf("CPU %v in %v: flagged %t", r.CPU, r.Duration, got)
	}
	t.Logf("the client computed for %v of %v", r.CPU, r.Duration)
}

// TestFault24ClientBound: a client that only computes is flagged, and one that only
// waits is not.
func TestFault24ClientBound(t *testing.T) {
	one := formation{processes: 1, each: 1}
	cases := map[string]struct {
		cpu  time.Duration
		want bool
	}{
		"idle":      {10 * time.Millisecond, false},
		"below":     {790 * time.Millisecond, false},
		"saturated": {800 * time.Millisecond, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			const begin = 1
			w := &worker{tally: tally{CPU: tc.cpu, End: begin + instant(time.Second)}}
			w.tally.Histograms.Latency.Record(time.Second)
			r := (&batch{formation: one, requests: 1, workers: []*worker{w}}).result(begin)
			if got := slices.Contains(r.Flags, load.FlagClientBound); got != tc.want {
				t.Errorf("flagged: %t, want %t", got, tc.want)
			}
		})
	}
}

// assertNoChildren closes the batch and checks that its processes are gone.
func assertNoChildren(t *testing.T, b *batch) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	for _, w := range b.workers {
		if w.process == 0 {
			t.Errorf("%s has no process", w.name)
		}
		if err := unix.Kill(w.process, 0); !errors.Is(err, unix.ESRCH) {
			t.Errorf("%s: process %d is still there: %v", w.name, w.process, err)
		}
	}
}

// Latency ends with the last byte. Checking an answer is not part of it.
func TestLatencyWithoutChecking(t *testing.T) {
	body, err := json.Marshal(map[string]any{"label": "cat", "scores": make([]float64, 1_000_000)})
	if err != nil {
		t.Fatal(err)
	}
	url, _ := startHTTP(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	request := get("/")
	request.Expect.JSON = map[string]string{"label": `"cat"`}
	r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: scenarios.LoadSpec{Requests: 5, Client: scenarios.ClientMP, Pool: 1}})
	if r.Replies != 5 {
		t.Fatalf("%d replies, errors %v", r.Replies, r.FirstErrors)
	}
	// Nearly all the CPU time of this client is spent on reading JSON.
	if cpu := r.CPU / 5; r.Latency.Mean() >= cpu {
		t.Errorf("a mean latency of %v, where a request took %v of CPU time: checking is in it", r.Latency.Mean(), cpu)
	}
}
