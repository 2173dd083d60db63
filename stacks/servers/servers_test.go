package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// running is a stack that has the processes of an app.
type running struct {
	stacks.Stack
	processes []stacks.Process
	log       string
	inside    string // what the program of lookInside prints; empty: there is no Python
}

func stackOf(processes []stacks.Process, log, inside string) running {
	return running{processes: processes, log: log, inside: inside}
}

func (r running) Inspect(context.Context) (stacks.Facts, error) {
	return stacks.Facts{Services: []stacks.ServiceFacts{{Service: stacks.AppService, Processes: r.processes}}}, nil
}

func (r running) Logs(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, r.log)
	return err
}

func (r running) Exec(context.Context, string, ...string) ([]byte, error) {
	if r.inside == "" {
		return nil, errors.New("python3 was not found")
	}
	return []byte(r.inside), nil
}

// A reading is a list of processes, as a real server had them, and what ReadBack says
// of it.
type reading struct {
	name    string
	running running
	asked   scenarios.Topology
	want    string // as said prints it, or a part of the error
}

// read tries a server's readings.
func read(t *testing.T, server Server, readings []reading) {
	t.Helper()
	for _, r := range readings {
		found, err := server.ReadBack(t.Context(), r.asked, r.running)
		got := said(found)
		if err != nil {
			got = err.Error()
		}
		if errors.Is(err, stacks.ErrDiffers) != strings.HasPrefix(r.want, "differs: ") || !strings.Contains(got, strings.TrimPrefix(r.want, "differs: ")) {
			t.Errorf("%s: %s\nwant: %s", r.name, got, r.want)
		}
	}
}

func said(f Facts) string {
	var all []string
	for _, one := range []struct {
		letter string
		number *int
	}{{"w", f.Workers}, {"t", f.Threads}, {"c", f.Concurrency}} {
		if one.number != nil {
			all = append(all, fmt.Sprint(one.letter, *one.number))
		}
	}
	for _, text := range slices.Concat([]string{f.Class, f.Loop}, f.InForce, []string{fmt.Sprint("slots ", f.Slots), f.Unread}) {
		if text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, ", ")
}

// forked are processes as a server has them that forks workers: an init process, the
// server's own, and its children, by the signals that they handle.
func forked(command string, signals uint64, children ...uint64) []stacks.Process {
	list := []stacks.Process{{PID: 1, Command: "/sbin/docker-init -- " + command}, {PID: 7, Parent: 1, Signals: signals, Threads: 1, Command: command}}
	for i, child := range children {
		list = append(list, stacks.Process{PID: 8 + i, Parent: 7, Signals: child, Threads: 4, Command: command})
	}
	return list
}

// spawnedBy are processes as a server has them that makes workers by Python's
// multiprocessing.
func spawnedBy(command string, workers int) []stacks.Process {
	list := append(forked(command, 0x8304a07), stacks.Process{PID: 8, Parent: 7, Command: "/usr/bin/python3 -c from multiprocessing.resource_tracker import main;main(6)"})
	for i := range workers {
		list = append(list, stacks.Process{PID: 10 + i, Parent: 7, Signals: 0x100004002,
			Command: fmt.Sprintf("/usr/bin/python3 -c from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=7, pipe_handle=%d) --multiprocessing-fork", 9+4*i)})
	}
	return list
}

const nothing = "uvloop 0\nclosed 0\n\n"

// argv is the command line of a topology's first service, as the suite's plan has it.
func argv(t *testing.T, p scenarios.Plan, topology scenarios.Topology) string {
	t.Helper()
	spec, err := Expand("run", p, topology)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(spec.Services[0].Command, " ")
}

// A line is a topology and its command line.
type line struct {
	topology scenarios.Topology
	callable string // of the app; empty: wsgi:app and asgi:app
	want     string
}

func lines(t *testing.T, all []line) {
	t.Helper()
	for _, one := range all {
		p := plan()
		p.App.ASGI = "asgi:app"
		if one.callable != "" {
			p.App.WSGI, p.App.ASGI = one.callable, one.callable
		}
		if got := argv(t, p, one.topology); got != one.want {
			t.Errorf("%+v:\n%s\nwant\n%s", one.topology, got, one.want)
		}
	}
}

// TestRefused: what a server cannot do, or would be another one by, is refused where the
// scenario says it.
func TestRefused(t *testing.T) {
	for _, test := range []struct{ app, topology, want string }{
		{"", "uvicorn w2", ""},
		{"env: {UVICORN_RELOAD: 1}", "uvicorn", `the environment sets "UVICORN_RELOAD"`},
		{"env: {UVICORN_RELOAD: 1, UWSGI_CHEAPER: 1, WEB_CONCURRENCY: 4, GUNICORN_CMD_ARGS: --preload}", "gunicorn gevent", ""},
		{"env: {UWSGI_CHEAPER: 1}", "uwsgi w2/t4", `the environment sets "UWSGI_CHEAPER"`},
		{"", "{server: uvicorn, max_requests: 9}", "uvicorn takes max_requests from workers 2 on"},
		{"", "{server: uvicorn, max_requests: 9, workers: 2, loop: uvloop, http: h11}", ""},
		{"", "{server: hypercorn, loop: auto}", "choose one of asyncio, uvloop"},
		{"", "{server: gunicorn, options: {thread: 9}}", `the option "threads" is given by stackmeter`},
		{"", "{server: gunicorn, class: gevent, threads: 2}", "gunicorn gevent has no threads to set: each of its workers takes requests in greenlets"},
		{"", "{server: gunicorn, worker_tmp_dir: tmp}", "an absolute path"},
		{"", "{server: waitress, preload: true}", "waitress has no preload"},
		{"", "daphne w2", "daphne has no workers to set: it is one process"},
		{"asgi: a:make()", "daphne", "daphne calls no factory, and app.asgi is a:make()"},
		{"asgi: a:make()", "uvicorn", ""},
		{"asgi: 'a:make(1)'", "uvicorn", "uvicorn calls a factory without arguments only"},
		{"asgi: 'a:make(1)'", "hypercorn", ""},
	} {
		if !strings.Contains(test.app, "asgi") {
			test.app += ", asgi: asgi:app"
		}
		text := fmt.Sprintf("name: test\napp: {image: example/app, wsgi: wsgi:app, %s}\ntopologies:\n  - %s\nmatrix: {requests: 1, client: single}\n", strings.TrimPrefix(test.app, ", "), test.topology)
		_, err := scenarios.Loader{Servers: Known()}.Parse("test.yaml", []byte(text))
		if (err != nil) != (test.want != "") || err != nil && (!strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "test.yaml:4:")) {
			t.Errorf("%s, %s: %v; want %q", test.app, test.topology, err, test.want)
		}
	}
}
