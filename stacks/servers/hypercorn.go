package servers

import (
	"cmp"
	"context"
	"strconv"

	"stackmeter/scenarios"
	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// hypercorn is hypercorn with a number of workers, each an event loop in a process of
// its own. https://hypercorn.readthedocs.io/en/latest/how_to_guides/configuring.html
type hypercorn struct{}

func (hypercorn) Syntax() syntax.Server {
	return syntax.Server{
		Name:     "hypercorn",
		Classes:  []syntax.Class{{Workers: 1, Lacks: oneLoop, ASGI: true, Keeps: 1}},
		Settings: []syntax.Setting{eventLoop, maxRequests},
		Options:  true,
		Reserved: []string{"bind", "insecure-bind", "quic-bind", "workers", "worker-class", "max-requests", "umask", "reload"},
		Unix:     true,
		Factory:  syntax.AnyFactory,
	}
}

func (hypercorn) Program() Program {
	return Program{Name: "hypercorn", Module: "hypercorn", Debian: "python3-hypercorn"}
}

func (hypercorn) Serve(app stacks.Service, p scenarios.Plan, t scenarios.Topology) []stacks.Service {
	app.Command = []string{"hypercorn", "--bind={host}:{port}"}
	if t.Unix {
		app.Command = []string{"hypercorn", "--bind=unix:{socket}", "--umask=0"}
	}
	app.Command = append(app.Command, "--workers="+strconv.Itoa(t.Workers), "--worker-class="+cmp.Or(t.Settings["loop"], "asyncio"))
	app.Command = append(app.Command, settings(t, map[string]string{"max_requests": "max-requests"})...)
	app.Command = append(app.Command, furtherOptions(t)...)
	app.Command = append(app.Command, p.App.ASGI)
	app.Needs = needs(t.Settings["loop"])
	return []stacks.Service{app}
}

// ReadBack implements Server. Workers are counted among the running processes. The
// loop is what hypercorn calls the class of its workers, and is in the command line.
func (h hypercorn) ReadBack(ctx context.Context, t scenarios.Topology, stack stacks.Stack) (Facts, error) {
	found, first, err := readSpawned(ctx, t, stack, h.Program())
	if first != nil {
		found.Loop, _ = option(first.Command, "--worker-class")
	}
	return found, err
}
