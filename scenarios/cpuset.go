package scenarios

import (
	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/units"
	"stackmeter/scenarios/yamlfile"
)

// cpuset reads a list of cores and keeps its shortest form.
func (d *decoder) cpuset(n *yaml.Node, what string, into *string) {
	var list string
	if n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
		list = n.Value // a single core
	} else if !d.Text(n, what, &list) {
		return
	}
	cores, err := units.ParseCpuset(list)
	if err != nil {
		d.Problem(n, "a list of cores, for example 0-3,6", "%s: %v", what, err)
		return
	}
	*into = units.FormatCpuset(cores)
}

// mostLanes is the largest number of lanes.
const mostLanes = 64

// lanes reads a number of lanes.
func (d *decoder) lanes(n *yaml.Node, into *int) {
	if n.Kind == yaml.ScalarNode && n.Value == "auto" {
		*into = AutoLanes
	} else if n.Tag != "!!int" {
		d.Problem(n, "one lane measures one cell at a time; auto is one for each device", "lanes must be a whole number or auto, not %s", yamlfile.Describe(n))
	} else {
		d.Integer(n, "lanes", into, 1, mostLanes)
	}
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
