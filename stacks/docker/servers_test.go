package docker

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// TestWorkersOfEveryServer: a worker that its server replaces on purpose is told from one
// that ended by itself, with real servers.
func TestWorkersOfEveryServer(t *testing.T) {
	r := engine(t)
	for _, topology := range []scenarios.Topology{
		{Name: "gunicorn-gevent", Server: "gunicorn", Class: "gevent", Workers: 2, Concurrency: 10},
		{Name: "gunicorn-asgi", Server: "gunicorn", Class: "asgi", Workers: 2},
		{Name: "uvicorn", Server: "uvicorn", Workers: 2},
		{Name: "hypercorn", Server: "hypercorn", Workers: 2},
		{Name: "uwsgi", Server: "uwsgi", Workers: 2, Threads: 2, ServerOptions: map[string]string{"min-worker-lifetime": "1"}},
	} {
		t.Run(topology.Name, func(t *testing.T) {
			topology.Settings = map[string]string{"max_requests": "20"}
			spec := stackstest.Spec(t, "test-workers-"+topology.Name, topology, nil)
			if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
				t.Fatal(err)
			}
			stack, err := r.Start(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			defer stack.Stop(t.Context())
			if err := stacks.WaitReady(t.Context(), spec, stack); err != nil {
				t.Fatal(err)
			}
			logs := func() string {
				var text strings.Builder
				_ = stack.Logs(t.Context(), &text)
				return text.String()
			}
			// until asks for a path until the server is not the same any more.
			until := func(path string, changed func(recycled bool, err error) bool) {
				t.Helper()
				found, err := servers.Verify(t.Context(), spec, stack)
				if err != nil {
					t.Fatal(err)
				}
				client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
				deadline := time.Now().Add(30 * time.Second)
				for time.Now().Before(deadline) {
					if resp, err := client.Get(stack.URL() + path); err == nil {
						resp.Body.Close()
					}
					err := stack.Check(t.Context())
					recycled := false
					if err == nil {
						after, lost := stack.Inspect(t.Context())
						if lost == nil {
							recycled, err = servers.SameWorkers(found.Facts, after, logs)
						}
					}
					if changed(recycled, err) {
						return
					}
				}
				t.Fatalf("after %s nothing changed:\n%s", path, logs())
			}
			until("/", func(recycled bool, err error) bool {
				if err != nil {
					t.Fatalf("on purpose: %v\n%s", err, logs())
				}
				return recycled
			})
			until("/exit", func(_ bool, err error) bool { return err != nil })
		})
	}
}
