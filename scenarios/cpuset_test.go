package scenarios

import (
	"slices"
	"testing"
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
		client        Client
		stack         Resources
		clients, rest string // FormatCpuset; empty: any
	}{
		{"too few to share", cores(3), Client{}, Resources{}, "", ""},
		{"not known", nil, Client{}, Resources{}, "", ""},
		{"four", cores(4), Client{}, Resources{}, "3", "0-2"},
		{"fifteen", cores(15), Client{}, Resources{}, "14", "0-13"},
		{"sixteen", cores(16), Client{}, Resources{}, "14-15", "0-13"},
		{"some of a machine's", []int{2, 3, 8, 9}, Client{}, Resources{}, "9", "2-3,8"},
		{"a limit that leaves one", cores(4), Client{}, Resources{CPUs: 3}, "3", "0-2"},
		{"a limit that needs all", cores(4), Client{}, Resources{CPUs: 3.5}, "", ""},
		{"Python's client", cores(16), Client{Engine: EnginePythonRequests}, Resources{}, "", ""},
		{"the client's are named", cores(8), Client{Cpuset: "1"}, Resources{}, "1", ""},
		{"the stack's are named", cores(8), Client{}, Resources{Cpuset: "0-1"}, "", "0-1"},
		{"both are named", cores(8), Client{Cpuset: "0"}, Resources{Cpuset: "0-7"}, "0", "0-7"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := slices.Clone(test.available)
			client, stack, err := Apart(test.available, test.client, test.stack)
			if err != nil || FormatCpuset(client) != test.clients || FormatCpuset(stack) != test.rest {
				t.Errorf("client %v, stack %v, %v; want %q and %q", client, stack, err, test.clients, test.rest)
			}
			if !slices.Equal(test.available, before) {
				t.Error("the list of cores was changed")
			}
		})
	}
}
