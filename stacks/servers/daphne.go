package servers

import (
	"context"

	"stackmeter/scenarios"
	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// daphne is daphne: one process with Twisted's event loop over asyncio's.
// https://github.com/django/daphne
type daphne struct{}

func (daphne) Syntax() syntax.Server {
	return syntax.Server{
		Name:     "daphne",
		Classes:  []syntax.Class{{Lacks: "it is one process that takes requests without a bound in one event loop", ASGI: true, Keeps: 1}},
		Options:  true,
		Reserved: []string{"bind", "port", "unix-socket", "fd", "endpoint", "verbosity"},
		Unix:     true,
	}
}

func (daphne) Program() Program {
	return Program{Name: "daphne", Module: "daphne", Debian: "daphne"}
}

func (daphne) Serve(app stacks.Service, p scenarios.Plan, t scenarios.Topology) []stacks.Service {
	app.Command = []string{"daphne", "--bind={host}", "--port={port}"}
	if t.Unix {
		app.Command = []string{"daphne", "--unix-socket={socket}"} // open to all
	}
	app.Command = append(app.Command, "--verbosity=0") // no line in the log for each request
	app.Command = append(append(app.Command, furtherOptions(t)...), p.App.ASGI)
	return []stacks.Service{app}
}

// ReadBack implements Server.
func (daphne) ReadBack(ctx context.Context, _ scenarios.Topology, stack stacks.Stack) (Facts, error) {
	facts, err := stack.Inspect(ctx)
	found := Facts{Facts: facts, Interpreters: 1, Loop: "asyncio"}
	if err == nil && firstOf(appProcesses(facts), "daphne") == nil {
		found.Loop = ""
		found.unread("whether daphne runs (no process of it was found)")
	}
	return found, err
}
