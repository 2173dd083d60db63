package cores

import (
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
)

// TestOf: the cores are those of the machine that the stack was on, or its limit.
func TestOf(t *testing.T) {
	host := results.Host{Cores: 2} // the orchestrator's
	on := func(node, client string, cores int) *results.Stack {
		return &results.Stack{Node: node, ClientNode: client, Cores: cores}
	}
	for _, test := range []struct {
		name   string
		record results.Record
		limits scenarios.Resources
		cores  float64
		is     string
		shared bool
	}{
		{"this machine", results.Record{}, scenarios.Resources{}, 2, "the machine's", true},
		{"a client with a core of its own", results.Record{Load: results.LoadFacts{Cores: []int{0}}}, scenarios.Resources{}, 1, "those that the client left", false},
		{"a limit", results.Record{}, scenarios.Resources{CPUs: 0.5}, 0.5, "resources.cpus", false},
		{"cores of its own", results.Record{}, scenarios.Resources{Cpuset: "0"}, 1, "resources.cpuset", false},
		{"a node", results.Record{Stack: on("n1", "n2", 64)}, scenarios.Resources{}, 64, "its node's", false},
		{"a node, with the client's Pod", results.Record{Stack: on("n1", "n1", 64)}, scenarios.Resources{}, 64, "its node's", true},
		{"a node, and a client here", results.Record{Stack: on("n1", "", 64)}, scenarios.Resources{}, 64, "its node's", false},
		{"a node that is this machine", results.Record{Stack: on("n1", "", 2), CPU: results.CPU{Machine: new(1.0)}}, scenarios.Resources{}, 2, "its node's", true},
		{"a node, and a limit", results.Record{Stack: on("n1", "n2", 64)}, scenarios.Resources{CPUs: 4}, 4, "resources.cpus", false},
		{"a node that did not say", results.Record{Stack: on("n1", "n2", 0)}, scenarios.Resources{}, 0, "its node's", false},
		{"one that did not say, and a limit", results.Record{Stack: on("n1", "n2", 0)}, scenarios.Resources{CPUs: 4}, 4, "resources.cpus", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			cores, is, shared := Of(test.record, scenarios.Plan{Resources: test.limits}, host)
			if cores != test.cores || is != test.is || shared != test.shared {
				t.Errorf("%v (%s), shared %v; want %v (%s), %v", cores, is, shared, test.cores, test.is, test.shared)
			}
		})
	}
}
