package stacks

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios"
)

func plan() scenarios.Plan {
	return scenarios.Plan{
		App:       scenarios.App{Image: "app:1", WSGI: "wsgi:app", Port: 8000, Env: map[string]string{"A": "1", "B": "1"}},
		Request:   scenarios.Request{Timeout: 90 * time.Second},
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
		{"flask", scenarios.Topology{Server: scenarios.ServerFlask}, "app",
			"flask --app wsgi:app run --host {host} --port {port}"},
		{"gunicorn", scenarios.Topology{Server: scenarios.ServerGunicorn, Workers: 2, Threads: 4}, "app",
			"gunicorn --bind {host}:{port} --workers 2 --threads 4 --timeout 95 --worker-tmp-dir /dev/shm wsgi:app"},
		{"nginx", scenarios.Topology{Server: scenarios.ServerGunicorn, Workers: 1, Threads: 1, Nginx: true}, "app nginx",
			"gunicorn --bind {host}:{port} --workers 1 --threads 1 --timeout 95 --worker-tmp-dir /dev/shm wsgi:app"},
		{"command", scenarios.Topology{Server: scenarios.ServerCommand, Command: []string{"serve", "it all"}}, "app", "serve it all"},
		{"services", scenarios.Topology{Server: scenarios.ServerServices, Nginx: true, Services: []scenarios.Service{
			{Name: "back", Command: []string{"b"}, Port: 1}, {Name: "front", Image: "front:2", Port: 2},
		}}, "back front nginx", "b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec, err := Expand("run", plan(), test.topology, []string{"GPU-1"})
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
			if first.CPUs != 2 || first.Memory != 1<<30 || !slices.Equal(first.GPUs, []string{"GPU-1"}) {
				t.Errorf("resources: %+v", first)
			}
			if test.topology.Nginx {
				entry := spec.Entry()
				if entry.Role != RoleNginx || entry.Proxy.Upstream != names[len(names)-2] || len(entry.GPUs) > 0 {
					t.Errorf("nginx: %+v", entry)
				}
			}
		})
	}
	if _, err := Expand("run", plan(), scenarios.Topology{Server: "uwsgi"}, nil); err == nil {
		t.Error("a server that is not known")
	}
	own, err := Expand("run", plan(), scenarios.Topology{Server: scenarios.ServerFlask, Image: "own:1", Env: map[string]string{"B": "2"}}, nil)
	if err != nil || own.Services[0].Image != "own:1" || own.Services[0].Env["A"] != "1" || own.Services[0].Env["B"] != "2" {
		t.Errorf("own image and environment: %+v, %v", own.Services[0], err)
	}
}

func TestArgv(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"the own address", "--bind={host}:{port}", "--bind=0.0.0.0:80"},
		{"another service's", "http://{host:back}:{port:back}/", "http://10.0.0.7:8000/"},
		{"a service that is not there", "{host:nobody}", "{host:nobody}"},
		{"braces", "{{}}", "{}"},
		{"a placeholder that is none", "{{port}}", "{port}"},
		{"a placeholder in braces", "{{{port}}}", "{80}"},
		{"what a host looks like is left alone", "{host:odd}", "{port}"},
		{"another word", "{other}", "{other}"},
	}
	reach := map[string]Address{"back": {"10.0.0.7", 8000}, "odd": {"{port}", 1}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Service{Command: []string{"serve", test.text}}.Argv(Address{"0.0.0.0", 80}, reach)
			if !slices.Equal(got, []string{"serve", test.want}) {
				t.Errorf("%q becomes %q, want %q", test.text, got, test.want)
			}
		})
	}
	if got := (Service{}).Argv(Address{"0.0.0.0", 80}, nil); got != nil {
		t.Errorf("no command becomes %q", got)
	}
}

// TestBracesEndToEnd follows what a scenario writes to the argv of a process.
func TestBracesEndToEnd(t *testing.T) {
	s, err := scenarios.Parse("test.yaml", []byte(`
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
	spec, err := Expand("run", p, p.Trials[0].Topology, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := spec.Services[0].Argv(Address{"127.0.0.1", 81}, nil)
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
		{"the build's context", "", scenarios.Topology{Server: scenarios.ServerFlask}, "/src/app /venv", true},
		{"app.dir wins", "/src/run", scenarios.Topology{Server: scenarios.ServerFlask}, "/src/run /venv", true},
		{"an image of the topology's own", "/src/run", scenarios.Topology{Server: scenarios.ServerFlask, Image: "own"}, " ", false},
		{"a service of the app's", "/src/run", scenarios.Topology{Server: scenarios.ServerServices, Services: []scenarios.Service{{Name: "a"}}}, "/src/run /venv", true},
		{"an image of the service's own", "/src/run", scenarios.Topology{Server: scenarios.ServerServices, Services: []scenarios.Service{{Name: "a", Image: "own"}}}, " ", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := p
			p.App.Dir = test.dir
			spec, err := Expand("run", p, test.topology, nil)
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

func TestGunicorn(t *testing.T) {
	tests := []struct {
		name      string
		processes []Process
		workers   int // -1: not known
		threads   int // -1: not known
	}{
		{"under an init process", []Process{
			{PID: 1, Command: "/sbin/docker-init -- gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 7, Parent: 1, Command: "/usr/bin/python3 /usr/bin/gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 8, Parent: 7, Command: "/usr/bin/python3 /usr/bin/gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 9, Parent: 7, Command: "/usr/bin/python3 /usr/bin/gunicorn --workers 2 --threads 4 wsgi:app"},
			{PID: 10, Parent: 9, Command: "ffmpeg"},
		}, 2, 4},
		{"renamed processes", []Process{
			{PID: 7, Command: "gunicorn: master [wsgi:app]"},
			{PID: 8, Parent: 7, Command: "gunicorn: worker [wsgi:app]"},
		}, 1, -1},
		{"a wrapper that settles it otherwise", []Process{
			{PID: 7, Command: "python3 -m gunicorn --threads=4 --threads 8 wsgi:app"},
		}, 0, 8},
		{"a worker that forks a helper, which forks another", []Process{
			{PID: 7, Parent: 1, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 8, Parent: 7, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 9, Parent: 8, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 10, Parent: 9, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
		}, 1, 4},
		{"a helper that left its worker", []Process{
			{PID: 1, Command: "/sbin/docker-init -- gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 7, Parent: 1, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 8, Parent: 7, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
			{PID: 9, Parent: 1, Command: "python3 /usr/bin/gunicorn --workers 1 --threads 4 wsgi:app"},
		}, 1, 4},
		{"no gunicorn", []Process{{PID: 7, Command: "python3 serve.py gunicorn"}}, -1, -1},
	}
	value := func(n *int) int {
		if n == nil {
			return -1
		}
		return *n
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			workers, pids, threads := Gunicorn(Facts{Services: []ServiceFacts{{Service: AppService, Processes: test.processes}}})
			if value(workers) != test.workers || value(threads) != test.threads || len(pids) != max(0, test.workers) {
				t.Errorf("%d workers (%v), %d threads; want %d, %d", value(workers), pids, value(threads), test.workers, test.threads)
			}
		})
	}
}

func TestOwner(t *testing.T) {
	self, err := Self()
	if err != nil {
		t.Fatal(err)
	}
	read, err := ParseOwner(self.String())
	if err != nil || read != self {
		t.Errorf("%v read back as %v, %v", self, read, err)
	}
	unnamed := self
	unnamed.Machine = ""
	if read, err := ParseOwner(unnamed.String()); err != nil || read != unnamed || unnamed.Gone(self) {
		t.Errorf("without a machine: %v read back as %v, %v", unnamed, read, err)
	}
	if self.Machine == "" || strings.ContainsAny(self.Machine, " \n") {
		t.Errorf("machine %q", self.Machine)
	}
	if _, err := ParseOwner("nonsense"); err == nil {
		t.Error("nonsense is an owner")
	}
	change := func(f func(*Owner)) Owner {
		o := self
		f(&o)
		return o
	}
	tests := []struct {
		name  string
		owner Owner
		gone  bool
	}{
		{"this process", self, false},
		{"the parent, alive", change(func(o *Owner) { o.PID = os.Getppid(); o.Start, _ = StartTime(o.PID) }), false},
		{"another process under the same PID", change(func(o *Owner) { o.Start++ }), true},
		{"no such process", change(func(o *Owner) { o.PID = 1 << 30 }), true},
		{"before a reboot", change(func(o *Owner) { o.Boot = "earlier" }), true},
		{"before a reboot, from another PID namespace", change(func(o *Owner) { o.Boot = "earlier"; o.Namespace = "pid:[1]" }), true},
		{"on another machine", change(func(o *Owner) { o.Boot = "its own"; o.Machine = "other/host" }), false},
		{"on a machine that is not named", change(func(o *Owner) { o.Boot = "its own"; o.Machine = "" }), false},
		{"in another PID namespace", change(func(o *Owner) { o.PID = 1 << 30; o.Namespace = "pid:[1]" }), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.owner.Gone(self); got != test.gone {
				t.Errorf("gone: %v, want %v", got, test.gone)
			}
		})
	}
}
