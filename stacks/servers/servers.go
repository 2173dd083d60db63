// Package servers holds the ways of serving an app. Each is a Server in a file
// of its own, and nothing outside this package names one.
//
// Expand makes the spec of a topology's stack. Verify reads back what really
// runs and compares it with the topology.
package servers

import (
	"context"
	"fmt"

	"stackmeter/scenarios"
	"stackmeter/scenarios/syntax"
	"stackmeter/stacks"
)

// All lists the servers that a scenario can name, in the order in which
// messages name them.
func All() []Server {
	return []Server{flask{}, gunicorn{}, uvicorn{}, hypercorn{}, waitress{}, uwsgi{}, daphne{}}
}

// Known lists the syntax of All and of the proxies, for scenarios.Loader.
func Known() syntax.Known {
	var known syntax.Known
	for _, p := range Proxies() {
		known.Proxies = append(known.Proxies, proxySyntax(p))
	}
	for _, s := range All() {
		known.Servers = append(known.Servers, s.Syntax())
	}
	return known
}

// classOf is the class of a topology's server, which knows it.
func classOf(s Server, t scenarios.Topology) syntax.Class {
	class, _ := s.Syntax().Class(t.Class)
	return class
}

// serverOf returns the server of a topology.
func serverOf(t scenarios.Topology) (Server, error) {
	for _, s := range append(All(), custom(scenarios.ServerCommand), custom(scenarios.ServerServices), custom(scenarios.ServerExisting)) {
		if s.Syntax().Name == t.Server {
			return s, nil
		}
	}
	return nil, fmt.Errorf("topology %s: no server is called %q", t.Name, t.Server)
}

// A Server is one way of serving an app. Its methods may be called by several
// goroutines at once.
type Server interface {
	// Syntax is how scenarios name the server, and the axes that it has.
	Syntax() syntax.Server

	// Program is what starts the server. It is the zero value if the scenario
	// decides what does.
	Program() Program

	// Serve returns the services that serve the app. The client connects to the
	// last one. app is the app's service without a command. The command has to
	// listen on {host}:{port}, with SO_REUSEADDR if there is a Program.
	Serve(app stacks.Service, p scenarios.Plan, t scenarios.Topology) []stacks.Service

	// ReadBack inspects a running stack and finds out how many workers the server
	// has, how many threads each, of which class they are, and what else the server
	// takes settings from. It waits for workers that are still being forked. A
	// difference from the topology is an error that wraps stacks.ErrDiffers.
	// Facts.Unread names what cannot be found out.
	ReadBack(ctx context.Context, t scenarios.Topology, stack stacks.Stack) (Facts, error)
}

// A Program is a program that serves Python applications, or a proxy.
type Program struct {
	Name   string // of the executable, and pip installs it under that name or the module's
	Module string // python -m MODULE starts it too; empty: it does not
	Debian string // Debian's packages of it

	// Variables are beginnings of variables from which it takes settings by itself, and
	// Files those of the folder in which it starts.
	Variables, Files []string
}

// Facts are what is known of a running stack: what its runtime says, and what was
// read back of its server.
type Facts struct {
	stacks.Facts
	Workers      *int     // worker processes that run in each replica; nil: not known, or the server has none
	Threads      *int     // threads of each worker; nil: not known, or there is no such number
	Concurrency  *int     // requests that each worker takes at once; nil likewise
	Class        string   // of the workers, by the server's own name; empty: not known, or there are no classes
	Loop         string   // the event loop of the workers: asyncio, uvloop; empty: not known, or there is none
	InForce      []string // what the server takes settings from beside its command line: "variable NAME", "file NAME"
	Unread       string   // what could not be read back and compared; empty: nothing
	Interpreters int      // Python processes that answer requests; 0: not known
	Slots        int      // requests that the server works on at once; 0: not known, or not bounded
	Loading      bool     // a part of it may still load the app when another part answers
	Proxy        string   // the configuration that the running proxy was started with; empty without one
}

// appProcesses returns the processes of the app's service.
func appProcesses(facts stacks.Facts) []stacks.Process {
	for _, s := range facts.Services {
		if s.Service == stacks.AppService {
			return s.Processes
		}
	}
	return nil
}
