package lanes

import (
	"slices"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
)

func TestApart(t *testing.T) {
	cores := func(n int) []int {
		var all []int
		for i := range n {
			all = append(all, i)
		}
		return all
	}
	tests := []struct {
		name          string
		available     []int
		client        scenarios.Client
		stack         scenarios.Resources
		processes     int
		clients, rest string // FormatCpuset; empty: any
	}{
		{"too few to share", cores(3), scenarios.Client{}, scenarios.Resources{}, 1, "", ""},
		{"not known", nil, scenarios.Client{}, scenarios.Resources{}, 1, "", ""},
		{"four", cores(4), scenarios.Client{}, scenarios.Resources{}, 1, "3", "0-2"},
		{"fifteen", cores(15), scenarios.Client{}, scenarios.Resources{}, 1, "14", "0-13"},
		{"sixteen", cores(16), scenarios.Client{}, scenarios.Resources{}, 1, "14-15", "0-13"},
		{"four processes on fifteen", cores(15), scenarios.Client{}, scenarios.Resources{}, 4, "12-14", "0-11"},
		{"two processes on fifteen", cores(15), scenarios.Client{}, scenarios.Resources{}, 2, "13-14", "0-12"},
		{"fifty processes on seven", cores(7), scenarios.Client{}, scenarios.Resources{}, 50, "6", "0-5"},
		{"fifty processes on eight", cores(8), scenarios.Client{}, scenarios.Resources{}, 50, "6-7", "0-5"},
		{"fewer processes than an eighth", cores(32), scenarios.Client{}, scenarios.Resources{}, 2, "28-31", "0-27"},
		{"a limit that leaves two of three", cores(12), scenarios.Client{}, scenarios.Resources{CPUs: 9.5}, 50, "10-11", "0-9"},
		{"some of a machine's", []int{2, 3, 8, 9}, scenarios.Client{}, scenarios.Resources{}, 1, "9", "2-3,8"},
		{"a limit that leaves one", cores(4), scenarios.Client{}, scenarios.Resources{CPUs: 3}, 1, "3", "0-2"},
		{"a limit that needs all", cores(4), scenarios.Client{}, scenarios.Resources{CPUs: 3.5}, 1, "", ""},
		{"Python's client", cores(16), scenarios.Client{Engine: scenarios.EnginePythonRequests}, scenarios.Resources{}, 1, "", ""},
		{"the client's are named", cores(8), scenarios.Client{Cpuset: "1"}, scenarios.Resources{}, 1, "1", ""},
		{"the stack's are named", cores(8), scenarios.Client{}, scenarios.Resources{Cpuset: "0-1"}, 1, "", "0-1"},
		{"both are named", cores(8), scenarios.Client{Cpuset: "0"}, scenarios.Resources{Cpuset: "0-7"}, 1, "0", "0-7"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := slices.Clone(test.available)
			client, stack, err := apart(test.available, test.client, test.stack, test.processes)
			if err != nil || units.FormatCpuset(client) != test.clients || units.FormatCpuset(stack) != test.rest {
				t.Errorf("client %v, stack %v, %v; want %q and %q", client, stack, err, test.clients, test.rest)
			}
			if !slices.Equal(test.available, before) {
				t.Error("the list of cores was changed")
			}
		})
	}
}
