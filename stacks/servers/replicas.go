package servers

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"stackmeter/stacks"
)

// readBack reads back each replica of the server.
func readBack(ctx context.Context, server Server, spec stacks.Spec, stack stacks.Stack) (Facts, error) {
	if spec.Topology.Replicas < 2 {
		return server.ReadBack(ctx, spec.Topology, stack)
	}
	var all Facts
	for i, name := range spec.Answering() {
		one, err := server.ReadBack(ctx, spec.Topology, alone{stack, name})
		if err != nil {
			return one, fmt.Errorf("service %s: %w", name, err)
		}
		if i == 0 {
			all = one
			continue
		}
		all.Interpreters, all.Slots, all.Unread = all.Interpreters+one.Interpreters, all.Slots+one.Slots, cmp.Or(all.Unread, one.Unread)
	}
	all.Loading = true
	var err error
	all.Facts, err = stack.Inspect(ctx)
	return all, err
}

// alone is a replica of the app as a stack of its own.
type alone struct {
	stacks.Stack
	name string
}

// Inspect implements stacks.Stack.
func (a alone) Inspect(ctx context.Context) (stacks.Facts, error) {
	facts, err := a.Stack.Inspect(ctx)
	for _, s := range facts.Services {
		if s.Service == a.name {
			s.Service = stacks.AppService
			facts.Services = []stacks.ServiceFacts{s}
		}
	}
	return facts, err
}

// Exec implements stacks.Stack.
func (a alone) Exec(ctx context.Context, _ string, argv ...string) ([]byte, error) {
	return a.Stack.Exec(ctx, a.name, argv...)
}

// Logs implements stacks.Stack.
func (a alone) Logs(ctx context.Context, w io.Writer) error {
	var all strings.Builder
	err := a.Stack.Logs(ctx, &all)
	for line := range strings.Lines(all.String()) {
		if rest, mine := strings.CutPrefix(line, a.name+" | "); mine {
			fmt.Fprintf(w, "%s | %s", stacks.AppService, rest)
		}
	}
	return err
}
