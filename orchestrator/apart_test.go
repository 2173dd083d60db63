package orchestrator

import (
	"slices"
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
)

// Where the machine has enough cores the client is kept apart from the stacks,
// and that is said; a scenario that names cores is followed.
func TestKeepApart(t *testing.T) {
	eight := []int{0, 1, 2, 3, 4, 5, 6, 7}
	tests := []struct {
		name   string
		cores  []int
		plan   scenarios.Plan
		client []int
		stack  string
		said   bool
	}{
		{"eight cores", eight, scenarios.Plan{}, []int{7}, "0-6", true},
		{"eight cores, many processes", eight, scenarios.Plan{Trials: []scenarios.Trial{{Cells: []scenarios.Cell{
			{Load: scenarios.LoadSpec{Client: scenarios.ClientMT, Pool: 50}}, {Load: scenarios.LoadSpec{Client: scenarios.ClientMP, Pool: 10}},
		}}}}, []int{6, 7}, "0-5", true},
		{"two cores", []int{0, 1}, scenarios.Plan{}, nil, "", false},
		{"stacks on another machine", nil, scenarios.Plan{}, nil, "", false},
		{"the client's are named", eight, scenarios.Plan{Client: scenarios.Client{Cpuset: "0-1"}}, []int{0, 1}, "", false},
		{"the stack's are named", eight, scenarios.Plan{Resources: scenarios.Resources{Cpuset: "2"}}, nil, "2", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var notes []string
			r := &loop{plan: test.plan, devices: make([][]string, 1), Orchestrator: &Orchestrator{Cores: test.cores},
				ledger: &ledger{scrub: strings.Clone, told: func(e Event) { notes = append(notes, e.Message) }}}
			if err := r.sideBySide(t.Context(), []scenarios.Trial{{}}); err != nil {
				t.Fatal(err)
			}
			spec, err := r.lanes[0].expand(scenarios.Topology{Server: scenarios.ServerCommand, Command: []string{"serve"}})
			if err != nil {
				t.Fatal(err)
			}
			if client, stack := r.lanes[0].cores.Client, units.FormatCpuset(spec.Services[0].Cores); !slices.Equal(client, test.client) || stack != test.stack {
				t.Errorf("client %v, stack %q; want %v and %q", client, stack, test.client, test.stack)
			}
			if said := len(notes) == 1 && strings.Contains(notes[0], "the client runs on core"); said != test.said {
				t.Errorf("said %q", notes)
			}
		})
	}
}
