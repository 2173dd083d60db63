package servers

import (
	"context"
	"fmt"
	"strconv"

	"stackmeter/scenarios"
	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// uwsgi is uWSGI that speaks HTTP itself, with workers below a master and threads.
// https://uwsgi-docs.readthedocs.io/en/latest/Options.html
type uwsgi struct{}

func (uwsgi) Syntax() syntax.Server {
	return syntax.Server{
		Name:     "uwsgi",
		Classes:  []syntax.Class{{Workers: 1, Threads: 1, Lacks: "each of its threads takes one request"}}, // it closes each connection
		Settings: []syntax.Setting{preload, maxRequests, timeout},
		Options:  true,
		Reserved: []string{"plugin", "http-socket", "socket", "http", "chmod-socket", "master", "need-app", "lazy-apps", "enable-threads", "disable-logging", "die-on-term", "home", "processes", "workers", "threads", "max-requests", "harakiri", "module", "wsgi-file"},
		Unix:     true,
		Decides:  []string{"UWSGI_"},
		Factory:  syntax.PlainFactory,
	}
}

// Program implements Server. The program is not started by Python.
func (uwsgi) Program() Program {
	return Program{Name: "uwsgi", Debian: "uwsgi-core uwsgi-plugin-python3", Variables: []string{"UWSGI_"}}
}

func (uwsgi) Serve(app stacks.Service, p scenarios.Plan, t scenarios.Topology) []stacks.Service {
	// The last one of an option counts, and those of an --ini are where it stands.
	app.Command = append([]string{"uwsgi", "--plugin=python3"}, furtherOptions(t)...)
	if t.Unix {
		app.Command = append(app.Command, "--http-socket={socket}", "--chmod-socket=666")
	} else {
		app.Command = append(app.Command, "--http-socket={host}:{port}")
	}
	app.Command = append(app.Command, "--master", "--need-app", "--enable-threads", "--die-on-term",
		"--disable-logging", // of requests: a line for each costs as much as a small answer
		"--processes="+strconv.Itoa(t.Workers), "--threads="+strconv.Itoa(t.Threads))
	if t.Settings["preload"] != "true" {
		app.Command = append(app.Command, "--lazy-apps")
	}
	if app.Venv != "" {
		app.Command = append(app.Command, "--home="+literal(app.Venv))
	}
	app.Command = append(app.Command, settings(t, map[string]string{"max_requests": "max-requests", "timeout": "harakiri"})...)
	app.Command = append(app.Command, "--module="+p.App.WSGI)
	app.Needs = []stacks.Need{{Name: "uWSGI's plugin for Python", Sign: "unrecognized option '--module", Debian: "uwsgi-plugin-python3"}}
	return []stacks.Service{app}
}

// ReadBack implements Server. Workers are counted among the running processes. Threads
// are in the master's command line; a worker starts all of them before it takes
// requests: if fewer run, the command line is not what counts.
func (u uwsgi) ReadBack(ctx context.Context, t scenarios.Topology, stack stacks.Stack) (Facts, error) {
	found, first, err := awaitWorkers(ctx, stack, "uwsgi", t.Workers)
	if err != nil {
		return found, err
	}
	if first != nil {
		found.Threads = optionNumber(first.Command, "--threads")
	}
	running := 0 // in the worker that has most: others may still load the app
	for _, w := range workersOf(appProcesses(found.Facts)) {
		running = max(running, w.Threads)
	}
	if running > 0 && running < t.Threads { // 0: the runtime does not count them
		return found, fmt.Errorf("%w: a worker of uwsgi has %d threads running, and the topology says threads %d", stacks.ErrDiffers, running, t.Threads)
	}
	found.Interpreters, found.Slots, found.Loading = t.Workers, t.Workers*t.Threads, t.Workers > 1
	if err := found.compare("uwsgi", t); err != nil {
		return found, err
	}
	return found, found.lookInside(ctx, stack, u.Program(), false)
}

// uwsgiWorks reports whether a child of uWSGI's master is a worker. The app can have
// forked it, where it is loaded before the workers are, and there can be mules and
// spoolers. A worker alone handles SIGUSR2, to say what it works on
// (https://uwsgi-docs.readthedocs.io/en/latest/Management.html). Where the runtime
// knows nothing of signals, every child is a worker.
func uwsgiWorks(child, master stacks.Process) bool {
	const usr2 = 1 << 11 // signal 12 by Linux's numbers
	return master.Signals == 0 || child.Signals&usr2 != 0
}
