package scenarios

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// maxPythonPool is the largest pool of the engine python-requests: a Python
// process takes some 30 MB and a tenth of a second to start.
const maxPythonPool = 1000

// NotForPython says what in a request or a load the engine python-requests
// cannot do, and what to use instead. It is empty if the engine can send them.
// Both engines can do everything else that a scenario can say.
func NotForPython(r Request, l LoadSpec) string {
	switch {
	case r.TLS != nil:
		return "request.tls: the engine python-requests verifies certificates by its own rules only; use engine: native, or remove it"
	case l.Searches():
		return "rate: the engine python-requests does not search for a rate; use engine: native, or give the rate, as 20/s"
	case l.Client != ClientSingle && l.Pool > maxPythonPool:
		return fmt.Sprintf("a pool of %d cannot be made of Python's threads or processes; use engine: native, or at most %d", l.Pool, maxPythonPool)
	}
	return ""
}

// forPython reports, if the scenario's engine is python-requests, what it cannot
// do, and returns whether it can.
func (d *decoder) forPython(n *yaml.Node, able bool, instead, format string, args ...any) bool {
	if able || d.engine != EnginePythonRequests {
		return true
	}
	d.Problem(n, "write client: {engine: native}, or "+instead, format, args...)
	return false
}
