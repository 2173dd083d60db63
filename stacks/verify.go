package stacks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"stackmeter/scenarios"
)

// Verified is what Verify found beyond the runtime's facts.
type Verified struct {
	Facts      Facts
	Workers    *int   // gunicorn: worker processes that run
	WorkerPIDs []int  // sorted
	Threads    *int   // gunicorn: threads of each worker, from the running master's command line
	Class      string // gunicorn: its worker class, from its log
	Unread     string // what could not be read back, and so was not compared; empty when all was
	Nginx      string // the configuration that the running nginx was started with
}

// ErrDiffers marks a stack that is not what its topology asks for.
var ErrDiffers = errors.New("the stack is not what was asked for")

const forkPatience = 10 * time.Second // for gunicorn's master to have forked its workers

// Verify reads back what really runs and compares it with the topology. Its
// error wraps ErrDiffers when they are not the same.
func Verify(ctx context.Context, spec Spec, stack Stack) (Verified, error) {
	found, err := readWorkers(ctx, spec, stack)
	if err != nil {
		return found, err
	}
	t := spec.Topology
	if t.Server == scenarios.ServerGunicorn {
		switch {
		case found.Workers == nil || *found.Workers != t.Workers:
			return found, fmt.Errorf("%w: gunicorn runs with workers %s, and the topology says %d; look for settings in the image that win over the command line", ErrDiffers, number(found.Workers), t.Workers)
		case found.Threads != nil && *found.Threads != t.Threads:
			return found, fmt.Errorf("%w: gunicorn runs with threads %d in each worker, and the topology says %d", ErrDiffers, *found.Threads, t.Threads)
		}
		if found.Class, err = workerClass(ctx, stack); err != nil {
			return found, err
		}
		if want := classFor(t.Threads); found.Class != "" && found.Class != want {
			return found, fmt.Errorf("%w: gunicorn's workers are of the class %s, and those with threads %d are of the class %s; look for GUNICORN_CMD_ARGS and gunicorn.conf.py, or make it a topology with a command of its own", ErrDiffers, found.Class, t.Threads, want)
		}
		found.Unread = unread(found)
	}
	if seen, err := SeenGPUs(ctx, spec, found.Facts, stack); err != nil {
		return found, err
	} else if seen != "" {
		found.Facts.GPU = seen
	}
	if m := spec.Services[0].MPS; m != nil {
		found.Facts.GPU += ", " + mpsText(m)
	}
	for _, s := range spec.Services {
		if s.Role != RoleNginx {
			continue
		}
		if found.Nginx, err = loadedNginx(ctx, stack, s, found.Facts); err != nil {
			return found, err
		}
	}
	return found, nil
}

// readWorkers inspects the stack until gunicorn's master has forked as many
// workers as it was asked for: the first one may answer before the last one
// is there.
func readWorkers(ctx context.Context, spec Spec, stack Stack) (Verified, error) {
	deadline := time.Now().Add(forkPatience)
	for {
		facts, err := stack.Inspect(ctx)
		if err != nil {
			return Verified{Facts: facts}, err
		}
		found := Verified{Facts: facts}
		if spec.Topology.Server != scenarios.ServerGunicorn {
			return found, nil
		}
		found.Workers, found.WorkerPIDs, found.Threads = Gunicorn(facts)
		enough := found.Workers != nil && *found.Workers >= spec.Topology.Workers
		if enough || time.Now().After(deadline) {
			return found, nil
		}
		select {
		case <-ctx.Done():
			return found, context.Cause(ctx)
		case <-time.After(probeSlowest):
		}
	}
}

// Gunicorn reads gunicorn's workers and threads off the processes of the app
// service: the master is the gunicorn process whose parent is none, the
// workers are its children. What a worker forks looks like one, and is the
// app's own affair. workers is nil when there is no gunicorn process;
// threads is nil when the master's command line does not say.
func Gunicorn(facts Facts) (workers *int, pids []int, threads *int) {
	var all []Process
	for _, s := range facts.Services {
		if s.Service == AppService {
			all = s.Processes
		}
	}
	gunicorn := map[int]Process{}
	for _, p := range all {
		if isGunicorn(p.Command) {
			gunicorn[p.PID] = p
		}
	}
	for pid, p := range gunicorn {
		parent, child := gunicorn[p.Parent]
		_, grandchild := gunicorn[parent.Parent]
		switch n, ok := option(p.Command, "--threads"); {
		case child && !grandchild:
			pids = append(pids, pid)
		case !child && ok:
			threads = &n
		}
	}
	if len(gunicorn) == 0 {
		return nil, nil, nil
	}
	slices.Sort(pids)
	n := len(pids)
	return &n, pids, threads
}

// isGunicorn tells gunicorn's own processes (an interpreter that runs the
// gunicorn program, or a process that renamed itself "gunicorn: …") from an
// init process that has gunicorn among its arguments.
func isGunicorn(command string) bool {
	args := strings.Fields(command)
	for i, a := range args {
		base := a[strings.LastIndexByte(a, '/')+1:]
		switch {
		case strings.TrimSuffix(base, ":") == "gunicorn":
			return true
		case i == 0 && strings.HasPrefix(base, "python"), strings.HasPrefix(a, "-"):
			continue
		}
		return false
	}
	return false
}

// option is the last value of an option in a command line, as --name N or
// --name=N.
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

// classFor is the worker class that gunicorn takes for a number of threads,
// when nothing else is asked for (gunicorn's documentation of --threads).
func classFor(threads int) string {
	if threads > 1 {
		return "gthread"
	}
	return "sync"
}

// workerClass reads gunicorn's worker class off its log, which names it once
// at the start; empty when it does not, because its log level hides it.
func workerClass(ctx context.Context, stack Stack) (string, error) {
	var logs strings.Builder
	if err := stack.Logs(ctx, &logs); err != nil {
		return "", err
	}
	const sign = "Using worker: "
	for line := range strings.Lines(logs.String()) {
		if _, class, ok := strings.Cut(line, sign); ok {
			if class = strings.TrimSpace(class); class == "threads" {
				class = "gthread" // what gunicorn before 21 calls it there
			}
			return class, nil
		}
	}
	return "", nil
}

// unread names what of gunicorn could not be read back.
func unread(found Verified) string {
	var what []string
	if found.Threads == nil {
		what = append(what, "the threads of gunicorn's workers (its processes have renamed themselves)")
	}
	if found.Class == "" {
		what = append(what, "the class of gunicorn's workers (its log does not name it)")
	}
	return strings.Join(what, ", ")
}

// number prints a count that may not be known.
func number(n *int) string {
	if n == nil {
		return "no"
	}
	return strconv.Itoa(*n)
}
