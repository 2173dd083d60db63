package runtimes

import (
	"context"
	"io"

	"stackmeter/cmd/stackmeter/machine"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/native"
	"stackmeter/orchestrator/load/python"
	"stackmeter/orchestrator/load/remote"
	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/docker"
	"stackmeter/stacks/kubernetes"
)

// A clientRuntime is a runtime that can run a load client beside its stacks.
type clientRuntime interface {
	ClientImage(ctx context.Context, progress func(string)) (digest string, err error)
	RunClient(ctx context.Context, stackURL string, argv []string) (*docker.Client, error)
}

// A loadRuntime is a runtime that can have the loads sent from where it starts a program
// for each stack.
type loadRuntime interface {
	Loads() bool
	LoadImage(ctx context.Context, progress func(string)) (digest string, err error)
	OpenLoad(ctx context.Context, stackURL string) (io.ReadWriteCloser, error)
}

// Client returns the load client of a scenario.
func Client(engine string, runtime stacks.Runtime) load.Client {
	if engine != scenarios.EnginePythonRequests {
		if away, ok := runtime.(loadRuntime); ok && away.Loads() {
			return &remote.Client{Open: away.OpenLoad, Make: away.LoadImage, Version: machine.Version()}
		}
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

// SharedCores returns the cores of this machine if the stacks run on it too.
func SharedCores(ctx context.Context, runtime Runtime) ([]int, error) {
	local, err := runtime.Local(ctx)
	if err != nil || !local {
		return nil, err
	}
	return native.Cores()
}

// CheckClient refuses what a scenario says of a client's Pod where there is none.
func (o Options) CheckClient(c scenarios.Client) error {
	pod := o.apart() && o.sendsFromPod()
	switch {
	case pod && c.Cpuset != "":
		return usage.Errorf("client.cpuset names cores of this machine, and a Pod sends the loads: write client.cores instead")
	case pod, c.Cores == 0 && c.Node == "":
		return nil
	case o.apart():
		return usage.Errorf("client.node and client.cores are of a Pod that sends the loads: say where its image is pushed with --image-prefix, or name it with --agent-image")
	case c.Cores > 0:
		return usage.Errorf("client.cores is of a Pod in a cluster; client.cpuset names the cores of this machine that the client may use")
	case c.Node == scenarios.NodeOther:
		return usage.Errorf("client.node: other is of a cluster (--runtime %s), and with --runtime %s the client and the stacks are on this machine", kubernetes.Name, o.Name)
	}
	return nil
}
