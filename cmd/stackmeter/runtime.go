package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml"
	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/native"
	"stackmeter/orchestrator/load/python"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks"
	"stackmeter/stacks/docker"
	"stackmeter/stacks/process"
)

// A stackRuntime has what the command needs beyond stacks.Runtime.
type stackRuntime interface {
	stacks.Runtime

	// Describe names the engine and its version.
	Describe(ctx context.Context) string

	// Has tells it which devices this machine has, and without any why.
	Has(devices []stacks.Device, missing string)

	// Local reports whether the stacks run on this machine.
	Local(ctx context.Context) (bool, error)
	Close() error
}

// runtimeNames are the values of --runtime, the default first.
var runtimeNames = []string{"docker", process.Name}

func runtimeFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "runtime", runtimeNames[0], "what starts the stacks: "+strings.Join(runtimeNames, ", "))
}

func openRuntime(name string) (stackRuntime, error) {
	switch name {
	case "docker":
		return docker.New()
	case process.Name:
		return process.New()
	}
	return nil, unknown("runtime", name, runtimeNames)
}

// gpus are the GPUs of this machine, as far as they can be read.
type gpus struct {
	sampler *gpu.Sampler // nil when there is none
	devices []gpu.Device
	reason  string // why there is none
	driver  *nvml.Driver
}

// gpuOptions say how the GPUs are read.
type gpuOptions struct {
	nvmlFile string // the driver's library
	sampler  string // samplerOn or samplerOff
	wait     time.Duration
}

const (
	samplerOn  = "on"
	samplerOff = "off"
)

func gpuFlags(cmd *cobra.Command, o *gpuOptions) {
	cmd.Flags().StringVar(&o.nvmlFile, "nvml", "", "the NVIDIA driver's library as a `FILE`, where the dynamic linker does not find it")
}

// check refuses options that cannot be.
func (o gpuOptions) check() error {
	if o.sampler != samplerOn && o.sampler != samplerOff {
		return unknown("gpu-sampler", o.sampler, []string{samplerOn, samplerOff})
	}
	return nil
}

// Limits of the driver. Without persistence mode it initializes each device when it
// is opened, which takes seconds.
const (
	openGPULimit  = time.Minute
	closeGPULimit = 2 * time.Second
)

// openGPU opens the driver. It fails only when ctx ends: a driver that is missing
// or does not answer becomes the reason why there are no GPUs.
func openGPU(ctx context.Context, o gpuOptions) (gpus, error) {
	g, err := gpu.Aside(ctx, openGPULimit, func() (gpus, error) {
		driver, err := nvml.Open(o.nvmlFile)
		if err != nil {
			return gpus{}, err
		}
		devices, err := driver.Devices()
		if err != nil {
			return gpus{}, errors.Join(err, driver.Close())
		}
		return gpus{devices: devices, driver: driver}, nil
	})
	switch {
	case ctx.Err() != nil:
		return gpus{}, context.Cause(ctx)
	case err != nil:
		return gpus{reason: err.Error()}, nil
	}
	if o.sampler == samplerOff {
		g.reason = "sampling is off (--gpu-sampler off)"
	} else {
		g.sampler = &gpu.Sampler{Driver: g.driver}
	}
	return g, nil
}

// given are the devices as runtimes know them.
func (g gpus) given() []stacks.Device {
	var devices []stacks.Device
	for _, d := range g.devices {
		devices = append(devices, stacks.Device{Index: d.Index, UUID: d.UUID, Name: d.Name, Parent: d.Parent, MIG: d.MIG})
	}
	return devices
}

// close closes the driver. An error would say nothing about what was measured.
func (g gpus) close() {
	if g.driver != nil {
		_, _ = gpu.Aside(context.Background(), closeGPULimit, func() (struct{}, error) { return struct{}{}, g.driver.Close() })
	}
}

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

func (a *app) cleanCommand() *cobra.Command {
	var runtimeName, run string
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove what killed runs left behind, and nothing else",
		Long: `clean removes the containers and networks of runs whose stackmeter process is
gone. It finds them by the labels that stackmeter puts on what it makes, and
touches nothing else. A run that is alive is removed only if --run names it.`,
		Example: `  stackmeter clean
  stackmeter clean --run 20261123-081530-7f3a`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			runtime, err := openRuntime(runtimeName)
			if err != nil {
				return err
			}
			defer runtime.Close()
			if err := runtime.Check(cmd.Context()); err != nil {
				return err
			}
			removed, err := runtime.Sweep(cmd.Context(), run)
			for _, name := range removed {
				fmt.Fprintln(a.stdout, "removed", show.Clean(name))
			}
			if err == nil && len(removed) == 0 {
				fmt.Fprintln(a.stdout, "nothing to remove")
			}
			return err
		},
	}
	runtimeFlag(cmd, &runtimeName)
	nameFlag(cmd, &run, "run", "remove everything of this `RUN`, even if it is alive")
	return cmd
}

func (a *app) loadWorkerCommand() *cobra.Command {
	return &cobra.Command{
		Use:    native.WorkerArgument,
		Short:  "One process of the client mode mp; started by stackmeter itself",
		Hidden: true,
		Args:   arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return native.Worker(a.stdin, a.stdout)
		},
	}
}

func (a *app) processLauncherCommand() *cobra.Command {
	return &cobra.Command{
		Use:    process.LauncherArgument,
		Short:  "Looks after one service of a local stack; started by stackmeter itself",
		Hidden: true,
		Args:   cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			return process.Launcher(args, a.stdin, a.stdout)
		},
	}
}
