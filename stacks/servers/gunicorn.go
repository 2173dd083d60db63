package servers

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// gunicorn is gunicorn with workers and threads, of the worker class that follows
// from these.
type gunicorn struct{}

func (gunicorn) Syntax() syntax.Server {
	// A worker of the class gthread keeps connections open, one of the class sync
	// does not: https://docs.gunicorn.org/en/stable/settings.html#keepalive
	return syntax.Server{Name: "gunicorn", Classes: []syntax.Class{{Workers: 1, Threads: 1, Keeps: 2, Lacks: "its workers take one request for each thread"}}}
}

func (gunicorn) Program() Program {
	return Program{Name: "gunicorn", Module: "gunicorn", Debian: "gunicorn"}
}

func (gunicorn) Serve(app stacks.Service, p scenarios.Plan, t scenarios.Topology) []stacks.Service {
	app.Command = []string{
		"gunicorn", "--bind", "{host}:{port}",
		"--workers", strconv.Itoa(t.Workers), "--threads", strconv.Itoa(t.Threads),
		// gunicorn kills a worker that is silent for this long. The client's
		// time-out has to end a slow inference before, and the ready time-out a
		// slow import.
		"--timeout", strconv.Itoa(gunicornTimeout(p.Request.Timeout, p.App.Ready.Timeout)),
		// On a slow file system a worker's heartbeat file blocks the worker;
		// gunicorn's FAQ says to keep it in memory.
		"--worker-tmp-dir", "/dev/shm",
		p.App.WSGI,
	}
	return []stacks.Service{app}
}

// gunicornTimeout returns gunicorn's --timeout in whole seconds: a little more
// than the longer of the two, and never less than gunicorn's own default.
func gunicornTimeout(request, ready time.Duration) int {
	return max(30, int(math.Ceil(max(request, ready).Seconds()))+5)
}

const (
	forkPatience = 10 * time.Second       // how long the master may take to fork its workers
	forkInterval = 100 * time.Millisecond // between two looks
)

// ReadBack implements Server. Workers are counted among the running processes,
// threads are in the master's command line, and the class is in the log.
func (gunicorn) ReadBack(ctx context.Context, t scenarios.Topology, stack stacks.Stack) (Facts, error) {
	found, err := awaitWorkers(ctx, t, stack)
	if err != nil {
		return found, err
	}
	switch {
	case found.Workers == nil || *found.Workers != t.Workers:
		return found, fmt.Errorf("%w: gunicorn runs with workers %s, and the topology says %d; look for settings in the image that win over the command line", stacks.ErrDiffers, number(found.Workers), t.Workers)
	case found.Threads != nil && *found.Threads != t.Threads:
		return found, fmt.Errorf("%w: gunicorn runs with threads %d in each worker, and the topology says %d", stacks.ErrDiffers, *found.Threads, t.Threads)
	}
	class, err := workerClass(ctx, stack)
	if err != nil {
		return found, err
	}
	if want := classFor(t.Threads); class != "" && class != want {
		return found, fmt.Errorf("%w: gunicorn's workers are of the class %s, and those with threads %d are of the class %s; look for GUNICORN_CMD_ARGS and gunicorn.conf.py, or make it a topology with a command of its own", stacks.ErrDiffers, class, t.Threads, want)
	}
	var unread []string
	if found.Threads == nil {
		unread = append(unread, "the threads of gunicorn's workers (its processes have renamed themselves)")
	}
	if class == "" {
		unread = append(unread, "the class of gunicorn's workers (its log does not name it)")
	}
	found.Unread = strings.Join(unread, ", ")
	found.Interpreters, found.Slots, found.Loading = t.Workers, t.Workers*t.Threads, t.Workers > 1
	return found, nil
}

// awaitWorkers inspects the stack until the master has forked as many workers
// as it was asked for: the first one may answer before the last one is there.
func awaitWorkers(ctx context.Context, t scenarios.Topology, stack stacks.Stack) (Facts, error) {
	deadline := time.Now().Add(forkPatience)
	for {
		facts, err := stack.Inspect(ctx)
		found := Facts{Facts: facts}
		if err != nil {
			return found, err
		}
		found.Workers, found.Threads = readGunicorn(facts)
		enough := found.Workers == nil || *found.Workers >= t.Workers
		if enough || time.Now().After(deadline) {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return found, context.Cause(ctx)
		case <-time.After(forkInterval):
		}
	}
}

// readGunicorn finds workers and threads in the processes of the app's service.
// The master is the gunicorn process whose parent is not one. workers is nil without
// a gunicorn process. threads is nil if the master's command line does not say.
func readGunicorn(facts stacks.Facts) (workers, threads *int) {
	all := appProcesses(facts)
	gunicorn := map[int]bool{}
	for _, p := range all {
		gunicorn[p.PID] = runs(p.Command, "gunicorn")
	}
	for _, p := range all {
		if !gunicorn[p.PID] {
			continue
		}
		n := len(workersOf(all))
		workers = &n
		if n, ok := option(p.Command, "--threads"); ok && !gunicorn[p.Parent] {
			threads = &n
		}
	}
	return workers, threads
}

// works reports whether a child of gunicorn's master is a worker. The app can have
// forked it: with --preload the master loads the app, and a multiprocessing.Manager
// of the app's runs in a child that has the master's command line. A worker handles
// SIGUSR1, to reopen its logs, and gives up what is the master's alone
// (https://docs.gunicorn.org/en/stable/signals.html). A child that was forked
// before the master handled signals does not handle SIGUSR1, and a later one handles
// all that the master does. What an app imports may handle some of them again: UCX,
// which comes with some builds of PyTorch, handles SIGHUP. Where the runtime
// knows nothing of signals, every child is a worker.
func works(child, master stacks.Process) bool {
	const hup, usr1, usr2, chld = 1 << 0, 1 << 9, 1 << 11, 1 << 16 // signals 1, 10, 12 and 17 by Linux's numbers
	const masters = hup | usr2 | chld
	return master.Signals == 0 || child.Signals&usr1 != 0 && child.Signals&masters != masters
}

// classFor returns the worker class that gunicorn uses by itself for a number of
// threads (gunicorn's documentation of --threads).
func classFor(threads int) string {
	if threads > 1 {
		return "gthread"
	}
	return "sync"
}

// workerClass reads gunicorn's worker class in its log, which names it once at the
// start. It is empty if the log level hides it.
func workerClass(ctx context.Context, stack stacks.Stack) (string, error) {
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
