// Package process runs stacks as local processes, with no container engine.
//
// Each service has a supervisor: this program again, in its hidden launcher
// mode, which stands between stackmeter and the service. It is a subreaper, so
// that no process of the service can leave its tree, and it holds the end of a
// pipe from stackmeter: when that closes, because the stack is stopped or
// because stackmeter was killed, it ends every process below it and takes away
// what it made. What each supervisor made, and for whom, stands in a record in
// a private folder, from which a later start sweeps up where a supervisor was
// killed as well.
//
// Services listen on free ports of 127.0.0.1. They share the machine's file
// system, its network and the user's identity: this runtime is for machines
// without an engine, and for measuring what a container costs. It isolates
// nothing.
package process

// Name is what --runtime calls this runtime.
const Name = "process"

// LauncherArgument is the hidden subcommand that a supervisor is started with
// when Runtime.Command is empty; what handles it has to call Launcher.
const LauncherArgument = "process-launcher"
