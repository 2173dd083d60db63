package servers

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// gunicorn is gunicorn with workers of one of its classes.
// https://docs.gunicorn.org/en/stable/design.html
type gunicorn struct{}

func (gunicorn) Syntax() syntax.Server {
	// A worker of the class sync closes each connection, those of the others keep
	// them: https://docs.gunicorn.org/en/stable/settings.html#keepalive
	const greenlets = "each of its workers takes requests in greenlets"
	const threads = "each thread of its workers takes one request"
	const usual = 1000 // gunicorn's own --worker-connections
	return syntax.Server{
		Name: "gunicorn",
		Classes: []syntax.Class{
			{Workers: 1, Threads: 1, Lacks: threads, Keeps: 2}, // sync, and with threads gthread
			{Name: "sync", Workers: 1, Lacks: "each of its workers takes one request"},
			{Name: "gthread", Workers: 1, Threads: 1, Lacks: threads, Keeps: 1},
			{Name: "gevent", Workers: 1, Concurrency: usual, Lacks: greenlets, Keeps: 1},
			{Name: "eventlet", Workers: 1, Concurrency: usual, Lacks: greenlets, Keeps: 1},
			{Name: "asgi", Workers: 1, Lacks: oneLoop, ASGI: true, Keeps: 1},
		},
		Settings: []syntax.Setting{preload, maxRequests, timeout, {
			Name: "worker_tmp_dir", Kind: syntax.Text, Pattern: regexp.MustCompile(`^/[^\x00-\x1f]*$`), Rule: "an absolute path",
			What: "The folder of the files by which gunicorn's workers say that they live. Usual is /dev/shm: on a slow file system they block.",
		}},
		Options:  true,
		Reserved: []string{"bind", "workers", "threads", "worker-class", "worker-connections", "worker-tmp-dir", "timeout", "preload", "max-requests", "reload", "daemon"},
		Unix:     true,
		Factory:  syntax.AnyFactory,
	}
}

func (gunicorn) Program() Program {
	return Program{Name: "gunicorn", Module: "gunicorn", Debian: "gunicorn",
		Variables: []string{"GUNICORN_CMD_ARGS", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "SENDFILE"}, Files: []string{"gunicorn.conf.py"}}
}

// uvicornWorker is the class of gunicorn's workers that serve ASGI. It is uvicorn's:
// gunicorn 23 has none of its own.
const uvicornWorker = "uvicorn.workers.UvicornWorker"

// workerClass is gunicorn's name of a topology's class.
func workerClass(t scenarios.Topology) string {
	switch {
	case t.Class == "asgi":
		return uvicornWorker
	case t.Class != "":
		return t.Class
	case t.Threads > 1:
		return "gthread"
	}
	return "sync"
}

func (g gunicorn) Serve(app stacks.Service, p scenarios.Plan, t scenarios.Topology) []stacks.Service {
	bind := "{host}:{port}"
	if t.Unix {
		bind = "unix:{socket}" // open to all, by gunicorn's usual umask of 0
	}
	// gunicorn kills a worker that is silent for this long. The client's time-out has
	// to end a slow inference before, and the ready time-out a slow import.
	silent := cmp.Or(whole(t.Settings["timeout"]), strconv.Itoa(gunicornTimeout(p.Request.Timeout, p.App.Ready.Timeout)))
	class := workerClass(t)
	app.Command = []string{"gunicorn", "--bind", bind, "--workers", strconv.Itoa(t.Workers), "--worker-class", class}
	if t.Threads > 0 {
		app.Command = append(app.Command, "--threads", strconv.Itoa(t.Threads))
	}
	if t.Concurrency > 0 {
		app.Command = append(app.Command, "--worker-connections", strconv.Itoa(t.Concurrency))
	}
	app.Command = append(app.Command, "--timeout", silent, "--worker-tmp-dir", literal(cmp.Or(t.Settings["worker_tmp_dir"], "/dev/shm")))
	if t.Settings["preload"] == "true" {
		app.Command = append(app.Command, "--preload")
	}
	app.Command = append(app.Command, settings(t, map[string]string{"max_requests": "max-requests"})...)
	app.Command = append(app.Command, furtherOptions(t)...)
	app.Command = append(app.Command, callable(g, p.App, t))
	module, _, _ := strings.Cut(class, ".")
	app.Needs = needs(module)
	return []stacks.Service{app}
}

// gunicornTimeout returns gunicorn's --timeout in whole seconds: a little more
// than the longer of the two, and never less than gunicorn's own default.
func gunicornTimeout(request, ready time.Duration) int {
	return max(30, int(math.Ceil(max(request, ready).Seconds()))+5)
}

// ReadBack implements Server. Workers are counted among the running processes. What
// they are is in the master's command line, which wins over all other settings, and
// the class is in the log, too.
func (g gunicorn) ReadBack(ctx context.Context, t scenarios.Topology, stack stacks.Stack) (Facts, error) {
	found, first, err := awaitWorkers(ctx, stack, "gunicorn", t.Workers)
	if err != nil {
		return found, err
	}
	want := workerClass(t)
	if found.Class, err = loggedClass(ctx, stack); err != nil {
		return found, err
	}
	if first != nil {
		if class, ok := option(first.Command, "--worker-class"); ok && found.Class == "" {
			found.Class = class
		}
		if t.Threads > 0 {
			found.Threads = optionNumber(first.Command, "--threads")
		}
		if t.Concurrency > 0 {
			found.Concurrency = optionNumber(first.Command, "--worker-connections")
		}
	}
	if err := found.compare("gunicorn", t); err != nil {
		return found, err
	}
	if found.Class != "" && found.Class != want {
		return found, fmt.Errorf("%w: gunicorn's workers are of the class %s, and the topology's are of the class %s; look for GUNICORN_CMD_ARGS and gunicorn.conf.py, or make it a topology with a command of its own", stacks.ErrDiffers, found.Class, want)
	}
	if found.Class == "" {
		found.unread("the class of gunicorn's workers (its log does not name it, and its processes have renamed themselves)")
	}
	found.Interpreters, found.Loading = t.Workers, t.Workers > 1
	found.Slots = t.Workers * max(t.Threads, t.Concurrency)
	if t.Class == "sync" {
		found.Slots = t.Workers
	}
	return found, found.lookInside(ctx, stack, g.Program(), want == uvicornWorker)
}

// works reports whether a child of gunicorn's master is a worker. The app can have
// forked it: where the master loads the app, a multiprocessing.Manager of the app's
// runs in a child that has the master's command line. A worker has kept the master's
// handler of SIGTTIN, by which workers are added, and gives up others that are the
// master's alone (https://docs.gunicorn.org/en/stable/signals.html). A child that was
// forked before the master handled signals does not handle SIGTTIN, and a later one
// handles all that the master does. What an app imports may handle some of them again:
// UCX, which comes with some builds of PyTorch, handles SIGHUP. Where the runtime
// knows nothing of signals, every child is a worker.
func works(child, master stacks.Process) bool {
	const hup, usr2, chld, ttin = 1 << 0, 1 << 11, 1 << 16, 1 << 20 // signals 1, 12, 17 and 21 by Linux's numbers
	const masters = hup | usr2 | chld
	return master.Signals == 0 || child.Signals&ttin != 0 && child.Signals&masters != masters
}

// loggedClass reads the class of gunicorn's workers in its log, which names it once at
// the start. It is empty if the log level hides it.
func loggedClass(ctx context.Context, stack stacks.Stack) (string, error) {
	var logs strings.Builder
	if err := stack.Logs(ctx, &logs); err != nil {
		return "", err
	}
	const sign = "Using worker: "
	for line := range strings.Lines(logs.String()) {
		if _, class, ok := strings.Cut(line, sign); ok {
			if class = strings.TrimSpace(class); class == "threads" {
				class = "gthread" // what gunicorn before 21 calls it there
			}
			return class, nil
		}
	}
	return "", nil
}
