package servers

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// of is the proxy's service in the stack of a topology.
func of(t *testing.T, topology scenarios.Topology) stacks.Service {
	t.Helper()
	spec, err := Expand("run", plan(), topology)
	if err != nil {
		t.Fatal(err)
	}
	return spec.Entry()
}

func TestProxyConfigurations(t *testing.T) {
	for _, proxy := range Proxies() {
		name := proxy.Program().Name
		for variant, topology := range map[string]scenarios.Topology{
			"usual": {Server: "flask"},
			"everything": {Server: "gunicorn", Workers: 1, Threads: 4, Unix: true, Replicas: 2,
				ProxySettings: map[string]string{setKeepalive: "7", setWorkers: "2", setMaxBody: "1048576", setTimeout: "2.5"}},
		} {
			t.Run(name+" "+variant, func(t *testing.T) {
				topology.Proxy = name
				got := of(t, topology).Proxy.Text(stacks.Site{
					Listen: stacks.Address{Host: "0.0.0.0", Port: 8080}, Folder: "/tmp", Root: variant == "everything",
					Reach: map[string]stacks.Address{"app": {Host: "192.0.2.1", Port: 8000, Socket: "/run/app.sock"}, "app-2": {Socket: "/run/app-2.sock"}},
				})
				file := filepath.Join("testdata", name+"-"+variant+".conf")
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("differs from %s (go test -update rewrites it):\n%s", file, got)
				}
			})
		}
	}
}

// TestProxiesWaitLonger: it is the client that gives up.
func TestProxiesWaitLonger(t *testing.T) {
	for _, test := range []struct {
		name    string
		timeout time.Duration
		want    []string
	}{
		{"longer than the client's", 10 * time.Second, []string{"proxy_read_timeout 15s;", "proxy_send_timeout 15s;", "proxy_connect_timeout 15s;"}},
		{"a fraction is rounded up", 100 * time.Millisecond, []string{"proxy_read_timeout 6s;"}},
		{"a connection has its own limit", 10 * time.Minute, []string{"proxy_read_timeout 605s;", "proxy_connect_timeout 75s;"}},
	} {
		p := plan()
		p.Request.Timeout = test.timeout
		spec, err := Expand("run", p, scenarios.Topology{Server: "flask", Proxy: "nginx"})
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range test.want {
			if got := spec.Entry().Proxy.Config; !strings.Contains(got, line) {
				t.Errorf("%s: no line %q in:\n%s", test.name, line, got)
			}
		}
	}
}

// TestOwnConfiguration: a configuration of the scenario's own gets the addresses and
// keeps its other braces.
func TestOwnConfiguration(t *testing.T) {
	for _, test := range []struct {
		proxy, own, want string
		replicas         int
	}{
		{"nginx", "user www;\ndaemon off; pid x;\npid /p;\nlocation / { proxy_pass http://{upstream}; }\n",
			"user www;\ndaemon off; pid x;\npid /p;\nlocation / { proxy_pass http://192.0.2.1:8000; }\n", 1},
		{"nginx", "upstream app { server {upstream} weight={replica}; }\nlisten {port};",
			"daemon off; # added by stackmeter\n# user root; # added by stackmeter\npid /tmp/nginx.pid; # added by stackmeter\nupstream app { server 192.0.2.1:8000 weight=1; server 192.0.2.2:8000 weight=2; }\nlisten 8080;", 2},
		{"haproxy", "bind :{port}\nserver s{replica} {upstream} check", "bind :8080\nserver s1 192.0.2.1:8000 check\nserver s2 192.0.2.2:8000 check\n", 2},
		{"caddy", ":{port} {\n reverse_proxy {upstream} {\n  header_up Host {host}\n }\n}", ":8080 {\n reverse_proxy 192.0.2.1:8000 192.0.2.2:8000 {\n  header_up Host {host}\n }\n}", 2},
	} {
		proxy := of(t, scenarios.Topology{Server: "flask", Proxy: test.proxy, Replicas: test.replicas, ProxySettings: map[string]string{setConfig: test.own}}).Proxy
		got := proxy.Text(stacks.Site{Listen: stacks.Address{Host: "0.0.0.0", Port: 8080}, Folder: "/tmp",
			Reach: map[string]stacks.Address{"app": {Host: "192.0.2.1", Port: 8000}, "app-2": {Host: "192.0.2.2", Port: 8000}}})
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.proxy, got, test.want)
		}
	}
}

func TestReplicas(t *testing.T) {
	spec, err := Expand("run", plan(), scenarios.Topology{Server: "gunicorn", Workers: 1, Threads: 1, Proxy: "haproxy", Replicas: 3, CPUs: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := spec.Answering(); !slices.Equal(got, []string{"app", "app-2", "app-3"}) || !slices.Equal(spec.Entry().Proxy.Upstreams, got) {
		t.Errorf("replicas %q behind %+v", got, spec.Entry().Proxy)
	}
	for _, s := range spec.Services {
		if s.CPUs != 1 || s.Memory != 1<<30 || s.GPU != (s.Role == stacks.RoleApp) {
			t.Errorf("%+v", s)
		}
	}
}
