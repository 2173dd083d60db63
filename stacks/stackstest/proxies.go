package stackstest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

// Stacks with a proxy in front.

// own are configurations as a user writes them.
var own = map[string]string{
	"nginx": `events {}
http {
	access_log off;
	client_max_body_size 8m;
	upstream own { server {upstream} max_fails=0; }
	server {
		listen {port};
		location / { proxy_pass http://own; }
	}
}`,
	"haproxy": `defaults
	mode http
	timeout connect 5s
	timeout client 30s
	timeout server 30s
frontend own
	bind :{port}
	default_backend app
backend app
	server app{replica} {upstream}
`,
	"caddy": `{
	admin off
}
:{port} {
	header X-Host own-{host}
	reverse_proxy {upstream}
}`,
}

func (s *suite) proxies(t *testing.T) {
	for _, proxy := range servers.Proxies() {
		name := proxy.Program().Name
		for _, c := range []struct {
			name     string
			topology scenarios.Topology
			reads    string // in the configuration that is read back
		}{
			{"port", scenarios.Topology{Server: "gunicorn", Workers: 1, Threads: 4}, ":"},
			{"socket", scenarios.Topology{Server: "gunicorn", Workers: 1, Threads: 4, Unix: true}, proxy.Socket() + "/"},
			{"keepalive", scenarios.Topology{Server: "waitress", Threads: 4, Unix: true, ProxySettings: map[string]string{
				"upstream_keepalive": "7", "workers": "2", "max_body": "1048576", "timeout": "20"}}, "1048576"},
			{"own", scenarios.Topology{Server: "gunicorn", Workers: 1, Threads: 4, Unix: true, Replicas: 2, ProxySettings: map[string]string{"config": own[name]}}, "own"},
		} {
			t.Run(name+" "+c.name, func(t *testing.T) {
				c.topology.Name, c.topology.Proxy = name+"-"+c.name, name
				spec, stack := s.start(t, c.topology, nil)
				found, err := servers.Verify(t.Context(), spec, stack)
				if err != nil || !strings.Contains(found.Proxy, c.reads) {
					t.Errorf("read back without %q: %v\n%s", c.reads, err, found.Proxy)
				}
				crowd(t, stack, 200)
				if large := post(t, stack, 2<<20); (large == http.StatusOK) != (c.name != "keepalive") {
					t.Errorf("2 MiB: status %d", large)
				}
			})
		}
	}
}

// crowd sends requests of 20 clients, each over a connection of its own that it keeps.
func crowd(t *testing.T, stack stacks.Stack, requests int) {
	t.Helper()
	const clients = 20
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for range requests / clients {
				resp, err := client.Get(stack.URL() + "/")
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%s %s %v", resp.Status, body, err)
				}
			}
		})
	}
	all.Wait()
}

// post sends a body and returns the status of the answer. A proxy that refuses it may
// close the connection before all of it was sent.
func post(t *testing.T, stack stacks.Stack, size int) int {
	t.Helper()
	resp, err := visitor.Post(stack.URL()+"/predict", "application/octet-stream", strings.NewReader(strings.Repeat("x", size)))
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		return http.StatusRequestEntityTooLarge
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Length int }
	if err := json.NewDecoder(resp.Body).Decode(&answer); resp.StatusCode == http.StatusOK && (err != nil || answer.Length != size) {
		t.Errorf("posted %d bytes, the app saw %d (%v)", size, answer.Length, err)
	}
	return resp.StatusCode
}

func (s *suite) replicas(t *testing.T) {
	for _, proxy := range servers.Proxies() {
		t.Run(proxy.Program().Name, func(t *testing.T) {
			topology := scenarios.Topology{Name: "replicas", Server: "gunicorn", Workers: 2, Threads: 1, Replicas: 3, Proxy: proxy.Program().Name, Unix: proxy.Program().Name == "nginx"}
			spec, stack := s.start(t, topology, nil)
			found, err := servers.Verify(t.Context(), spec, stack)
			if err != nil || found.Interpreters != 6 || found.Slots != 6 || *found.Workers != 2 {
				t.Fatalf("%+v, %v", found, err)
			}
			before := memory(t, stack, 0)
			after := memory(t, stack, 6)
			for _, name := range spec.Answering() { // each has its turn
				if grown := (after[name] - before[name]) >> 20; grown < 15 || grown > 60 {
					t.Errorf("service %s has grown by %d MiB, and a third of the requests took 20", name, grown)
				}
			}
			conn, err := stack.Dial(t.Context(), "app-2")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET /kill-parent HTTP/1.0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			err = s.eventually(t, func() error { return stack.Check(t.Context()) })
			if !strings.Contains(err.Error(), "app-2") {
				t.Error(err)
			}
		})
	}
}

// memory asks for 10 MiB so many times and returns the peak of each service.
func memory(t *testing.T, stack stacks.Stack, requests int) map[string]int64 {
	t.Helper()
	meter, err := stack.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range requests {
		get(t, stack, "/memory?mib=10")
	}
	return meter.Stop().Services
}
