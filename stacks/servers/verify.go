package servers

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// Verify reads back what really runs and compares it with what was asked for: the
// server with the topology, the GPUs with the spec, and the configuration of a proxy.
// The error of a difference wraps stacks.ErrDiffers.
func Verify(ctx context.Context, spec stacks.Spec, stack stacks.Stack) (Facts, error) {
	server, err := serverOf(spec.Topology)
	if err != nil {
		return Facts{}, err
	}
	found, err := readBack(ctx, server, spec, stack)
	if err != nil {
		return found, err
	}
	gpu, err := stacks.SeenGPUs(ctx, spec, found.Facts, stack)
	if err != nil {
		return found, err
	}
	found.GPU = gpu
	for i, s := range spec.Services {
		if s.Proxy == nil {
			continue
		}
		proxy, err := proxyOf(s.Proxy.Software)
		if err != nil {
			return found, err
		}
		if found.Proxy, err = proxy.Loaded(ctx, stack, found.Services[i]); err != nil {
			return found, err
		}
	}
	return found, nil
}

const (
	forkPatience = 10 * time.Second       // how long a server may take to fork its workers
	forkInterval = 100 * time.Millisecond // between two looks
)

// awaitWorkers inspects the stack until a server has as many workers as it was asked
// for: the first one may answer before the last one is there. first is the server's
// own process; without one it is nil, and Facts.Workers too.
func awaitWorkers(ctx context.Context, stack stacks.Stack, server string, want int) (found Facts, first *stacks.Process, err error) {
	deadline := time.Now().Add(forkPatience)
	for {
		facts, err := stack.Inspect(ctx)
		found := Facts{Facts: facts}
		if err != nil {
			return found, nil, err
		}
		if first = firstOf(appProcesses(facts), server); first != nil {
			n := len(workersOf(appProcesses(facts)))
			found.Workers = &n
		}
		if first == nil || *found.Workers >= want || time.Now().After(deadline) {
			return found, first, nil
		}
		select {
		case <-ctx.Done():
			return found, first, context.Cause(ctx)
		case <-time.After(forkInterval):
		}
	}
}

// firstOf returns the process of a program whose parent is not one; nil without any.
func firstOf(processes []stacks.Process, program string) *stacks.Process {
	is := map[int]bool{}
	for _, p := range processes {
		is[p.PID] = runs(strings.ToLower(p.Command), program)
	}
	for i, p := range processes {
		if is[p.PID] && !is[p.Parent] {
			return &processes[i]
		}
	}
	return nil
}

// compare notes which of the topology's numbers were not found. One that differs is an
// error that wraps stacks.ErrDiffers.
func (f *Facts) compare(server string, t scenarios.Topology) error {
	for _, one := range []struct {
		name  string
		found *int
		want  int
	}{{"workers", f.Workers, t.Workers}, {"threads", f.Threads, t.Threads}, {"concurrency", f.Concurrency, t.Concurrency}} {
		switch {
		case one.want == 0:
		case one.found == nil && f.Workers == nil:
			f.unread(fmt.Sprintf("the %s of %s (no process of it was found)", one.name, server))
		case one.found == nil:
			f.unread(fmt.Sprintf("the %s of %s (its processes have renamed themselves)", one.name, server))
		case *one.found != one.want:
			return fmt.Errorf("%w: %s runs with %s %d, and the topology says %d; look for settings in the image that win over the command line", stacks.ErrDiffers, server, one.name, *one.found, one.want)
		}
	}
	return nil
}

// unread adds what could not be read back.
func (f *Facts) unread(what string) {
	if f.Unread != "" {
		f.Unread += ", "
	}
	f.Unread += what
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
		if !same(p, parent) || same(parent, byPID[parent.Parent]) {
			continue
		}
		if s := supervisorOf(parent); s == nil || s.works == nil || s.works(p, parent) {
			found = append(found, worker{p, parent})
		}
	}
	return found
}

// program is the name of the program that a process runs, without its folder and
// its version. For a process that renamed itself "PROGRAM: …" it is PROGRAM.
func program(p stacks.Process) string {
	first, _, _ := strings.Cut(p.Command, " ")
	return strings.TrimRight(strings.TrimSuffix(first[strings.LastIndexByte(first, '/')+1:], ":"), "0123456789.")
}

// A supervisor is a server whose first process keeps the number of its workers.
type supervisor struct {
	name  string
	works func(child, master stacks.Process) bool // tells a worker from another child; nil: there are no others
	died  func(logs string) bool                  // reports a worker that ended by itself, beside what death matches; may be nil
}

// What supervisors write when they replace a worker on purpose, or because it died:
// https://docs.gunicorn.org/en/stable/settings.html#max-requests,
// https://uwsgi-docs.readthedocs.io/en/latest/Options.html. gunicorn before 21 has
// words of its own for a signal, and names an exit status from 21 on.
var (
	supervisors = []supervisor{{"gunicorn", works, nil}, {"uwsgi", uwsgiWorks, nil}, {"nginx", nil, nil}, {"uvicorn", spawned, uvicornDied}, {"hypercorn", spawned, nil}}
	recycle     = regexp.MustCompile(`(?i)max.requests|maximum request limit|worker.lifetime|autorestarting worker|cheap`)
	death       = regexp.MustCompile(`(?i)was sent SIG|terminated due to signal|\(pid:\d+\) exited with code [1-9]|killed by signal|DAMN ! worker|exited on signal|worker timeout`)
)

// supervisorOf returns the supervisor that a process is, or nil.
func supervisorOf(p stacks.Process) *supervisor {
	for i, s := range supervisors {
		if runs(strings.ToLower(p.Command), s.name) {
			return &supervisors[i]
		}
	}
	return nil
}

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
		one, said := gone[0], logs()
		known := supervisorOf(one.master)
		onPurpose := recycle.MatchString(one.master.Command+"\n"+said) && !death.MatchString(said)
		if known != nil && known.died != nil {
			onPurpose = onPurpose && !known.died(said)
		}
		switch {
		case known != nil && !onPurpose:
			return false, fmt.Errorf("service %s: %s's workers ended during the cell: processes %v are gone, %v are new; the logs say why", s.Service, known.name, pids(gone), pids(added))
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
// --name VALUE or --name=VALUE. It may have several names.
func option(command string, names ...string) (text string, ok bool) {
	args := strings.Fields(command)
	for i, a := range args {
		for _, name := range names {
			if value, found := strings.CutPrefix(a, name+"="); found {
				text, ok = value, true
			} else if a == name && i+1 < len(args) {
				text, ok = args[i+1], true
			}
		}
	}
	return text, ok
}

// optionNumber is option for a number. It is nil if there is none.
func optionNumber(command string, names ...string) *int {
	text, _ := option(command, names...)
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil
	}
	return &n
}
