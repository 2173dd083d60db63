package servers

import (
	"context"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// custom is a command or a set of services of the scenario's own, or a server
// that is there already and needs no command. Its workers and threads only fill
// placeholders: what they mean to the programs is not known.
type custom string

func (c custom) Syntax() scenarios.Server { return scenarios.Server{Name: string(c)} }

func (custom) Program() Program { return Program{} }

func (c custom) Serve(app stacks.Service, _ scenarios.Plan, t scenarios.Topology) []stacks.Service {
	if c != scenarios.ServerServices {
		app.Command = t.Command
		return []stacks.Service{app}
	}
	var services []stacks.Service
	for _, s := range t.Services {
		one := app
		one.Name, one.Role, one.Command, one.Port = s.Name, stacks.RoleOther, s.Command, s.Port
		one.Env = merged(app.Env, s.Env)
		if s.Image != "" {
			one = from(one, s.Image)
		}
		services = append(services, one)
	}
	return services
}

func (c custom) ReadBack(ctx context.Context, _ scenarios.Topology, stack stacks.Stack) (Facts, error) {
	facts, err := stack.Inspect(ctx)
	return Facts{Facts: facts, Loading: c != scenarios.ServerExisting}, err
}

func (custom) WorkerPIDs(stacks.Facts) []int { return nil }
