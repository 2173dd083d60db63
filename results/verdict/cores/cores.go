// Package cores says how many cores a stack could use.
package cores

import (
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/units"
)

// Of is how many cores the stack of a record could use, where that limit comes from and
// whether the client used the same ones; 0: not known. Each service has a limit of
// resources.cpus of its own. A proxy does not count, because it needs next to nothing
// beside an app.
func Of(r results.Record, plan scenarios.Plan, host results.Host) (cores float64, is string, shared bool) {
	shared = len(r.Load.Cores) == 0 && plan.Resources.Cpuset == ""
	if set, err := units.ParseCpuset(plan.Resources.Cpuset); err == nil && len(set) > 0 {
		cores, is = float64(len(set)), "resources.cpuset"
	} else if stack := r.Stack; stack != nil && stack.Node != "" {
		// The host is where the orchestrator is. Only where it saw what the whole machine
		// used were the two on one.
		cores, is = float64(stack.Cores), "its node's"
		shared = stack.ClientNode == stack.Node || stack.ClientNode == "" && r.CPU.Machine != nil
	} else if host.Cores > 0 {
		cores, is = float64(host.Cores), "the machine's"
		if !shared && len(r.Load.Cores) < host.Cores {
			cores, is = cores-float64(len(r.Load.Cores)), "those that the client left"
		}
	}
	if each := plan.Resources.Of(r.Topology).CPUs; each > 0 {
		services := max(1, len(r.Topology.Services), r.Topology.Replicas)
		if limit := each * float64(services); cores == 0 || limit < cores {
			cores, is, shared = limit, "resources.cpus", false
		}
	}
	return cores, is, shared
}
