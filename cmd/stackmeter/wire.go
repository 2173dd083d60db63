package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml"
	"stackmeter/stacks"
	"stackmeter/stacks/docker"
)

// A stackRuntime is what this command needs of one beyond stacks.Runtime.
type stackRuntime interface {
	stacks.Runtime

	// Describe names the engine and its version.
	Describe(ctx context.Context) string
	Close() error
}

// runtimes are the ones that --runtime knows, with the default first.
var runtimeNames = []string{"docker"}

func runtimeFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "runtime", runtimeNames[0], "what starts the stacks: "+strings.Join(runtimeNames, ", "))
}

func openRuntime(name string) (stackRuntime, error) {
	if !slices.Contains(runtimeNames, name) {
		return nil, usageError{fmt.Errorf("--runtime %s: there is %s", name, strings.Join(runtimeNames, ", "))}
	}
	return docker.New()
}

// gpus is what this machine can tell about its GPUs.
type gpus struct {
	sampler *gpu.Sampler // nil when there is none
	devices []gpu.Device
	reason  string // why there is none
	driver  *nvml.Driver
}

func openGPU() gpus {
	driver, err := nvml.Open(nvml.Options{})
	if err != nil {
		return gpus{reason: err.Error()}
	}
	devices, err := driver.Devices()
	if err != nil {
		driver.Close()
		return gpus{reason: err.Error()}
	}
	return gpus{sampler: &gpu.Sampler{Driver: driver}, devices: devices, driver: driver}
}

func (g gpus) close() {
	if g.driver != nil {
		g.driver.Close()
	}
}
