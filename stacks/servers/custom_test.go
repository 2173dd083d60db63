package servers

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// TestAttackCommandIsUnverified: what a command of the scenario's own runs is not
// known until something was read back.
func TestAttackCommandIsUnverified(t *testing.T) {
	gunicorn := []stacks.Process{
		{PID: 7, Command: "python3 /usr/bin/gunicorn -w 2 wsgi:app"},
		{PID: 8, Parent: 7, Command: "python3 /usr/bin/gunicorn -w 2 wsgi:app"},
		{PID: 9, Parent: 7, Command: "python3 /usr/bin/gunicorn -w 2 wsgi:app"},
	}
	for _, test := range []struct {
		name      string
		processes []stacks.Process
		workers   int // of the topology
		unread    string
		differs   bool
	}{
		{"some server", []stacks.Process{{PID: 7, Command: "uwsgi --processes 2"}}, 2, "workers and threads is not known", false},
		{"gunicorn, and nothing to compare with", gunicorn, 0, "the topology has no workers", false},
		{"gunicorn as asked", gunicorn, 2, "", false},
		{"gunicorn with other workers", gunicorn, 1, "", true},
	} {
		topology := scenarios.Topology{Server: scenarios.ServerCommand, Workers: test.workers}
		found, err := Verify(t.Context(), stacks.Spec{Topology: topology}, running{processes: test.processes})
		if errors.Is(err, stacks.ErrDiffers) != test.differs || !strings.Contains(found.Unread, test.unread) || test.unread == "" && found.Unread != "" {
			t.Errorf("%s: not read: %q, %v", test.name, found.Unread, err)
		}
	}
}

// TestAttackUpstreamKeepalive: nginx keeps connections only to a server of which it
// is known that it keeps them, or where the scenario says so.
func TestAttackUpstreamKeepalive(t *testing.T) {
	s, err := scenarios.Loader{Servers: Known()}.Parse("test.yaml", []byte(`
name: test
app: {image: example/app, wsgi: wsgi:app, asgi: asgi:app}
topologies:
  - nginx + flask
  - nginx + gunicorn t1
  - nginx + gunicorn t2
  - nginx + waitress
  - {name: own, nginx: true, command: [uwsgi]}
  - {name: asked, nginx: {upstream_keepalive: 7}, command: [uvicorn]}
  - {name: off, server: gunicorn, threads: 4, nginx: {upstream_keepalive: 0}}
  - nginx + gunicorn sync
  - nginx + gunicorn gthread t1
  - nginx + gunicorn gevent
  - nginx + gunicorn asgi
  - nginx + uvicorn
  - nginx + hypercorn
  - nginx + daphne
  - nginx + uwsgi t4
matrix: {requests: 1, client: single}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []int{0, 0, 32, 32, 0, 7, 0, 0, 32, 32, 32, 32, 32, 32, 0}
	for i, topology := range s.Topologies {
		spec, err := Expand("run", s.Plan(), topology)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		if found := regexp.MustCompile(`\skeepalive (\d+);`).FindStringSubmatch(spec.Entry().Proxy.Config); found != nil {
			got, _ = strconv.Atoi(found[1])
		}
		if got != want[i] {
			t.Errorf("%s: nginx keeps %d connections, want %d", topology.Name, got, want[i])
		}
	}
}

// TestAttackPrivilegesByService: a topology has privileges of its own instead of the
// app's, and a service instead of its topology's.
func TestAttackPrivilegesByService(t *testing.T) {
	s, err := scenarios.Loader{Servers: Known()}.Parse("test.yaml", []byte(`
name: test
app: {image: example/app, wsgi: wsgi:app, user: svc, capabilities: [CHOWN]}
topologies:
  - flask
  - {name: root, server: gunicorn, user: root}
  - {name: web, command: [serve], capabilities: [SETUID, KILL], nginx: true}
  - name: two
    user: "7:7"
    services: [{name: queue, image: example/queue, user: queue, capabilities: [NET_RAW]}, {name: web, command: [serve]}]
matrix: {requests: 1, client: single}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, topology := range s.Topologies {
		spec, err := Expand("run", s.Plan(), topology)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range spec.Services {
			got = append(got, fmt.Sprint(one.Name, " ", one.Container.User, one.Container.Capabilities))
		}
	}
	want := []string{"app svc[CHOWN]", "app root[CHOWN]", "app svc[KILL SETUID]", "nginx []", "queue queue[NET_RAW]", "web 7:7[CHOWN]"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if s.Topologies[0].SameApp(s.Topologies[1]) {
		t.Error("topologies of different users count as the same app")
	}
}

// TestAttackFlaskIsDecided: a scenario cannot make server flask another one, and
// what runs is read back.
func TestAttackFlaskIsDecided(t *testing.T) {
	for _, env := range []string{"FLASK_DEBUG: 1", "FLASK_RUN_WITH_THREADS: false", "FLASK_RUN_PORT: 5000", "FLASK_RUN_CERT: adhoc"} {
		for _, text := range []string{
			"app: {image: example/app, wsgi: wsgi:app, env: {" + env + "}}\ntopologies: [flask]",
			"app: {image: example/app, wsgi: wsgi:app}\ntopologies: [{server: flask, env: {" + env + "}}]",
		} {
			loader := scenarios.Loader{Servers: Known()}
			_, err := loader.Parse("test.yaml", []byte("name: test\n"+text+"\nmatrix: {requests: 1, client: single}\n"))
			if name, _, _ := strings.Cut(env, ":"); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v", text, err)
			}
			_, err = loader.Parse("test.yaml", []byte("name: test\n"+strings.ReplaceAll(text, "flask", "gunicorn")+"\nmatrix: {requests: 1, client: single}\n"))
			if err != nil {
				t.Errorf("of gunicorn: %v", err)
			}
		}
	}
	for _, test := range []struct {
		command string
		unread  bool
		differs bool
	}{
		{"python3 /usr/bin/flask --app wsgi:app run --port 80 --no-reload --no-debugger --with-threads", false, false},
		{"/venv/bin/python -m flask --app wsgi:app run --port 80 --no-reload --no-debugger --with-threads", false, false},
		{"python3 /usr/bin/flask --app wsgi:app run --port 80 --no-reload --no-debugger --with-threads --without-threads", false, true},
		{"python3 /usr/bin/flask --app wsgi:app run --debug", false, true},
		{"python3 serve.py", true, false},
	} {
		found, err := flask{}.ReadBack(t.Context(), scenarios.Topology{}, running{processes: []stacks.Process{{PID: 7, Command: test.command}}})
		if errors.Is(err, stacks.ErrDiffers) != test.differs || err == nil && (found.Unread != "") != test.unread {
			t.Errorf("%s: %+v, %v", test.command, found, err)
		}
	}
}
