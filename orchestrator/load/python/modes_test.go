package python

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

func TestModes(t *testing.T) {
	c := local(t)
	for _, keepAlive := range []bool{false, true} {
		for _, spec := range modes(20, keepAlive) {
			t.Run(spec.Name(), func(t *testing.T) {
				var mu sync.Mutex
				agents := map[string]int{}
				url, connections := serve(t, func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					defer mu.Unlock()
					agents[r.UserAgent()]++
					fmt.Fprint(w, "hello")
				})
				r := mustFire(t, c, load.Job{URL: url, Request: get("/a?b=c"), Load: spec})
				if r.Requests != 20 || r.Replies != 20 || r.Errors != 0 || len(r.ErrorKinds) != 0 {
					t.Errorf("%d requests, %d replies, errors %v", r.Requests, r.Replies, r.FirstErrors)
				}
				if len(agents) != 1 || !strings.HasPrefix(slices.Collect(keys(agents))[0], "python-requests/") {
					t.Errorf("user agents %v", agents)
				}
				clients := int64(spec.Pool)
				if n := connections.Load(); !keepAlive && n != 20 || keepAlive && (n < 1 || n > clients) {
					t.Errorf("%d connections", n)
				}
				hand := load.HandChunks
				if spec.Client == scenarios.ClientSingle {
					hand = load.HandNext
				}
				if r.Hand != hand {
					t.Errorf("hand %q, want %q", r.Hand, hand)
				}
				if r.Latency == nil || r.Latency.Count() != 20 || r.Latency.Min() <= 0 || r.Latency.Max() > r.Duration {
					t.Errorf("latency %+v within %v", r.Latency, r.Duration)
				}
				if r.Duration <= 0 || r.StartDelay <= 0 || r.StartDelay > r.Duration || r.CPU <= 0 || r.Little <= 0 || r.Little > 1+1e-9 {
					t.Errorf("duration %v, start delay %v, CPU %v, Little %v", r.Duration, r.StartDelay, r.CPU, r.Little)
				}
			})
		}
	}
}

func TestCores(t *testing.T) {
	c := local(t)
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) {})
	b := mustPrepare(t, c, load.Job{URL: url, Request: get("/"), Load: modes(6, false)[2], Cores: []int{0}})
	for _, pid := range append(children(t, b), group(b)) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !strings.Contains(string(status), "Cpus_allowed_list:\t0\n") {
			t.Errorf("process %d is not held to core 0: %v", pid, err)
		}
	}
	if r, err := b.Fire(t.Context()); err != nil || !slices.Equal(r.Cores, []int{0}) {
		t.Errorf("cores %v, %v", r.Cores, err)
	}
	if _, err := c.Prepare(t.Context(), load.Job{URL: url, Request: get("/"), Load: modes(6, false)[0], Cores: []int{9999}}); err == nil {
		t.Error("held to a core that is not there")
	}
}

func TestAnySuccess(t *testing.T) {
	c := local(t)
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	request := get("/")
	request.Expect.Status = 0
	if r := mustFire(t, c, load.Job{URL: url, Request: request, Load: modes(2, false)[0]}); r.Replies != 2 {
		t.Errorf("status 202: %d replies, %v", r.Replies, r.FirstErrors)
	}
}
