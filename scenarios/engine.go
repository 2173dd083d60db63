package scenarios

import "gopkg.in/yaml.v3"

// maxPythonPool is the largest pool of the engine python-requests: a Python
// process takes some 30 MB and a tenth of a second to start.
const maxPythonPool = 1000

// forPython reports, if the scenario's engine is python-requests, what it cannot
// do, and returns whether it can.
func (d *decoder) forPython(n *yaml.Node, able bool, instead, format string, args ...any) bool {
	if able || d.engine != EnginePythonRequests {
		return true
	}
	d.Problem(n, "write client: {engine: native}, or "+instead, format, args...)
	return false
}
