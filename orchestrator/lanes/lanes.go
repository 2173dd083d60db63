// Package lanes divides what a machine has between lanes, each of which measures one
// cell at a time: devices by UUID, cores, and of these those of the client.
package lanes

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/units"
	"stackmeter/stacks"
)

// Cores are those of the load client and of the stacks; nil: any.
type Cores struct{ Client, Stacks []int }

// A Share is what lanes have.
type Share struct {
	Devices [][]string // of each lane, by UUID; of stacks that get theirs when they start: none
	None    string     // why there are none, if the scenario would use one
	Most    int        // stacks that such a machine has devices for at once; 0: not known, or these are the same for all
	Room    string     // why those are as many
}

// Devices are those of each lane of a plan. The error wraps stacks.ErrUnavailable when the
// scenario cannot have what it asks for.
func Devices(ctx context.Context, runtime stacks.Runtime, plan scenarios.Plan) (Share, error) {
	want := plan.Resources.GPU
	each, none, err := runtime.Devices(ctx, want)
	alone := plan.Lanes == 0 || plan.Lanes == 1
	if err != nil || alone && plan.Fresh != scenarios.FreshRun {
		return Share{Devices: [][]string{each}, None: none}, err
	}
	if placer, is := runtime.(stacks.Placer); is && none == "" && want.Mode != scenarios.GPUOff && want.Mode != "" {
		return placed(ctx, placer, plan)
	}
	if alone {
		return Share{Devices: [][]string{each}, None: none}, nil
	}
	all := each
	if len(each) > 0 && len(want.Devices) == 0 {
		want.Count = scenarios.AllGPUs
		if all, _, err = runtime.Devices(ctx, want); err != nil {
			return Share{}, err
		}
	}
	devices, err := share(plan, each, all)
	return Share{Devices: devices, None: none}, err
}

// placed are lanes whose stacks get devices when they start: as many as find some then.
func placed(ctx context.Context, placer stacks.Placer, plan scenarios.Plan) (Share, error) {
	room, err := scarcest(ctx, placer, plan)
	if err != nil {
		return Share{}, err
	}
	n := max(1, plan.Lanes)
	if plan.Lanes == scenarios.AutoLanes {
		n = max(1, room.Free)
	} else if room.All > 0 && n > room.All {
		return Share{}, fmt.Errorf("%w: lanes is %d, and there is room for %s at once: %s; lanes: auto has as many as there can be now",
			stacks.ErrUnavailable, n, show.Plural(room.All, "stack"), room.Why)
	}
	return Share{Devices: make([][]string, n), Most: room.Free, Room: room.Why}, nil
}

// scarcest is the room for stacks of a plan's topologies: any of them may be on all lanes
// at once, so that it is that of the one for which there is least.
func scarcest(ctx context.Context, placer stacks.Placer, plan scenarios.Plan) (least stacks.Room, err error) {
	type kind struct {
		product string
		cpus    float64
	}
	asked := map[kind]bool{}
	for _, trial := range plan.Trials {
		needs := plan.Resources.Of(trial.Topology)
		of := kind{needs.GPU.Product, needs.CPUs}
		if asked[of] {
			continue
		}
		room, err := placer.Room(ctx, needs, plan.Client)
		if err != nil {
			return stacks.Room{}, err
		}
		if of.product != "" {
			room.Why += " (" + of.product + ")"
		}
		if len(asked) == 0 || room.Free < least.Free {
			least = room
		}
		asked[of] = true
	}
	return least, nil
}

// share divides devices. Each lane has as many as a stack asks for by resources.gpu.count,
// or its part of those that resources.gpu.devices names.
func share(plan scenarios.Plan, each, all []string) ([][]string, error) {
	n, per := plan.Lanes, len(each)
	named := len(plan.Resources.GPU.Devices) > 0
	switch {
	case len(all) == 0:
		return make([][]string, max(1, n)), nil
	case named && n == scenarios.AutoLanes:
		n, per = len(all), 1
	case named:
		if len(all)%n > 0 {
			return nil, fmt.Errorf("%w: lanes is %d, and resources.gpu.devices names %s, which cannot be divided evenly among them", stacks.ErrUnavailable, n, show.Plural(len(all), "device"))
		}
		per = len(all) / n
	case n == scenarios.AutoLanes:
		n = len(all) / per
	}
	if n*per > len(all) {
		return nil, fmt.Errorf("%w: lanes is %d, each with %s (resources.gpu.count), and this machine has %s: %s; lanes: auto has as many as there can be",
			stacks.ErrUnavailable, n, show.Plural(per, "device"), show.Plural(len(all), "device"), strings.Join(all, ", "))
	}
	return slices.Collect(slices.Chunk(all[:n*per], per)), nil
}

// Divide divides the cores of this machine, on which the stacks run too (nil: they do
// not), among so many lanes.
//
// Cores that the scenario names are divided as they are listed. Otherwise lanes get
// whole physical cores, of one NUMA node where there are several, and of each lane's
// cores the client gets some as it would of a machine's. Where they are too few to be
// divided, all lanes share them.
func Divide(n int, available []Core, plan scenarios.Plan) ([]Cores, error) {
	processes := plan.ClientProcesses()
	client, stack, err := apart(ids(available), plan.Client, plan.Resources, processes)
	all := slices.Repeat([]Cores{{client, stack}}, max(1, n))
	if err != nil || n <= 1 {
		return all, err
	}
	if plan.Client.Cpuset != "" || plan.Resources.Cpuset != "" {
		for _, named := range []struct {
			key   string
			cores []int
			of    func(*Cores) *[]int
		}{
			{"client.cpuset", client, func(c *Cores) *[]int { return &c.Client }},
			{"resources.cpuset", stack, func(c *Cores) *[]int { return &c.Stacks }},
		} {
			if per := len(named.cores) / n; len(named.cores) > 0 && per == 0 {
				return nil, fmt.Errorf("lanes is %d, and %s has only %s: %s; name more, or have fewer lanes", n, named.key, show.Plural(len(named.cores), "core"), units.FormatCpuset(named.cores))
			}
			for i := range all {
				if len(named.cores) > 0 {
					*named.of(&all[i]) = part(named.cores, i, n)
				}
			}
		}
		return all, nil
	}
	parts := byNode(available, n)
	for _, cores := range parts {
		if len(cores) < max(fewestCoresApart, int(math.Ceil(plan.Resources.CPUs))) {
			return all, nil
		}
	}
	for i, cores := range parts {
		client, stack, _ := apart(ids(cores), plan.Client, plan.Resources, processes) // no cores are named that could be wrong
		if client == nil {
			client, stack = ids(cores), ids(cores)
		}
		all[i] = Cores{client, stack}
	}
	return all, nil
}

// part is the i-th of n parts of a list, which differ by one at most.
func part[T any](list []T, i, n int) []T { return list[len(list)*i/n : len(list)*(i+1)/n] }

// byNode gives each of n lanes cores of as few NUMA nodes as there can be.
func byNode(cores []Core, n int) [][]Core {
	var nodes [][][]Core // by node and physical core
	sorted := slices.Clone(cores)
	slices.SortStableFunc(sorted, Core.compare)
	for i, c := range sorted {
		if i == 0 || sorted[i-1].Node != c.Node {
			nodes = append(nodes, nil)
		}
		node := &nodes[len(nodes)-1]
		if i == 0 || sorted[i-1].Node != c.Node || sorted[i-1].Physical != c.Physical {
			*node = append(*node, nil)
		}
		(*node)[len(*node)-1] = append((*node)[len(*node)-1], c)
	}
	lanes := make([][]Core, n)
	for i := range lanes {
		if len(nodes) == 0 {
			break
		}
		first := len(nodes) * i / n
		if len(nodes) > n { // each lane has several nodes
			lanes[i] = slices.Concat(slices.Concat(part(nodes, i, n)...)...)
			continue
		}
		var same []int // lanes of this node
		for j := range n {
			if len(nodes)*j/n == first {
				same = append(same, j)
			}
		}
		lanes[i] = slices.Concat(part(nodes[first], slices.Index(same, i), len(same))...)
	}
	return lanes
}

func ids(cores []Core) []int {
	var ids []int
	for _, c := range cores {
		ids = append(ids, c.ID)
	}
	slices.Sort(ids)
	return ids
}
