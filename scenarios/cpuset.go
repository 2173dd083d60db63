package scenarios

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/show"
)

// maxCore is the highest number of a core that the kernel's sets can hold.
const maxCore = 1023

// ParseCpuset reads a list of cores as the kernel writes it: 0-3,6. It returns
// each core once, sorted.
func ParseCpuset(list string) ([]int, error) {
	var cores []int
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := core(from)
		if err != nil {
			return nil, err
		}
		last, err := core(to)
		if err != nil {
			return nil, err
		}
		if first > last {
			return nil, fmt.Errorf("cores %s: the first is greater than the last", part)
		}
		for c := first; c <= last; c++ {
			cores = append(cores, c)
		}
	}
	slices.Sort(cores)
	return slices.Compact(cores), nil
}

func core(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || strconv.Itoa(n) != text {
		return 0, fmt.Errorf("%s is not the number of a core", show.Quote(text))
	}
	if n > maxCore {
		return 0, fmt.Errorf("core %d is above the limit of %d", n, maxCore)
	}
	return n, nil
}

// FormatCpuset writes sorted cores as ParseCpuset reads them.
func FormatCpuset(cores []int) string {
	var parts []string
	for i := 0; i < len(cores); {
		last := i
		for last+1 < len(cores) && cores[last+1] == cores[last]+1 {
			last++
		}
		part := strconv.Itoa(cores[i])
		if last > i {
			part += "-" + strconv.Itoa(cores[last])
		}
		parts = append(parts, part)
		i = last + 1
	}
	return strings.Join(parts, ",")
}

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

// cpuset reads a list of cores and keeps its shortest form.
func (d *decoder) cpuset(n *yaml.Node, what string, into *string) {
	var list string
	if n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
		list = n.Value // a single core
	} else if !d.Text(n, what, &list) {
		return
	}
	cores, err := ParseCpuset(list)
	if err != nil {
		d.Problem(n, "a list of cores, for example 0-3,6", "%s: %v", what, err)
		return
	}
	*into = FormatCpuset(cores)
}

// Apart divides the cores of a machine between the client and the stack. nil
// means any core.
//
// If the scenario names cores for either of the two, that is all that is done.
// Otherwise, on four cores or more, the client gets every eighth core, at least
// one, and the stack gets the rest. If the client has more processes than that
// at once, it gets a core for each, but at most every fourth core, and no more
// than resources.cpus leaves. If nothing is left for the client, or if it is
// Python's, which needs as much as many an app, nothing is divided. Two threads
// of one physical core count as two cores.
func Apart(available []int, client Client, stack Resources, processes int) (clientCores, stackCores []int, err error) {
	if client.Cpuset != "" || stack.Cpuset != "" {
		if client.Cpuset != "" {
			if clientCores, err = ParseCpuset(client.Cpuset); err != nil {
				return nil, nil, fmt.Errorf("client.cpuset: %w", err)
			}
		}
		if stack.Cpuset != "" {
			if stackCores, err = ParseCpuset(stack.Cpuset); err != nil {
				return nil, nil, fmt.Errorf("resources.cpuset: %w", err)
			}
		}
		return clientCores, stackCores, nil
	}
	left := len(available) - int(math.Ceil(stack.CPUs))
	share := max(1, len(available)/(1+coresOfStack))
	if len(available) < fewestCoresApart || client.Engine == EnginePythonRequests || left < share {
		return nil, nil, nil
	}
	share = max(share, min(processes, len(available)/(1+fewestOfStack), left))
	cut := len(available) - share
	return available[cut:], available[:cut], nil
}

// ClientProcesses is the largest number of processes that the client has at once
// in any cell of the plan.
func (p Plan) ClientProcesses() int {
	most := 1
	for _, trial := range p.Trials {
		for _, cell := range trial.Cells {
			if cell.Load.Client == ClientMP {
				most = max(most, cell.Load.Pool)
			}
		}
	}
	return most
}
