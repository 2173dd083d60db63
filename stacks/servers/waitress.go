package servers

import (
	"context"
	"fmt"
	"strconv"

	"stackmeter/scenarios"
	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// waitress is waitress with a number of threads: one process that reads and
// buffers all connections in one thread and calls the app in the others.
// https://docs.pylonsproject.org/projects/waitress/en/stable/design.html
type waitress struct{}

func (waitress) Syntax() syntax.Server {
	return syntax.Server{
		Name:     "waitress",
		Classes:  []syntax.Class{{Threads: 4, Lacks: "it is one process", Keeps: 1}},
		Options:  true,
		Reserved: []string{"listen", "host", "port", "unix-socket", "unix-socket-perms", "threads", "call"},
		Unix:     true,
		Factory:  syntax.PlainFactory,
	}
}

func (waitress) Program() Program {
	return Program{Name: "waitress-serve", Module: "waitress", Debian: "python3-waitress"}
}

func (waitress) Serve(app stacks.Service, p scenarios.Plan, t scenarios.Topology) []stacks.Service {
	app.Command = []string{"waitress-serve", "--listen={host}:{port}"}
	if t.Unix {
		app.Command = []string{"waitress-serve", "--unix-socket={socket}", "--unix-socket-perms=666"}
	}
	app.Command = append(append(app.Command, "--threads="+strconv.Itoa(t.Threads)), furtherOptions(t)...)
	name, calls := factory(p.App.WSGI)
	if calls {
		app.Command = append(app.Command, "--call")
	}
	app.Command = append(app.Command, name)
	return []stacks.Service{app}
}

// ReadBack implements Server. The threads are in the command line of the running
// process. waitress starts all of them, beside the one that listens, before it
// listens: if fewer run, the command line is not what counts.
func (waitress) ReadBack(ctx context.Context, t scenarios.Topology, stack stacks.Stack) (Facts, error) {
	facts, err := stack.Inspect(ctx)
	found := Facts{Facts: facts, Interpreters: 1, Slots: t.Threads}
	if err != nil {
		return found, err
	}
	running := 0
	for _, p := range appProcesses(facts) {
		if n := optionNumber(p.Command, "--threads"); n != nil && (runs(p.Command, "waitress-serve") || runs(p.Command, "waitress")) {
			found.Threads, running = n, p.Threads
		}
	}
	switch {
	case found.Threads == nil:
		found.Unread = "the threads of waitress (no process of it was found)"
	case *found.Threads != t.Threads:
		return found, fmt.Errorf("%w: waitress runs with threads %d, and the topology says %d", stacks.ErrDiffers, *found.Threads, t.Threads)
	case running > 0 && running <= t.Threads: // 0: the runtime does not count them
		return found, fmt.Errorf("%w: waitress has %d threads running, and threads %d take at least one more", stacks.ErrDiffers, running, t.Threads)
	}
	return found, nil
}
