package main

import (
	"context"

	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/native"
	"stackmeter/orchestrator/load/python"
	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/docker"
)

// A clientRuntime is a runtime that can run a load client beside its stacks.
type clientRuntime interface {
	ClientImage(ctx context.Context, progress func(string)) (digest string, err error)
	RunClient(ctx context.Context, stackURL string, argv []string) (*docker.Client, error)
}

// openEngine returns the load client of a scenario.
func openEngine(engine string, runtime stacks.Runtime) load.Client {
	if engine != scenarios.EnginePythonRequests {
		return &native.Client{}
	}
	if beside, ok := runtime.(clientRuntime); ok {
		return &python.Client{Launcher: besideStack{beside}}
	}
	// Without containers, the client is a process of this machine too.
	return &python.Client{Launcher: python.Local{}}
}

// besideStack starts Python's client in a container beside the stack.
type besideStack struct{ runtime clientRuntime }

func (b besideStack) Image(ctx context.Context, progress func(string)) (string, error) {
	return b.runtime.ClientImage(ctx, progress)
}

func (b besideStack) Launch(ctx context.Context, url string) (python.Process, error) {
	return b.runtime.RunClient(ctx, url, python.Argv("python3"))
}

// sharedCores returns the cores of this machine if the stacks run on it too.
func sharedCores(ctx context.Context, runtime stackRuntime) ([]int, error) {
	local, err := runtime.Local(ctx)
	if err != nil || !local {
		return nil, err
	}
	return native.Cores()
}
