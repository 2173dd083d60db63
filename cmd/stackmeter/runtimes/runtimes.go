// Package runtimes opens what starts the stacks, and what sends requests to them.
package runtimes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"stackmeter/cmd/stackmeter/machine"
	"stackmeter/cmd/stackmeter/usage"
	"stackmeter/orchestrator"
	"stackmeter/stacks"
	"stackmeter/stacks/docker"
	"stackmeter/stacks/kubernetes"
	"stackmeter/stacks/process"
)

// A Runtime has what the command needs beyond stacks.Runtime.
type Runtime interface {
	stacks.Runtime

	// Describe names the engine and its version.
	Describe(ctx context.Context) string

	// Has tells it which devices this machine has, and without any why.
	Has(devices []stacks.Device, missing string)

	// Local reports whether the stacks run on this machine.
	Local(ctx context.Context) (bool, error)
	Close() error
}

// Names are the values of --runtime, the default first. The last one's stacks are
// on other machines.
var Names = []string{"docker", process.Name, kubernetes.Name}

// Options say what starts the stacks.
type Options struct {
	Name    string
	cluster kubernetes.Options
	prefix  string // of the images that a cluster's nodes pull

	selectors, tolerations []string // of a cluster's nodes
	proxies                []string // images of proxies: SOFTWARE=IMAGE
}

// Flags adds those that say it.
func (o *Options) Flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.Name, "runtime", Names[0], "what starts the stacks: "+strings.Join(Names, ", "))
	cmd.Flags().StringVar(&o.cluster.Context, "context", "", "of --runtime kubernetes: the `CONTEXT` of your kubeconfig (default its current one)")
	cmd.Flags().StringVar(&o.cluster.Namespace, "namespace", "", "of --runtime kubernetes: the `NAMESPACE` that stacks are in (default that of the context)")
	cmd.Flags().StringVar(&o.prefix, "image-prefix", "", "of --runtime kubernetes: `REGISTRY/PREFIX`, to which images are pushed that have to be built")
	cmd.Flags().StringArrayVar(&o.selectors, "node-selector", nil, "of --runtime kubernetes: only nodes with this label, `KEY=VALUE`, such as nvidia.com/gpu.product=NVIDIA-H100-80GB-HBM3; may be repeated")
	cmd.Flags().StringArrayVar(&o.tolerations, "toleration", nil, "of --runtime kubernetes: also nodes with this taint, `KEY[=VALUE][:EFFECT]`; may be repeated")
	cmd.Flags().StringVar(&o.cluster.Agents.Image, "agent-image", "", "of --runtime kubernetes: the `IMAGE` of the Pods that send the loads and that sample the stacks, as stackmeter agent image prints it (default: made here and pushed to --image-prefix)")
	cmd.Flags().StringArrayVar(&o.proxies, "proxy-image", nil, "of --runtime kubernetes: the `SOFTWARE=IMAGE` of a proxy, such as nginx=registry.example/team/nginx:1 (default: made here and pushed to --image-prefix); may be repeated")
	cmd.Flags().StringVar(&o.cluster.Agents.RuntimeClass, "runtime-class", "", "of --runtime kubernetes: the RuntimeClass `NAME` of Pods that see GPUs (default that of the nodes)")
	usage.TimeFlag(cmd, &o.cluster.RoomWait, "room-wait", kubernetes.DefaultRoomWait, fmt.Sprintf("of --runtime kubernetes: wait up to `TIME` until others leave a stack room, on a node or in a quota, before its start fails; 0 to look once (default %v)", kubernetes.DefaultRoomWait))
}

// sendsFromPod reports whether a Pod of the cluster sends the loads: its image is there, or
// can be made.
func (o Options) sendsFromPod() bool { return o.cluster.Agents.Image != "" || o.prefix != "" }

// apart reports whether the stacks are on other machines than this one.
func (o Options) apart() bool { return o.Name == kubernetes.Name }

// Elsewhere reports whether the stacks and what sends the loads are all on other machines
// than this one.
func (o Options) Elsewhere() bool { return o.apart() && o.sendsFromPod() }

// Engine reports whether an engine of this machine starts the stacks.
func (o Options) Engine() bool { return o.Name == Names[0] }

// Open opens the runtime. Close it.
func (o Options) Open() (Runtime, error) {
	waits := ""
	if wait := o.cluster.RoomWait; wait != 0 && wait != kubernetes.DefaultRoomWait {
		waits = wait.String()
	}
	for flag, value := range map[string]string{"room-wait": waits, "context": o.cluster.Context, "namespace": o.cluster.Namespace, "image-prefix": o.prefix,
		"node-selector": strings.Join(o.selectors, " "), "toleration": strings.Join(o.tolerations, " "), "proxy-image": strings.Join(o.proxies, " "),
		"agent-image": o.cluster.Agents.Image, "runtime-class": o.cluster.Agents.RuntimeClass} {
		if value != "" && !o.apart() && slices.Contains(Names, o.Name) {
			return nil, usage.Errorf("--%s is for --runtime %s, and this is %s", flag, kubernetes.Name, o.Name)
		}
	}
	switch o.Name {
	case "docker":
		return docker.New()
	case process.Name:
		return process.New()
	case kubernetes.Name:
		return o.openCluster()
	}
	return nil, usage.Unknown("runtime", o.Name, Names)
}

// named reads the names that the flags of a cluster have, and refuses those that are none.
func (o *Options) named() (err error) {
	if o.cluster.Nodes, err = kubernetes.ParseNodes(o.selectors, o.tolerations); err != nil {
		return usage.Error(err)
	}
	if o.cluster.Proxies, err = o.namedProxies(); err != nil {
		return err
	}
	if err := o.cluster.Validate(); err != nil {
		return usage.Error(err)
	}
	return nil
}

// leastRoomWait is what a cluster's scheduler may take without anybody in its way.
const leastRoomWait = 5 * time.Second

// openCluster returns the runtime over a cluster. Without an image prefix it needs no
// engine here.
func (o Options) openCluster() (_ Runtime, err error) {
	if err := o.named(); err != nil {
		return nil, err
	}
	o.cluster.Agents.Version, o.cluster.Agents.Load = machine.Version(), o.sendsFromPod()
	o.cluster.RoomWait = max(o.cluster.RoomWait, leastRoomWait)
	if o.prefix == "" {
		return kubernetes.New(o.cluster)
	}
	if err := docker.ParsePrefix(o.prefix); err != nil {
		return nil, usage.Errorf("--image-prefix: %w", err)
	}
	engine, err := docker.New()
	if err != nil {
		return nil, err
	}
	o.cluster.Images = pushedImages{engine, o.prefix}
	runtime, err := kubernetes.New(o.cluster)
	if err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	return withEngine{runtime, engine}, nil
}

// withEngine is a cluster with the engine that makes its images.
type withEngine struct {
	*kubernetes.Runtime
	engine *docker.Runtime
}

func (w withEngine) Check(ctx context.Context) error {
	if err := w.engine.Check(ctx); err != nil {
		return fmt.Errorf("%w (it makes the images for --image-prefix)", err)
	}
	return w.Runtime.Check(ctx)
}

// Sweep also removes what a killed run left of the images that it was making.
func (w withEngine) Sweep(ctx context.Context, run string) ([]string, error) {
	removed, err := w.Runtime.Sweep(ctx, run)
	if run != "" {
		return removed, err
	}
	more, failed := w.engine.Sweep(ctx, "")
	return append(removed, more...), errors.Join(err, failed)
}

func (w withEngine) Close() error { return errors.Join(w.Runtime.Close(), w.engine.Close()) }

// OpenGPUs opens those of this machine, unless the stacks are on others. library is the
// driver's, where the linker does not find it.
func (o Options) OpenGPUs(ctx context.Context, library string, sample bool) (machine.GPUs, error) {
	if o.apart() {
		return machine.GPUs{Reason: "sampling is off (--gpu-sampler off)"}, nil
	}
	return machine.OpenGPUs(ctx, library, sample)
}

// Agents is the version of those that sample the GPUs of stacks on other machines; empty
// where none does.
func (o Options) Agents(sample bool) string {
	if !sample || !o.apart() {
		return ""
	}
	return machine.Version()
}

// Room is what there is for stacks that stay up; nil where the cluster's scheduler keeps
// account.
func (o Options) Room() func() (orchestrator.Room, error) {
	if o.apart() {
		return nil
	}
	return machine.Room
}
