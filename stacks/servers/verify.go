package servers

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"stackmeter/stacks"
)

// Verify reads back what really runs and compares it with what was asked for: the
// server with the topology, the GPUs with the spec, and whether nginx passes
// requests on. The error of a difference wraps stacks.ErrDiffers.
func Verify(ctx context.Context, spec stacks.Spec, stack stacks.Stack) (Facts, error) {
	server, err := serverOf(spec.Topology)
	if err != nil {
		return Facts{}, err
	}
	found, err := server.ReadBack(ctx, spec.Topology, stack)
	if err != nil {
		return found, err
	}
	gpu, err := stacks.SeenGPUs(ctx, spec, found.Facts, stack)
	if err != nil {
		return found, err
	}
	found.GPU = gpu
	for _, s := range spec.Services {
		if s.Role != stacks.RoleNginx {
			continue
		}
		if found.Nginx, err = loadedNginx(ctx, stack, s, found.Facts); err != nil {
			return found, err
		}
	}
	return found, nil
}

// SameWorkers fails when the server's workers no longer have the PIDs from before.
// A worker that was killed and replaced lost requests or time that the figures do
// not show.
func SameWorkers(ctx context.Context, spec stacks.Spec, stack stacks.Stack, before []int) error {
	if len(before) == 0 {
		return nil
	}
	server, err := serverOf(spec.Topology)
	if err != nil {
		return err
	}
	facts, err := stack.Inspect(ctx)
	if err != nil {
		return err
	}
	if now := server.WorkerPIDs(facts); !slices.Equal(now, before) {
		return fmt.Errorf("%s's workers were replaced during the cell: their PIDs were %v and are %v; the logs say why", server.Syntax().Name, before, now)
	}
	return nil
}

// runs reports whether a process runs the program: an interpreter does, and so does
// a process that renamed itself "PROGRAM: …". An init process that only has the
// program among its arguments does not.
func runs(command, program string) bool {
	args := strings.Fields(command)
	for i, a := range args {
		base := a[strings.LastIndexByte(a, '/')+1:]
		switch {
		case strings.TrimSuffix(base, ":") == program:
			return true
		case i == 0 && strings.HasPrefix(base, "python"), strings.HasPrefix(a, "-"):
			continue
		}
		return false
	}
	return false
}

// option returns the last value of an option in a command line, written as
// --name N or --name=N.
func option(command, name string) (n int, ok bool) {
	args := strings.Fields(command)
	for i, a := range args {
		value, found := strings.CutPrefix(a, name+"=")
		if a == name && i+1 < len(args) {
			value, found = args[i+1], true
		}
		if v, err := strconv.Atoi(value); found && err == nil {
			n, ok = v, true
		}
	}
	return n, ok
}

// number prints a count that may not be known.
func number(n *int) string {
	if n == nil {
		return "no"
	}
	return strconv.Itoa(*n)
}
