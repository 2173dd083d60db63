package servers

import (
	"context"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// flask is Flask's own server as people run it: one process, a thread for each
// connection.
type flask struct{}

func (flask) Syntax() scenarios.Server {
	return scenarios.Server{Name: "flask", Lacks: "it makes a thread for each connection"}
}

func (flask) Program() Program {
	return Program{Name: "flask", Module: "flask", Debian: "python3-flask"}
}

func (flask) Serve(app stacks.Service, p scenarios.Plan, _ scenarios.Topology) []stacks.Service {
	app.Command = []string{"flask", "--app", p.App.WSGI, "run", "--host", "{host}", "--port", "{port}"}
	return []stacks.Service{app}
}

func (flask) ReadBack(ctx context.Context, _ scenarios.Topology, stack stacks.Stack) (Facts, error) {
	facts, err := stack.Inspect(ctx)
	return Facts{Facts: facts, Interpreters: 1}, err
}

func (flask) WorkerPIDs(stacks.Facts) []int { return nil }
