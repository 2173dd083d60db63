package servers

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"stackmeter/scenarios"
	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// flask is Flask's own server as people run it: one process, a thread for each
// connection.
type flask struct{}

func (flask) Syntax() syntax.Server {
	return syntax.Server{Name: "flask", Classes: []syntax.Class{{Lacks: "it makes a thread for each connection"}}, Decides: []string{"FLASK_DEBUG", "FLASK_RUN_"}, Factory: syntax.AnyFactory}
}

func (flask) Program() Program {
	return Program{Name: "flask", Module: "flask", Debian: "python3-flask"}
}

// flaskOptions make Flask's server what this package says it is. They win over
// FLASK_RUN_* of the image and of .flaskenv: a reloader loads the app twice, and
// without threads requests wait for each other.
func flaskOptions() []string { return []string{"--no-reload", "--no-debugger", "--with-threads"} }

func (flask) Serve(app stacks.Service, p scenarios.Plan, _ scenarios.Topology) []stacks.Service {
	app.Command = append([]string{"flask", "--app", p.App.WSGI, "run", "--host", "{host}", "--port", "{port}"}, flaskOptions()...)
	// For these there is no such option, or not in every version. An empty variable
	// counts as not given, and keeps .flaskenv from giving it.
	app.Env = maps.Clone(app.Env)
	maps.Copy(app.Env, map[string]string{"FLASK_DEBUG": "0", "FLASK_RUN_CERT": "", "FLASK_RUN_KEY": ""})
	return []stacks.Service{app}
}

// ReadBack implements Server. What the server is follows from the command line of
// the running process, as Serve made it.
func (flask) ReadBack(ctx context.Context, _ scenarios.Topology, stack stacks.Stack) (Facts, error) {
	facts, err := stack.Inspect(ctx)
	found := Facts{Facts: facts, Interpreters: 1, Unread: "whether Flask's server is one process with threads (no process of it was found)"}
	if err != nil {
		return found, err
	}
	for _, p := range appProcesses(facts) {
		if !runs(p.Command, "flask") {
			continue
		}
		if options := strings.Join(flaskOptions(), " "); !strings.HasSuffix(p.Command, options) {
			return found, fmt.Errorf("%w: Flask's server runs as %q, and not with %s: it may load the app twice, or have no threads; look for a program flask in the image that changes its arguments", stacks.ErrDiffers, p.Command, options)
		}
		found.Unread = ""
	}
	return found, nil
}
