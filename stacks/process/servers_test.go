//go:build linux

package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// needed are the programs of all servers.
var needed = []string{"flask", "gunicorn", "uvicorn", "hypercorn", "waitress-serve", "uwsgi", "daphne"}

// inFolder is a folder with the suite's application and other files.
func inFolder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"wsgi.py", "asgi.py"} {
		text, err := os.ReadFile(filepath.Join(stackstest.App().Build.Context, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestInForce: what a server takes settings from that no topology says is told by its
// name, and no value is.
func TestInForce(t *testing.T) {
	r := machine(t, needed...)
	dir := inFolder(t, map[string]string{"gunicorn.conf.py": "keepalive = 9\n"})
	for _, test := range []struct {
		topology scenarios.Topology
		env      map[string]string
		want     []string
	}{
		{scenarios.Topology{Server: "gunicorn", Workers: 2, Threads: 1}, map[string]string{"GUNICORN_CMD_ARGS": "--backlog 64 --worker-class gevent", "WEB_CONCURRENCY": "5"},
			[]string{"file gunicorn.conf.py", "variable GUNICORN_CMD_ARGS", "variable WEB_CONCURRENCY"}},
		{scenarios.Topology{Server: "uvicorn", Workers: 2}, map[string]string{"UVICORN_LIMIT_CONCURRENCY": "77", "WEB_CONCURRENCY": "5"},
			[]string{"variable UVICORN_LIMIT_CONCURRENCY", "variable WEB_CONCURRENCY"}},
		{scenarios.Topology{Server: "uwsgi", Workers: 2, Threads: 1}, map[string]string{"UWSGI_LISTEN": "64"}, []string{"variable UWSGI_LISTEN"}},
	} {
		test.topology.Name = test.topology.Server
		spec, st := launch(t, r, test.topology, func(p *scenarios.Plan) { p.App.Dir, p.App.Env = dir, test.env })
		ready(t, spec, st)
		found, err := servers.Verify(t.Context(), spec, st)
		if err != nil || !slices.Equal(found.InForce, test.want) || found.Unread != "" {
			t.Errorf("%s: %q, want %q; not read: %q, %v", test.topology.Name, found.InForce, test.want, found.Unread, err)
		}
	}
}

// TestIni: a file with settings of uWSGI's does not win over the topology.
func TestIni(t *testing.T) {
	r := machine(t, needed...)
	dir := inFolder(t, map[string]string{"own.ini": "[uwsgi]\nthreads = 8\nprocesses = 3\nlisten = 64\n"})
	spec, st := launch(t, r, scenarios.Topology{Name: "uwsgi", Server: "uwsgi", Workers: 2, Threads: 4, ServerOptions: map[string]string{"ini": "own.ini"}}, func(p *scenarios.Plan) { p.App.Dir = dir })
	ready(t, spec, st)
	found, err := servers.Verify(t.Context(), spec, st)
	if err != nil {
		t.Fatal(err)
	}
	most := 0 // one worker may still load
	for _, p := range found.Services[0].Processes {
		most = max(most, p.Threads)
	}
	if most != 4 || *found.Workers != 2 {
		t.Errorf("%+v", found.Services)
	}
}

// TestFactories: each server calls the factories that it takes.
func TestFactories(t *testing.T) {
	r := machine(t, needed...)
	dir := inFolder(t, map[string]string{"made.py": `from starlette.middleware.wsgi import WSGIMiddleware
from wsgi import app

def make(name="nobody"):
    app.add_url_rule("/name", "name", lambda: name)
    return app

def make_asgi(name="nobody"):
    return WSGIMiddleware(make(name))
`})
	for _, server := range servers.Known().Servers {
		if server.Factory == 0 {
			continue
		}
		topology := scenarios.Topology{Name: server.Name, Server: server.Name, Workers: server.Classes[0].Workers, Threads: server.Classes[0].Threads}
		for call, want := range map[string]string{"()": "nobody", "('x y')": "x y"} {
			if why, _ := server.Refuses("wsgi", "made:make"+call, topology.Workers, nil); why != "" {
				continue
			}
			spec, st := launch(t, r, topology, func(p *scenarios.Plan) {
				p.App.Dir, p.App.WSGI, p.App.ASGI = dir, "made:make"+call, "made:make_asgi"+call
			})
			ready(t, spec, st)
			if got := body(t, st.URL()+"/name"); got != want {
				t.Errorf("%s%s: %q, want %q", server.Name, call, got, want)
			}
			if found, err := servers.Verify(t.Context(), spec, st); err != nil || found.Unread != "" {
				t.Errorf("%s%s: not read: %q, %v", server.Name, call, found.Unread, err)
			}
		}
	}
}

// TestPreloadedAppForks: where the app is loaded before the workers are forked, its own
// processes are none.
func TestPreloadedAppForks(t *testing.T) {
	r := machine(t, needed...)
	dir := inFolder(t, map[string]string{"managed.py": "import multiprocessing\nfrom wsgi import app\nmanager = multiprocessing.Manager()\nshared = manager.dict()\n"})
	for _, topology := range []scenarios.Topology{
		{Server: "gunicorn", Class: "gevent", Workers: 2, Concurrency: 10},
		{Server: "uwsgi", Workers: 2, Threads: 2},
	} {
		topology.Name, topology.Settings = topology.Server, map[string]string{"preload": "true"}
		spec, st := launch(t, r, topology, func(p *scenarios.Plan) { p.App.Dir, p.App.WSGI = dir, "managed:app" })
		ready(t, spec, st)
		found, err := servers.Verify(t.Context(), spec, st)
		if err != nil || found.Workers == nil || *found.Workers != 2 {
			t.Errorf("%s: workers %v: %v", topology.Name, found.Workers, err)
		}
		if all := found.Services[0].Processes; len(all) < 4 {
			t.Errorf("%s: no Manager runs: %+v", topology.Name, all)
		}
	}
}

// TestNeededModule: a module that a server's class or loop needs is missed before
// anything starts.
func TestNeededModule(t *testing.T) {
	r := machine(t, needed...)
	spec := stackstest.Spec(t, "run", scenarios.Topology{Name: "gevent", Server: "gunicorn", Class: "gevent", Workers: 1, Concurrency: 10}, nil)
	if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
		t.Fatal(err)
	}
	spec.Services[0].Needs = []stacks.Need{{Name: "nosuchmodule", Module: true, Debian: "python3-nosuch"}}
	if err := r.Prepare(t.Context(), spec, func(string) {}); err == nil || !strings.Contains(err.Error(), "needs the module nosuchmodule") || !strings.Contains(err.Error(), "apt-get install python3-nosuch") {
		t.Error(err)
	}
}

// TestUWSGIInVenv: uWSGI is no program of the virtual environment's Python, and takes its
// modules from there all the same.
func TestUWSGIInVenv(t *testing.T) {
	r := machine(t, needed...)
	dir := inFolder(t, map[string]string{"venved.py": "import onlyhere\nfrom wsgi import app\n"})
	venv := filepath.Join(t.TempDir(), "venv")
	if out, err := exec.Command("python3", "-m", "venv", "--without-pip", "--system-site-packages", venv).CombinedOutput(); err != nil {
		t.Skipf("needs python3 -m venv: %v %s", err, out)
	}
	packages, err := filepath.Glob(filepath.Join(venv, "lib", "python3*", "site-packages"))
	if err != nil || len(packages) != 1 {
		t.Fatal(packages, err)
	}
	if err := os.WriteFile(filepath.Join(packages[0], "onlyhere.py"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	spec, st := launch(t, r, scenarios.Topology{Name: "uwsgi", Server: "uwsgi", Workers: 1, Threads: 1}, func(p *scenarios.Plan) {
		p.App.Dir, p.App.Venv, p.App.WSGI = dir, venv, "venved:app"
	})
	ready(t, spec, st)
}

// TestLoop: the loop and the class that are read back are those in which the app runs.
func TestLoop(t *testing.T) {
	r := machine(t, needed...)
	dir := inFolder(t, map[string]string{"loop.py": `import asyncio

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": type(asyncio.get_running_loop()).__module__.encode()})
`})
	for _, test := range []struct {
		topology scenarios.Topology
		loop     string // empty: any
		want     string // beginning of the loop's module
	}{
		{scenarios.Topology{Server: "uvicorn", Workers: 2}, "", "uvloop"},
		{scenarios.Topology{Server: "uvicorn", Workers: 1}, "asyncio", "asyncio"},
		{scenarios.Topology{Server: "uvicorn", Workers: 1}, "uvloop", "uvloop"},
		{scenarios.Topology{Server: "hypercorn", Workers: 2}, "", "asyncio"},
		{scenarios.Topology{Server: "hypercorn", Workers: 1}, "uvloop", "uvloop"},
		{scenarios.Topology{Server: "gunicorn", Class: "asgi", Workers: 1}, "", "uvloop"},
		{scenarios.Topology{Server: "daphne"}, "", "asyncio"},
	} {
		test.topology.Name = test.topology.Server
		if test.loop != "" {
			test.topology.Settings = map[string]string{"loop": test.loop}
		}
		spec, st := launch(t, r, test.topology, func(p *scenarios.Plan) { p.App.Dir, p.App.ASGI = dir, "loop:app" })
		ready(t, spec, st)
		found, err := servers.Verify(t.Context(), spec, st)
		if got := body(t, st.URL()+"/"); err != nil || !strings.HasPrefix(got, test.want) || found.Loop != test.want || found.Unread != "" {
			t.Errorf("%s with loop %q: the app runs in %s, read back was %q; not read: %q, %v", test.topology.Name, test.loop, got, found.Loop, found.Unread, err)
		}
	}
}
