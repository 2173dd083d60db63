//go:build linux

package process

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/scenarios/container"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// folder is a folder with executables and other files.
func folder(t *testing.T, programs map[string]string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range programs {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPrepare(t *testing.T) {
	r := machine(t, "python3")
	programs := folder(t, map[string]string{"flask": "#!/usr/bin/python3\n", "gunicorn": "#!/bin/sh\n", "own": ""}, "unusable")
	app := folder(t, map[string]string{"run/serve": "#!/bin/sh\n"}, "wsgi.py")
	venv := folder(t, map[string]string{"bin/python": "", "bin/venvonly": ""})
	realVenv := t.TempDir()
	if out, err := exec.Command("python3", "-m", "venv", "--without-pip", realVenv).CombinedOutput(); err != nil {
		t.Skipf("needs python3 -m venv: %v %s", err, out)
	}
	modules := folder(t, nil, "flask.py")
	site, err := filepath.Glob(filepath.Join(realVenv, "lib", "python3*", "site-packages"))
	if err != nil || len(site) != 1 {
		t.Fatal(site, err)
	}
	if err := os.WriteFile(filepath.Join(site[0], "flask.py"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", programs)
	services := func(list ...scenarios.Service) scenarios.Topology {
		return scenarios.Topology{Name: "set", Server: scenarios.ServerServices, Services: list}
	}
	command := func(argv ...string) scenarios.Topology {
		return scenarios.Topology{Name: "own", Server: scenarios.ServerCommand, Command: argv}
	}
	tests := []struct {
		name     string
		topology scenarios.Topology
		change   func(*scenarios.Plan)
		want     string // of the error; empty: none
	}{
		{"flask", stackstest.Flask, nil, ""},
		{"gunicorn", stackstest.Gunicorn, nil, ""},
		{"no flask", stackstest.Flask, func(p *scenarios.Plan) { p.App.Env = map[string]string{"PATH": "/nowhere"} },
			`its command "flask" is not on PATH (/nowhere); install it: apt-get install python3-flask, or pip install flask in a virtual environment that app.venv names`},
		{"no WSGI module", stackstest.Flask, func(p *scenarios.Plan) { p.App.WSGI = "nosuchmodule.sub:app" },
			"the app is nosuchmodule.sub:app, and /usr/bin/python3 finds no module nosuchmodule"},
		{"a WSGI module that is installed", stackstest.Flask, func(p *scenarios.Plan) { p.App.WSGI = "http.server:app" }, ""},
		{"an interpreter that is not known", stackstest.Gunicorn, func(p *scenarios.Plan) { p.App.WSGI = "nosuchmodule:app" }, ""},
		{"an image alone", stackstest.Flask, func(p *scenarios.Plan) { p.App.Dir, p.App.Image = "", "example/app" },
			"there is only an image, example/app, which a local process cannot be made from; set app.dir"},
		{"an image for this topology alone", scenarios.Topology{Name: "x", Server: "flask", Image: "example/other"}, nil,
			"example/other, which a local process cannot be made from; set app.dir to the app's folder, which stands in for app.image where that is one image"},
		{"nothing at all", stackstest.Flask, func(p *scenarios.Plan) { p.App.Dir = "" }, "no folder to run in; set app.dir"},
		{"a folder that is gone", stackstest.Flask, func(p *scenarios.Plan) { p.App.Dir = "/no/such" }, "/no/such: no such file"},
		{"a virtual environment that is gone", stackstest.Flask, func(p *scenarios.Plan) { p.App.Venv = "/no/venv" }, "make it with python3 -m venv /no/venv"},
		{"a virtual environment without the program", stackstest.Flask, func(p *scenarios.Plan) { p.App.Venv = venv },
			"app.venv has no flask; " + venv + "/bin/python -m pip install flask"},
		{"a virtual environment with the module alone", stackstest.Flask, func(p *scenarios.Plan) { p.App.Venv = realVenv }, ""},
		{"no program, but the module", stackstest.Flask, func(p *scenarios.Plan) {
			p.App.Env = map[string]string{"PATH": filepath.Join(realVenv, "bin"), "PYTHONPATH": modules}
		}, ""},
		{"a program of the virtual environment's", command("venvonly", "{port}"), func(p *scenarios.Plan) { p.App.Venv = venv }, ""},
		{"without it", command("venvonly", "{port}"), nil, `its command "venvonly" is not on PATH`},
		{"a program in the app's folder", command("run/serve", "{port}"), nil, ""},
		{"a file that is no program", command("./wsgi.py", "{port}"), nil, "permission denied"},
		{"a port of its own choice", command("own", "--port=8000"), nil, "its command takes no {port}"},
		{"a brace is not the port", command("own", "{{port}}"), nil, "its command takes no {port}"},
		{"an image's command", services(scenarios.Service{Name: "a"}), nil, "add command: [PROGRAM, …]"},
		{"an image of its own", services(scenarios.Service{Name: "a", Image: "redis:7"}), nil, "there is only an image, redis:7"},
		{"services by placeholder", services(
			scenarios.Service{Name: "back", Command: []string{"own", "{port}"}},
			scenarios.Service{Name: "front", Command: []string{"own", "{port}", "{host:back}:{port:back}"}}), nil, ""},
		{"a service that nobody connects to", services(
			scenarios.Service{Name: "worker", Command: []string{"own"}},
			scenarios.Service{Name: "front", Command: []string{"own", "{port}"}}), nil, ""},
		{"a service that another one connects to", services(
			scenarios.Service{Name: "back", Command: []string{"own"}},
			scenarios.Service{Name: "front", Command: []string{"own", "{port}", "{port:back}"}}), nil, "service back: its command takes no {port}"},
		{"services by name", services(
			scenarios.Service{Name: "back", Command: []string{"own", "{port}"}},
			scenarios.Service{Name: "front", Command: []string{"own", "{port}", "http://back:8000/"}}), nil,
			`"http://back:8000/" names the service back, and only containers know each other by name; write {host:back} and {port:back}`},
		{"services by name in the environment", services(
			scenarios.Service{Name: "back", Command: []string{"own", "{port}"}},
			scenarios.Service{Name: "front", Command: []string{"own", "{port}"}, Env: map[string]string{"BACK": "back:8000"}}), nil,
			`"back:8000" names the service back`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			spec := stackstest.Spec(t, "run", test.topology, func(p *scenarios.Plan) {
				p.App.Build, p.App.Dir = nil, app
				if test.change != nil {
					test.change(p)
				}
			})
			err := r.Prepare(t.Context(), spec, func(string) {})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if errors.Is(err, stacks.ErrUnavailable) {
				t.Errorf("the other topologies can run: %v", err)
			}
		})
	}
}

func TestPrograms(t *testing.T) {
	r := machine(t)
	programs := map[string]string{}
	for _, s := range servers.All() {
		programs[s.Program().Name] = ""
	}
	dir := folder(t, programs)
	t.Setenv("PATH", dir)
	for _, p := range r.Programs() {
		switch {
		case slices.ContainsFunc(servers.Proxies(), func(proxy servers.Proxy) bool { return proxy.Program().Name == p.Name }): // also looked for where this machine may have it
		case p.Name == "python3":
			if p.Path != "" || p.Remedy != "install it: apt-get install python3" {
				t.Errorf("%+v", p)
			}
		case p.Path != filepath.Join(dir, p.Name) || p.Remedy != "":
			t.Errorf("%+v", p)
		}
	}
}

func TestLimitsThatCannotBeKept(t *testing.T) {
	r := machine(t)
	tests := []struct {
		name    string
		noGroup bool
		change  func(*scenarios.Resources)
		want    string
	}{
		{"no groups", true, func(r *scenarios.Resources) { r.Memory = 1 << 30 }, "cannot be enforced on local processes here: control groups are switched off; take them out"},
		{"no groups, CPUs", true, func(r *scenarios.Resources) { r.CPUs = 0.5 }, "cannot be enforced"},
		{"too many CPUs", false, func(r *scenarios.Resources) { r.CPUs = 4000 }, "resources.cpus is 4000"},
		{"too much memory", false, func(r *scenarios.Resources) { r.Memory = 1 << 60 }, "resources.memory is"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if r.ungrouped = nil; test.noGroup {
				r.ungrouped = errNoGroup
			}
			spec := stackstest.Spec(t, "run", stackstest.Flask, func(p *scenarios.Plan) { test.change(&p.Resources) })
			err := r.Prepare(t.Context(), spec, func(string) {})
			if !errors.Is(err, stacks.ErrUnavailable) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestAttackPrivilegesOfAProcess: a user, capabilities and a file system of its own are
// a container's, and a limit that this machine does not have is no limit.
func TestAttackPrivilegesOfAProcess(t *testing.T) {
	r := machine(t)
	for name, change := range map[string]func(*scenarios.App){
		"user":         func(a *scenarios.App) { a.User = "svc" },
		"capabilities": func(a *scenarios.App) { a.Capabilities = []string{"CHOWN"} },
		"workdir":      func(a *scenarios.App) { a.Workdir = "/srv" },
		"shm_size":     func(a *scenarios.App) { a.ShmSize = 1 << 20 },
		"read_only":    func(a *scenarios.App) { a.ReadOnly = new(bool); *a.ReadOnly = true },
		"mounts":       func(a *scenarios.App) { a.Mounts = []container.Mount{{From: "/srv", To: "/models"}} },
		"tmpfs":        func(a *scenarios.App) { a.Tmpfs = map[string]int64{"/tmp": 1 << 20} },
	} {
		spec := stackstest.Spec(t, "run", stackstest.Flask, func(p *scenarios.Plan) { change(&p.App) })
		if err := r.Prepare(t.Context(), spec, func(string) {}); !errors.Is(err, stacks.ErrUnavailable) || !strings.Contains(err.Error(), "app."+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
