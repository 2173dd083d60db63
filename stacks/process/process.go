// Package process runs stacks as local processes, without a container engine.
//
// Each service has a supervisor between stackmeter and itself: this program
// again, in its hidden launcher mode. The supervisor is a subreaper: no process of
// the service can leave its tree. It reads a pipe from stackmeter. When the pipe
// closes, because the stack was stopped or stackmeter was killed, the supervisor
// ends every process below it and removes what it made. What it made, and for
// whom, is in a record in a private folder. If the supervisor was killed too, a
// later start sweeps up from there.
//
// Services listen on free ports of 127.0.0.1. They share the machine's file
// system, its network and the user's identity. This runtime is for machines
// without an engine, and for measuring what a container costs. It isolates
// nothing.
package process

import "context"

// Name is what --runtime calls this runtime.
const Name = "process"

// LauncherArgument is the hidden subcommand that starts a supervisor. Its handler has
// to call Launcher.
const LauncherArgument = "process-launcher"

// Close does nothing. A stack that was not stopped ends with this process.
func (r *Runtime) Close() error { return nil }

// Local returns true: the services are processes of this machine.
func (r *Runtime) Local(context.Context) (bool, error) { return true, nil }

// Located is a program that stacks start, and where it is.
type Located struct {
	Name   string
	Path   string // empty when it is not there
	Remedy string // how to get it then
}
