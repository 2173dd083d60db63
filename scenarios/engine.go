package scenarios

import (
	"fmt"
	"strconv"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios/yamlfile"
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

// checkEngine reports what the scenario's engine cannot do, at the place where
// the file asks for it.
func (d *decoder) checkEngine(root *yaml.Node, s *Scenario) {
	if s.Client.Engine != EnginePythonRequests {
		return
	}
	const native = "write client: {engine: native}, or "
	if s.Request.TLS != nil {
		for _, n := range found(root, "request", func(key, _ *yaml.Node) bool { return key.Value == "tls" }) {
			d.Problem(n, native+"remove it", "request.tls: the engine python-requests verifies certificates by its own rules only")
		}
	}
	for _, n := range found(root, "topologies", func(key, value *yaml.Node) bool { return key.Value == "tls" && value.Value == "true" }) {
		d.Problem(n, native+"remove tls", "a topology has tls, and the engine python-requests verifies certificates by its own rules only")
	}
	for _, l := range s.Loads {
		switch {
		case l.Searches():
			for _, n := range found(root, "matrix", func(key, _ *yaml.Node) bool { return key.Value == "search" }) {
				d.Problem(n, native+"give the rate, as 20/s", "the engine python-requests does not search for a rate")
			}
		case l.Client != ClientSingle && l.Pool > maxPythonPool:
			for _, n := range found(root, "matrix", tooManyClients) {
				d.Problem(n, native+fmt.Sprintf("use at most %d", maxPythonPool), "the engine python-requests has a pool of at most %d", maxPythonPool)
			}
		}
	}
}

// tooManyClients reports whether a key has a pool that is too large for Python.
func tooManyClients(key, value *yaml.Node) bool {
	if key.Value != "pool" {
		return false
	}
	for _, item := range yamlfile.Items(value) {
		if n, err := strconv.Atoi(item.Value); err == nil && n > maxPythonPool {
			return true
		}
	}
	return false
}

// found returns the matching keys anywhere below one key of a mapping.
func found(root *yaml.Node, below string, is func(key, value *yaml.Node) bool) []*yaml.Node {
	var keys []*yaml.Node
	var walk func(*yaml.Node)
	walk = func(n *yaml.Node) {
		for i, child := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 {
				if is(child, n.Content[i+1]) {
					keys = append(keys, child)
				}
				continue
			}
			walk(child)
		}
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == below {
			walk(root.Content[i+1])
		}
	}
	return keys
}
