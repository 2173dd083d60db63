package servers

import (
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
	"stackmeter/stacks"
)

func plan() scenarios.Plan {
	return scenarios.Plan{
		App:       scenarios.App{Image: "app:1", WSGI: "wsgi:app", Port: 8000, Env: map[string]string{"A": "1", "B": "1"}},
		Request:   wire.Request{Timeout: 90 * time.Second},
		Resources: scenarios.Resources{CPUs: 2, Memory: 1 << 30},
	}
}

func TestExpand(t *testing.T) {
	tests := []struct {
		name     string
		topology scenarios.Topology
		services string // names in order
		command  string // of the first service
	}{
		{"flask", scenarios.Topology{Server: "flask"}, "app",
			"flask --app wsgi:app run --host {host} --port {port} --no-reload --no-debugger --with-threads"},
		{"gunicorn", scenarios.Topology{Server: "gunicorn", Workers: 2, Threads: 4}, "app",
			"gunicorn --bind {host}:{port} --workers 2 --worker-class gthread --threads 4 --timeout 95 --worker-tmp-dir /dev/shm wsgi:app"},
		{"nginx", scenarios.Topology{Server: "gunicorn", Workers: 1, Threads: 1, Proxy: "nginx"}, "app nginx",
			"gunicorn --bind {host}:{port} --workers 1 --worker-class sync --threads 1 --timeout 95 --worker-tmp-dir /dev/shm wsgi:app"},
		{"command", scenarios.Topology{Server: scenarios.ServerCommand, Command: []string{"serve", "it all"}}, "app", "serve it all"},
		{"services", scenarios.Topology{Server: scenarios.ServerServices, Proxy: "nginx", Services: []scenarios.Service{
			{Name: "back", Command: []string{"b"}, Port: 1}, {Name: "front", Image: "front:2", Port: 2},
		}}, "back front nginx", "b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec, err := Expand("run", plan(), test.topology)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, s := range spec.Services {
				names = append(names, s.Name)
			}
			if got := strings.Join(names, " "); got != test.services {
				t.Errorf("services %q, want %q", got, test.services)
			}
			first := spec.Services[0]
			if got := strings.Join(first.Command, " "); got != test.command {
				t.Errorf("command %q, want %q", got, test.command)
			}
			if first.CPUs != 2 || first.Memory != 1<<30 || !first.GPU {
				t.Errorf("resources: %+v", first)
			}
			if test.topology.Proxy != "" {
				entry := spec.Entry()
				if entry.Role != stacks.RoleProxy || !slices.Equal(entry.Proxy.Upstreams, names[len(names)-2:len(names)-1]) || entry.GPU {
					t.Errorf("nginx: %+v", entry)
				}
			}
		})
	}
	if _, err := Expand("run", plan(), scenarios.Topology{Server: "nosuch"}); err == nil {
		t.Error("a server that is not known")
	}
	own, err := Expand("run", plan(), scenarios.Topology{Server: "flask", Image: "own:1", Env: map[string]string{"B": "2"}})
	if err != nil || own.Services[0].Image != "own:1" || own.Services[0].Env["A"] != "1" || own.Services[0].Env["B"] != "2" {
		t.Errorf("own image and environment: %+v, %v", own.Services[0], err)
	}
}

// TestBracesEndToEnd follows what a scenario writes to the argv of a process.
func TestBracesEndToEnd(t *testing.T) {
	s, err := scenarios.Loader{Servers: Known()}.Parse("test.yaml", []byte(`
name: braces
app: {image: example/app, wsgi: wsgi:app}
topologies:
  - {name: own, threads: 4, command: [serve, "{host}:{port}", "{{port}}", '{{"a": {{}}}}', "{{{threads}}}", "{{{{port}}}}"]}
matrix: {requests: 1, client: single}
`))
	if err != nil {
		t.Fatal(err)
	}
	p := s.Plan()
	spec, err := Expand("run", p, p.Trials[0].Topology)
	if err != nil {
		t.Fatal(err)
	}
	got := spec.Services[0].Argv(stacks.Site{Listen: stacks.Address{Host: "127.0.0.1", Port: 81}})
	if want := []string{"serve", "127.0.0.1:81", "{port}", `{"a": {}}`, "{4}", "{{port}}"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestExpandFolders(t *testing.T) {
	p := plan()
	p.App.Image, p.App.Build, p.App.Venv = "", &scenarios.Build{Context: "/src/app"}, "/venv"
	tests := []struct {
		name      string
		dir       string // app.dir
		topology  scenarios.Topology
		want      string // "folder venv" of the last service
		wantBuild bool
	}{
		{"the build's context", "", scenarios.Topology{Server: "flask"}, "/src/app /venv", true},
		{"app.dir wins", "/src/run", scenarios.Topology{Server: "flask"}, "/src/run /venv", true},
		{"an image of the topology's own", "/src/run", scenarios.Topology{Server: "flask", Image: "own"}, " ", false},
		{"a service of the app's", "/src/run", scenarios.Topology{Server: scenarios.ServerServices, Services: []scenarios.Service{{Name: "a"}}}, "/src/run /venv", true},
		{"an image of the service's own", "/src/run", scenarios.Topology{Server: scenarios.ServerServices, Services: []scenarios.Service{{Name: "a", Image: "own"}}}, " ", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := p
			p.App.Dir = test.dir
			spec, err := Expand("run", p, test.topology)
			if err != nil {
				t.Fatal(err)
			}
			last := spec.Entry()
			if got := last.Dir + " " + last.Venv; got != test.want || (last.Build != nil) != test.wantBuild {
				t.Errorf("folders %q, build %v; want %q", got, last.Build, test.want)
			}
		})
	}
}
