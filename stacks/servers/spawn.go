package servers

import (
	"context"
	"regexp"
	"strings"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// spawned reports whether a child of a server that makes its workers by Python's
// multiprocessing is one: there is a process beside them that tracks their resources.
// A server with one worker may be that itself, and then its children are the app's.
func spawned(child, master stacks.Process) bool {
	workers := optionNumber(master.Command, "--workers", "-w")
	return workers != nil && *workers > 1 && !strings.Contains(child.Command, "multiprocessing.resource_tracker")
}

// readSpawned reads back a server that makes its workers by Python's multiprocessing,
// and compares their number with the topology's. first is the server's own process,
// nil if none was found.
func readSpawned(ctx context.Context, t scenarios.Topology, stack stacks.Stack, p Program) (found Facts, first *stacks.Process, err error) {
	want := t.Workers
	if want == 1 {
		want = 0
	}
	if found, first, err = awaitWorkers(ctx, stack, p.Name, want); err != nil {
		return found, nil, err
	}
	if first != nil && want == 0 {
		if n := optionNumber(first.Command, "--workers"); n != nil && *n == 1 {
			found.Workers = n
		}
	}
	found.Interpreters, found.Loading = t.Workers, t.Workers > 1
	return found, first, found.compare(p.Name, t)
}

var childDied = regexp.MustCompile(`Child process \[(\d+)\] died`)

// uvicornDied reports whether uvicorn's supervisor replaced a worker that had not
// finished by itself: one that has served as many requests as it may says so before it
// ends. What a worker said may be cut off where the logs begin.
func uvicornDied(logs string) bool {
	lines := strings.Split(strings.TrimSpace(logs), "\n")
	for i, line := range lines {
		m := childDied.FindStringSubmatch(line)
		cut := len(lines) >= stacks.LogLines && i < stacks.LogLines/2
		if m != nil && !cut && !strings.Contains(logs, "Finished server process ["+m[1]+"]") {
			return true
		}
	}
	return false
}
