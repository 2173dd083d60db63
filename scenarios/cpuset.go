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

// maxCore bounds the numbers of cores: what the kernel's sets can hold.
const maxCore = 1023

// ParseCpuset reads a list of cores as the kernel writes it: 0-3,6. The cores
// are sorted, each once.
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

// fewestCoresApart is how many cores a machine needs for the client to be kept
// apart by default: with fewer, what the client would take from the stack is
// more than what it disturbs.
const fewestCoresApart = 4

// coresOfStack is how many of the stack's cores go with one of the client's:
// the native client needs a small part of what any application does.
const coresOfStack = 7

// fewestOfStack is how many of the stack's cores go with one of the client's at
// least, where that has processes of its own (mp). On one core they would wait for
// each other, which would be in the latencies; a core for each would leave too
// little of the machine to what is measured.
const fewestOfStack = 3

// cpuset reads a list of cores, and keeps it in its shortest form.
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

// Apart says on which cores of a machine the client and the stack run; nil is
// any of them. A scenario that names cores for either of the two is followed,
// and nothing is added to it. Otherwise, from four cores on, the client gets
// the last one of every eight, at least one, and the stack the rest. processes
// is the most that the client has at once: where it has more than that, it gets
// a core for each, up to one of every four and to what each of the stack's
// services leaves. Nobody is kept apart where that leaves the client none.
// Python's client needs more than that, as much as many an app, and is not kept
// apart. Two threads of one physical core count as two cores.
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

// ClientProcesses is the most processes that the client has at once in any of the
// plan's cells.
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
