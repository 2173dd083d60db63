package servers

import (
	"context"
	"fmt"
	"regexp"
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

// A worker is a process that a server forked to answer requests.
type worker struct {
	stacks.Process
	master stacks.Process
}

// workersOf returns the workers among a service's processes: those whose parent runs
// the same program, and whose grandparent does not. The children of a worker look
// the same, but belong to the app.
func workersOf(processes []stacks.Process) []worker {
	byPID := map[int]stacks.Process{}
	for _, p := range processes {
		byPID[p.PID] = p
	}
	same := func(a, b stacks.Process) bool { return program(a) != "" && program(a) == program(b) }
	var found []worker
	for _, p := range processes {
		parent := byPID[p.Parent]
		if same(p, parent) && !same(parent, byPID[parent.Parent]) && (!runs(p.Command, "gunicorn") || works(p, parent)) {
			found = append(found, worker{p, parent})
		}
	}
	return found
}

// program is the name of the program that a process runs, without its folder. For
// a process that renamed itself "PROGRAM: …" it is PROGRAM.
func program(p stacks.Process) string {
	first, _, _ := strings.Cut(p.Command, " ")
	return strings.TrimSuffix(first[strings.LastIndexByte(first, '/')+1:], ":")
}

// Servers whose number of workers stays the same, and what they write when they
// replace one on purpose, or because it died: https://docs.gunicorn.org/en/stable/settings.html#max-requests,
// https://uwsgi-docs.readthedocs.io/en/latest/Options.html
var (
	steady  = []string{"gunicorn", "uwsgi", "nginx"}
	recycle = regexp.MustCompile(`(?i)max.requests|worker.lifetime|autorestarting worker|cheap`)
	death   = regexp.MustCompile(`(?i)was sent SIG|killed by signal|exited on signal|worker timeout`)
)

// SameWorkers compares the workers of a stack at both edges of a cell. A worker that
// died lost requests or time that the figures do not show: that is an error. A worker
// that its server replaced on purpose, or may have, is not; recycled then says so.
// logs is called if one is gone.
func SameWorkers(before, after stacks.Facts, logs func() string) (recycled bool, err error) {
	for i, s := range before.Services {
		was, is := workersOf(s.Processes), workersOf(after.Services[i].Processes)
		gone, added := without(was, is), without(is, was)
		if len(gone) == 0 {
			continue
		}
		one := gone[0]
		known := slices.IndexFunc(steady, func(name string) bool { return runs(strings.ToLower(one.Command), name) })
		said := logs()
		switch onPurpose := recycle.MatchString(one.master.Command+"\n"+said) && !death.MatchString(said); {
		case known >= 0 && !onPurpose:
			return false, fmt.Errorf("service %s: %s's workers ended during the cell: processes %v are gone, %v are new; the logs say why", s.Service, steady[known], pids(gone), pids(added))
		case len(added) > 0:
			recycled = true
		}
	}
	return recycled, nil
}

// without returns the workers that are not among others.
func without(workers, others []worker) []worker {
	return slices.DeleteFunc(slices.Clone(workers), func(w worker) bool {
		return slices.ContainsFunc(others, func(o worker) bool { return o.PID == w.PID && o.Start == w.Start })
	})
}

func pids(workers []worker) []int {
	list := make([]int, len(workers))
	for i, w := range workers {
		list[i] = w.PID
	}
	return list
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
