package lanes

import (
	"fmt"
	"math"

	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
)

// fewestCoresApart is how many cores a machine needs for the client to get cores
// of its own by default. On a smaller one it would take more from the stack than
// it disturbs.
const fewestCoresApart = 4

// coresOfStack is how many cores the stack gets for each of the client's. The
// native client needs a small part of what any application does.
const coresOfStack = 7

// fewestOfStack is how many cores the stack gets for each of the client's at
// least, if the client has several processes (mp). On one core they would wait
// for each other, and the latencies would show it. A core for each would leave
// too little of the machine to what is measured.
const fewestOfStack = 3

// apart divides the cores of a machine between the client and the stack. nil
// means any core.
//
// If the scenario names cores for either of the two, that is all that is done.
// Otherwise, on four cores or more, the client gets every eighth core, at least
// one, and the stack gets the rest. If the client has more processes than that
// at once, it gets a core for each, but at most every fourth core, and no more
// than resources.cpus leaves. If nothing is left for the client, or if it is
// Python's, which needs as much as many an app, nothing is divided. Two threads
// of one physical core count as two cores.
func apart(available []int, client scenarios.Client, stack scenarios.Resources, processes int) (clientCores, stackCores []int, err error) {
	if client.Cpuset != "" || stack.Cpuset != "" {
		if client.Cpuset != "" {
			if clientCores, err = units.ParseCpuset(client.Cpuset); err != nil {
				return nil, nil, fmt.Errorf("client.cpuset: %w", err)
			}
		}
		if stack.Cpuset != "" {
			if stackCores, err = units.ParseCpuset(stack.Cpuset); err != nil {
				return nil, nil, fmt.Errorf("resources.cpuset: %w", err)
			}
		}
		return clientCores, stackCores, nil
	}
	left := len(available) - int(math.Ceil(stack.CPUs))
	share := max(1, len(available)/(1+coresOfStack))
	if len(available) < fewestCoresApart || client.Engine == scenarios.EnginePythonRequests || left < share {
		return nil, nil, nil
	}
	share = max(share, min(processes, len(available)/(1+fewestOfStack), left))
	cut := len(available) - share
	return available[cut:], available[:cut], nil
}
