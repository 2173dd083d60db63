package servers

import (
	"context"
	"fmt"

	"stackmeter/scenarios"
	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// custom is a command or a set of services of the scenario's own, or a server
// that is there already and needs no command. Its workers and threads only fill
// placeholders: what they mean to the programs is not known.
type custom string

func (c custom) Syntax() syntax.Server {
	return syntax.Server{Name: string(c), Classes: []syntax.Class{{}}}
}

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
		one.Env, one.Container = merged(app.Env, s.Env), s.Over(app.Container)
		if s.Image != "" {
			one = from(one, s.Image)
		}
		services = append(services, one)
	}
	return services
}

// ReadBack implements Server. Where a command of the scenario's own runs gunicorn,
// its workers can be compared with the topology's.
func (c custom) ReadBack(ctx context.Context, t scenarios.Topology, stack stacks.Stack) (Facts, error) {
	if c == scenarios.ServerExisting {
		facts, err := stack.Inspect(ctx)
		return Facts{Facts: facts}, err
	}
	found, first, err := awaitWorkers(ctx, stack, "gunicorn", t.Workers)
	if first != nil {
		found.Threads = optionNumber(first.Command, "--threads")
	}
	found.Loading = true
	switch {
	case err != nil:
	case found.Workers == nil:
		found.Unread = "what the scenario's own command runs: how many workers and threads is not known"
	case t.Workers == 0:
		found.Unread = "what the scenario's own command runs: gunicorn was found, and the topology has no workers to compare its own with"
	case *found.Workers != t.Workers:
		err = fmt.Errorf("%w: gunicorn runs with workers %d, and the topology says %d", stacks.ErrDiffers, *found.Workers, t.Workers)
	}
	return found, err
}
