package lanes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
	"stackmeter/stacks"
)

// four is a runtime of a machine with four devices.
type four struct {
	stacks.Runtime
	stacks.Machine
}

func (f *four) Devices(ctx context.Context, want scenarios.GPU) ([]string, string, error) {
	return f.Machine.Devices(ctx, want)
}

func TestDevices(t *testing.T) {
	machine := &four{}
	var devices []stacks.Device
	for i, uuid := range []string{"a", "b", "c", "d"} {
		devices = append(devices, stacks.Device{Index: i, UUID: uuid})
	}
	machine.Has(devices, "")
	auto := scenarios.AutoLanes
	for _, test := range []struct {
		lanes int
		gpu   scenarios.GPU
		want  string // lanes apart by slashes; empty: refused
	}{
		{0, scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}, "[a]"},
		{1, scenarios.GPU{Mode: scenarios.GPUAuto, Count: 2}, "[a b]"},
		{auto, scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}, "[a] [b] [c] [d]"},
		{auto, scenarios.GPU{Mode: scenarios.GPURequired, Count: 2}, "[a b] [c d]"},
		{auto, scenarios.GPU{Mode: scenarios.GPUAuto, Count: 3}, "[a b c]"},
		{auto, scenarios.GPU{Mode: scenarios.GPUAuto, Count: scenarios.AllGPUs}, "[a b c d]"},
		{auto, scenarios.GPU{Mode: scenarios.GPUAuto, Devices: []string{"1", "c"}}, "[b] [c]"},
		{2, scenarios.GPU{Mode: scenarios.GPUAuto, Devices: []string{"a", "b", "c", "d"}}, "[a b] [c d]"},
		{2, scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}, "[a] [b]"},
		{3, scenarios.GPU{Mode: scenarios.GPUAuto, Devices: []string{"a", "b", "c", "d"}}, ""},
		{5, scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}, ""},
		{3, scenarios.GPU{Mode: scenarios.GPUAuto, Count: 2}, ""},
		{2, scenarios.GPU{Mode: scenarios.GPUAuto, Count: scenarios.AllGPUs}, ""},
		{3, scenarios.GPU{Mode: scenarios.GPUOff}, "[] [] []"},
		{auto, scenarios.GPU{Mode: scenarios.GPUOff}, "[]"},
	} {
		got, err := Devices(t.Context(), machine, scenarios.Plan{Lanes: test.lanes, Resources: scenarios.Resources{GPU: test.gpu}})
		text := strings.Trim(fmt.Sprint(got.Devices), "[]")
		if want := strings.Trim(test.want, "[]"); text != want || (err != nil) != (test.want == "") || err != nil && !errors.Is(err, stacks.ErrUnavailable) {
			t.Errorf("%d lanes of %+v: %v, %v; want %s", test.lanes, test.gpu, got, err, test.want)
		}
	}
}

// A crowded runtime has room for some stacks, and for fewer of one product.
type crowded struct {
	stacks.Runtime
	stacks.Placer
	room map[string]stacks.Room // by product
}

func (c crowded) Devices(context.Context, scenarios.GPU) ([]string, string, error) {
	return nil, "", nil
}

func (c crowded) Room(_ context.Context, needs scenarios.Resources, _ scenarios.Client) (stacks.Room, error) {
	return c.room[needs.GPU.Product], nil
}

// TestDevicesPlaced: where stacks get devices when they start, there are as many lanes as
// find some, of the product that is scarcest.
func TestDevicesPlaced(t *testing.T) {
	auto := scenarios.AutoLanes
	cluster := crowded{room: map[string]stacks.Room{"": {Free: 3, All: 4, Why: "3 of 4"}, "a": {Free: 4, All: 4}, "b": {Free: 2, All: 4, Why: "2 of 4"}, "none": {All: 4}, "unknown": {}}}
	for _, test := range []struct {
		lanes    int
		products []string
		want     int // lanes; 0: refused
	}{
		{auto, []string{""}, 3},
		{auto, []string{"a", "b", "a"}, 2},
		{auto, []string{"none"}, 1},
		{auto, []string{"unknown"}, 1},
		{4, []string{""}, 4},
		{5, []string{""}, 0},
		{5, []string{"unknown"}, 5},
	} {
		plan := scenarios.Plan{Lanes: test.lanes, Resources: scenarios.Resources{GPU: scenarios.GPU{Mode: scenarios.GPURequired, Count: 1}}}
		for _, product := range test.products {
			plan.Trials = append(plan.Trials, scenarios.Trial{Topology: scenarios.Topology{GPUProduct: product}})
		}
		got, err := Devices(t.Context(), cluster, plan)
		if len(got.Devices) != test.want || (err != nil) != (test.want == 0) || err != nil && !errors.Is(err, stacks.ErrUnavailable) {
			t.Errorf("%d lanes of %q: %+v, %v; want %d", test.lanes, test.products, got, err, test.want)
		}
	}
	none, err := Devices(t.Context(), cluster, scenarios.Plan{Lanes: auto, Resources: scenarios.Resources{GPU: scenarios.GPU{Mode: scenarios.GPUOff}}})
	if err != nil || len(none.Devices) != 1 || none.Room != "" {
		t.Errorf("without a GPU: %+v, %v", none, err)
	}
}

// node makes cores of two NUMA nodes, each with physical cores of two threads, as many
// machines number them.
func node(physical int) []Core {
	var cores []Core
	for thread := range 2 {
		for n := range 2 {
			for c := range physical {
				first := n*physical + c
				cores = append(cores, Core{ID: thread*2*physical + first, Physical: first, Node: n})
			}
		}
	}
	return cores
}

func TestDivide(t *testing.T) {
	named := scenarios.Plan{Resources: scenarios.Resources{Cpuset: "0-3"}, Client: scenarios.Client{Cpuset: "4-5"}}
	for _, test := range []struct {
		name  string
		n     int
		cores []Core
		plan  scenarios.Plan
		want  string // of each lane the client and the stacks; empty: refused
	}{
		{"one lane", 1, node(4), scenarios.Plan{}, "14-15 0-13"},
		{"a lane for each node", 2, node(4), scenarios.Plan{}, "11 0-3,8-10; 15 4-7,12-14"},
		{"two for each, of whole physical cores", 4, node(4), scenarios.Plan{}, "9 0-1,8; 11 2-3,10; 13 4-5,12; 15 6-7,14"},
		{"fewer than four for a lane", 8, node(4), scenarios.Plan{}, strings.Repeat("14-15 0-13; ", 7) + "14-15 0-13"},
		{"a limit that needs more", 4, node(4), scenarios.Plan{Resources: scenarios.Resources{CPUs: 5}}, strings.Repeat("14-15 0-13; ", 3) + "14-15 0-13"},
		{"Python's client shares the lane's", 2, node(2), scenarios.Plan{Client: scenarios.Client{Engine: scenarios.EnginePythonRequests}}, "0-1,4-5 0-1,4-5; 2-3,6-7 2-3,6-7"},
		{"stacks on another machine", 2, nil, scenarios.Plan{}, " ;  "},
		{"named", 2, node(4), named, "4 0-1; 5 2-3"},
		{"named, too few", 3, node(4), named, ""},
	} {
		got, err := Divide(test.n, test.cores, test.plan)
		var lanes []string
		for _, lane := range got {
			lanes = append(lanes, units.FormatCpuset(lane.Client)+" "+units.FormatCpuset(lane.Stacks))
		}
		if text := strings.Join(lanes, "; "); text != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: %q, %v; want %q", test.name, text, err, test.want)
		}
	}
}

// TestOf reads a machine as Linux describes it.
func TestOf(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"cpu/cpu0/topology/thread_siblings_list": "0,2", "cpu/cpu2/topology/thread_siblings_list": "0,2",
		"cpu/cpu1/topology/thread_siblings_list": "1,3", "cpu/cpu3/topology/thread_siblings_list": "nonsense",
		"node/node0/cpulist": "0,2", "node/node1/cpulist": "1,3",
	} {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text+"\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want := []Core{{0, 0, 0}, {1, 1, 1}, {2, 0, 0}, {3, 3, 1}}
	if got := Of(folder, []int{0, 1, 2, 3}); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := Of(filepath.Join(folder, "none"), []int{5}); !slices.Equal(got, []Core{{5, 5, 0}}) {
		t.Errorf("%v", got)
	}
}
