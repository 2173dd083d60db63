package servers

import (
	"context"
	"strconv"

	"stackmeter/scenarios"
	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// uvicorn is uvicorn with a number of workers, each an event loop in a process of its
// own. With one there is no other process; with more a supervisor starts them and
// replaces those that end. https://www.uvicorn.org/settings/
type uvicorn struct{}

func (uvicorn) Syntax() syntax.Server {
	workers := maxRequests
	workers.Workers = 2
	return syntax.Server{
		Name:     "uvicorn",
		Classes:  []syntax.Class{{Workers: 1, Lacks: oneLoop, ASGI: true, Keeps: 1}},
		Settings: []syntax.Setting{eventLoop, httpReader, workers, limitConcurrency},
		Options:  true,
		Reserved: []string{"host", "port", "uds", "fd", "workers", "no-access-log", "loop", "http", "limit-max-requests", "limit-concurrency", "factory", "reload", "app-dir"},
		Unix:     true,
		Decides:  []string{"UVICORN_"},
		Factory:  syntax.PlainFactory,
	}
}

const oneLoop = "each of its workers takes requests without a bound in one event loop"

// Settings that several servers have.
var (
	eventLoop        = syntax.Setting{Name: "loop", Kind: syntax.Word, Words: []string{"asyncio", "uvloop"}, What: "The event loop. Usual is asyncio, and of uvicorn uvloop where it is installed."}
	httpReader       = syntax.Setting{Name: "http", Kind: syntax.Word, Words: []string{"h11", "httptools"}, What: "What reads HTTP. Usual is httptools where it is installed, and else h11."}
	maxRequests      = syntax.Setting{Name: "max_requests", Kind: syntax.Whole, Least: 1, Most: 1 << 30, What: "Requests after which a worker is replaced; usually none is. Cells in which that happens are flagged recycled."}
	limitConcurrency = syntax.Setting{Name: "limit_concurrency", Kind: syntax.Whole, Least: 1, Most: syntax.MaxConcurrency, What: "Connections and requests that a worker has at once. What comes above is answered with status 503. Usually there is no limit."}
	preload          = syntax.Setting{Name: "preload", Kind: syntax.Truth, What: "The app is loaded once, before the workers are forked. Usually each worker loads it."}
	timeout          = syntax.Setting{Name: "timeout", Kind: syntax.Span, Most: 86400, What: "Whole seconds after which a worker that works on one request, or says nothing, is killed; 0: never. Usual of gunicorn is a little more than request.timeout and app.ready.timeout, of uwsgi 0."}
)

func (uvicorn) Program() Program {
	return Program{Name: "uvicorn", Module: "uvicorn", Debian: "uvicorn", Variables: []string{"UVICORN_", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS"}}
}

func (u uvicorn) Serve(app stacks.Service, p scenarios.Plan, t scenarios.Topology) []stacks.Service {
	app.Command = []string{"uvicorn", "--host={host}", "--port={port}"}
	if t.Unix {
		app.Command = []string{"uvicorn", "--uds={socket}"} // open to all
	}
	// A line in the log for each request costs as much as a small answer.
	app.Command = append(app.Command, "--no-access-log", "--workers="+strconv.Itoa(t.Workers))
	app.Command = append(app.Command, settings(t, map[string]string{"loop": "loop", "http": "http", "max_requests": "limit-max-requests", "limit_concurrency": "limit-concurrency"})...)
	app.Command = append(app.Command, furtherOptions(t)...)
	name, calls := factory(p.App.ASGI)
	if calls {
		app.Command = append(app.Command, "--factory")
	}
	app.Command = append(app.Command, name)
	app.Needs = needs(t.Settings["loop"], t.Settings["http"])
	return []stacks.Service{app}
}

// ReadBack implements Server. Workers are counted among the running processes. Which
// loop they have is in the command line, or it is seen by what they have loaded.
func (u uvicorn) ReadBack(ctx context.Context, t scenarios.Topology, stack stacks.Stack) (Facts, error) {
	found, first, err := readSpawned(ctx, t, stack, u.Program())
	if err != nil {
		return found, err
	}
	if limit, _ := strconv.Atoi(t.Settings["limit_concurrency"]); limit > 0 {
		found.Slots = t.Workers * limit
	}
	if first != nil {
		found.Loop, _ = option(first.Command, "--loop")
	}
	return found, found.lookInside(ctx, stack, u.Program(), found.Loop == "")
}
