package docker

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/docker/docker/client"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// forgetful stands in front of the real engine and, while it is told to, says
// of every removal that it was done without doing it.
func forgetful(t *testing.T, r *Runtime) (through *Runtime, forget *atomic.Bool) {
	t.Helper()
	host, err := url.Parse(r.api.DaemonHost())
	if err != nil || host.Scheme != "unix" {
		t.Skipf("needs an engine at a local socket, not %s (%v)", r.api.DaemonHost(), err)
	}
	forget = new(atomic.Bool)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(req *httputil.ProxyRequest) { req.Out.URL.Scheme, req.Out.URL.Host = "http", "engine" },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", host.Path)
		}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if forget.Load() && req.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	api, err := client.NewClientWithOpts(client.WithHost("tcp://"+server.Listener.Addr().String()), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	through, err = New()
	if err != nil {
		t.Fatal(err)
	}
	if err := through.api.Close(); err != nil {
		t.Fatal(err)
	}
	through.api = api
	t.Cleanup(func() { through.Close() })
	return through, forget
}

// started is a running stack under a run of its own.
func started(t *testing.T, r *Runtime, change func(*scenarios.Plan), topology scenarios.Topology) (stacks.Spec, *stack) {
	t.Helper()
	spec := stackstest.Spec(t, "test-fault-"+filepath.Base(t.TempDir()), topology, change)
	if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
		t.Fatal(err)
	}
	running, err := r.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return spec, running.(*stack)
}

// TestFault05RemovalDidNothing: the engine says "removed", and nothing is. The
// teardown looks again, and names what is still there and how to remove it.
func TestFault05RemovalDidNothing(t *testing.T) {
	real := engine(t)
	r, forget := forgetful(t, real)
	spec, st := started(t, r, nil, stackstest.Nginx)
	forget.Store(true)
	err := st.Stop(t.Context())
	if err == nil {
		t.Fatal("nothing was removed, and nothing is said")
	}
	for _, name := range []string{"container " + st.name("app") + " is still there; remove it with docker rm -f", "container " + st.name("nginx") + " is still there",
		"network " + st.name("net") + " is still there; remove it with docker network rm"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v\nwant %q", err, name)
		}
	}
	forget.Store(false)
	if err := st.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := real.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestFault05RemovedByOthers: parts of a stack are gone already, or are being
// removed by someone else at the same time. Either way nothing is left in the
// end, which is all that a teardown promises.
func TestFault05RemovedByOthers(t *testing.T) {
	r := engine(t)
	t.Run("already gone", func(t *testing.T) {
		spec, st := started(t, r, nil, stackstest.Nginx)
		if out, err := exec.Command("docker", "rm", "--force", st.services[0].container).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := st.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	t.Run("in progress", func(t *testing.T) {
		spec, st := started(t, r, nil, stackstest.Nginx)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if err := st.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

// TestFault15LogsAreBounded: a service prints three times what a container's
// log may hold. The file on the engine's disk stays within it.
func TestFault15LogsAreBounded(t *testing.T) {
	r := engine(t)
	const limit = 10 << 20 // as logSize says
	_, st := started(t, r, nil, scenarios.Topology{Name: "loud", Server: scenarios.ServerCommand,
		Command: []string{"python3", "-c", "import sys, time\nfor n in range(3 << 10): sys.stdout.write(str(n).rjust(1 << 10 << 3, '.') + '\\n' + '-' * 2000 + '\\n')\nsys.stdout.write('the end\\n'); sys.stdout.flush(); time.sleep(600)"}})
	defer st.Stop(context.Background())
	s := stackTail(t, st)
	found, err := r.api.ContainerInspect(t.Context(), st.services[0].container)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(s, "the end") {
		t.Errorf("the last line is not in the logs: %.200s", s)
	}
	folder := filepath.Dir(found.LogPath)
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Skipf("needs to read the engine's folder: %v", err)
	}
	var size int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.Contains(e.Name(), "-json.log") {
			size += info.Size()
		}
	}
	if size == 0 || size > limit+2<<20 {
		t.Errorf("the container's log takes %d bytes, want at most %d", size, limit)
	}
}

// stackTail is the tail of a stack's logs once it says that it is at its end.
func stackTail(t *testing.T, st *stack) string {
	t.Helper()
	for {
		var b strings.Builder
		if err := st.Logs(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "the end") {
			return b.String()
		}
		if err := st.Check(t.Context()); err != nil {
			t.Fatalf("%v\n%.2000s", err, b.String())
		}
	}
}
