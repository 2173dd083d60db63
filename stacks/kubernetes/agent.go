package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stackmeter/scenarios/show"
	"stackmeter/stacks"
)

// Agents say how stackmeter's own Pods are made. One of them runs on the node of each
// stack whose node is another machine, or that has GPUs: nothing of such a stack runs
// before they are sampled.
type Agents struct {
	Image        string // as the nodes pull it; empty: Options.Images makes it
	RuntimeClass string // of Pods that see GPUs; empty: the nodes' default
	Version      string // this program's: an agent of another is refused
	Load         bool   // a Pod with the same image sends the loads, not this process
}

// agentName is what the containers with stackmeter in them are called.
const agentName = "stackmeter"

// agentUser is whom they run as: nobody.
const agentUser int64 = 65534

// agentCommand calls a subcommand of stackmeter agent.
func agentCommand(name string, args ...string) []string {
	return append([]string{"stackmeter", "agent", name}, args...)
}

// agentImage finds or makes the image of agents.
func (r *Runtime) agentImage(ctx context.Context, progress func(string)) (Image, error) {
	const key = "agent"
	if name := r.options.Agents.Image; name != "" {
		_, digest, _ := strings.Cut(name, "@")
		return Image{Reference: name, Digest: digest}, nil
	}
	if made, ok := r.images.Load(key); ok {
		return made.(Image), nil
	}
	if r.options.Images == nil {
		return Image{}, errors.New("no agent can run on the stack's node, because there is no image of it: give --agent-image, or --image-prefix")
	}
	made, err := r.options.Images.PublishAgent(ctx, progress)
	if err == nil {
		r.images.Store(key, made)
	}
	return made, err
}

// agentContainer is one with stackmeter in it, which waits until it is ended, with the
// resources of another one.
func agentContainer(image Image, resources core.ResourceRequirements) core.Container {
	no, yes, nobody := false, true, agentUser
	return core.Container{
		Name: agentName, Image: image.Reference, ImagePullPolicy: core.PullIfNotPresent, Command: agentCommand("hold"), Resources: resources,
		Env: []core.EnvVar{{Name: "NVIDIA_DRIVER_CAPABILITIES", Value: "utility"}},
		SecurityContext: &core.SecurityContext{
			AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, RunAsNonRoot: &yes, RunAsUser: &nobody, RunAsGroup: &nobody,
			Capabilities:   &core.Capabilities{Drop: []core.Capability{"ALL"}},
			SeccompProfile: &core.SeccompProfile{Type: core.SeccompProfileTypeRuntimeDefault},
		},
	}
}

// hold puts a container before those of the stack that has the same GPUs: the kubelet
// gives them on.
func (st *stack) hold(image Image) {
	for i, s := range st.spec.Services {
		if s.GPU {
			st.objects.pod.Spec.InitContainers = []core.Container{agentContainer(image, st.objects.pod.Spec.Containers[i].Resources)}
		}
	}
}

// StartPlaced implements stacks.Placer.
func (r *Runtime) StartPlaced(ctx context.Context, spec stacks.Spec, p stacks.Placing) (stacks.Stack, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	st, err := r.stack(ctx, spec)
	if err != nil {
		return nil, err
	}
	if st.waits = p.Waits; p.Patience > 0 {
		st.patience = min(p.Patience, r.limits.schedule)
	}
	if st.gpus == 0 || p.Placed == nil {
		return r.launch(ctx, st)
	}
	image, err := r.agentImage(ctx, func(string) {})
	if err != nil {
		none := func(context.Context) (io.ReadWriteCloser, error) { return nil, err }
		if err := p.Placed(ctx, stacks.Place{Unseen: err.Error(), Agent: none}); err != nil {
			return nil, err
		}
		return r.launch(ctx, st)
	}
	st.hold(image)
	st.placed = func(ctx context.Context, at stacks.Place) error {
		at.Agent = func(ctx context.Context) (io.ReadWriteCloser, error) { return st.sampled(ctx, image) }
		return p.Placed(ctx, at)
	}
	return r.launch(ctx, st)
}

// place waits until the Pod has a node and devices, has them sampled, and lets its
// services start.
func (st *stack) place(ctx context.Context) error {
	pod, err := st.awaitStart(ctx, held)
	if err != nil {
		return err
	}
	st.node = pod.Spec.NodeName
	at := stacks.Place{}
	out, err := st.runtime.exec(ctx, st.objects.pod.Name, agentName, stacks.ListGPUs())
	if st.devices = stacks.ListedGPUs(string(out)); err != nil || int64(len(st.devices)) != st.gpus {
		st.devices, at.Unseen = nil, fmt.Sprintf("which GPUs the stack has is not seen: nvidia-smi -L says %q (%v)", show.Clean(string(out)), err)
	}
	at.Devices = stacks.UUIDs(st.devices)
	if err := st.placed(ctx, at); err != nil {
		return err
	}
	if out, err := st.runtime.exec(ctx, st.objects.pod.Name, agentName, agentCommand("release")); err != nil {
		return st.runtime.explained(fmt.Sprintf("let the services start (%s)", show.Clean(string(out))), err)
	}
	return nil
}

// held reports whether the container before those of the stack, or the one of an agent,
// runs.
func held(pod *core.Pod) (bool, error) {
	for _, c := range append(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses...) {
		if c.Name != agentName {
			continue
		}
		if err := notStarted(c); err != nil {
			return false, fmt.Errorf("stackmeter's agent: %w", err)
		}
		if t := c.State.Terminated; t != nil {
			return false, fmt.Errorf("stackmeter's agent: %w", ending(t, agentCommand("hold")))
		}
		if c.State.Running != nil {
			return true, nil
		}
	}
	return false, taken(pod)
}

// An agent is a Pod that sees a node's processes and control groups, and its devices if
// the stack has any. It goes when nobody has it any more.
type agent struct {
	pod *stack

	mu sync.Mutex
	by map[string]bool // who has it
}

// Who has an agent.
const (
	byStack   = "the stack"
	bySampler = "what samples its GPUs" // until it has seen that the memory came back
)

// startAgent returns the agent on the stack's node, which is started once, for the stack.
func (st *stack) startAgent(ctx context.Context, image Image) (*agent, error) {
	if st.agent != nil || st.agentless != nil {
		return st.agent, st.agentless
	}
	r := st.runtime
	pod := &stack{runtime: r, spec: stacks.Spec{Run: st.spec.Run, Name: "of the agent on node " + st.node}, id: stacks.RandomID(), node: st.node, gpus: st.gpus, patience: r.limits.agent}
	pod.objects = objects{owner: pod.ownerJob(), policy: pod.closed(), pod: pod.agentPod(image)}
	err := pod.create(ctx)
	if err == nil {
		_, err = pod.awaitStart(ctx, held)
	}
	if err != nil {
		st.agentless = stacks.Abandon(ctx, pod, r.limits.stop, fmt.Errorf("the agent on node %s: %w", st.node, err))
		return nil, st.agentless
	}
	st.agent = &agent{pod: pod, by: map[string]bool{byStack: true}}
	return st.agent, nil
}

// leave removes the agent, unless somebody else has it. It may be called more than once.
func (a *agent) leave(ctx context.Context, by string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.by, by)
	if len(a.by) > 0 {
		return nil
	}
	return a.pod.Stop(ctx)
}

// call runs a subcommand of stackmeter agent in it.
func (a *agent) call(name string, args ...string) (*stream, error) {
	s, err := a.pod.runtime.stream(a.pod.objects.pod.Name, agentName, agentCommand(name, args...))
	if err != nil {
		return nil, fmt.Errorf("the agent on node %s: %w", a.pod.node, err)
	}
	return s, nil
}

// sampled starts what samples the GPUs. Closing what is returned lets the agent go.
func (st *stack) sampled(ctx context.Context, image Image) (io.ReadWriteCloser, error) {
	a, err := st.startAgent(ctx, image)
	if err != nil {
		return nil, err
	}
	s, err := a.call("sample")
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.by[bySampler] = true
	return agentStream{s, a}, nil
}

// closed is a NetworkPolicy that lets nothing in or out.
func (st *stack) closed() *networking.NetworkPolicy {
	return &networking.NetworkPolicy{ObjectMeta: st.meta(), Spec: networking.NetworkPolicySpec{
		PodSelector: meta.LabelSelector{MatchLabels: map[string]string{labelStack: st.id}},
		PolicyTypes: []networking.PolicyType{networking.PolicyTypeIngress, networking.PolicyTypeEgress},
	}}
}

// controlGroups is where an agent has those of its node.
const controlGroups = "/run/control-groups"

// agentPod is on the stack's node, sees its processes and control groups, and may nothing.
func (st *stack) agentPod(image Image) *core.Pod {
	grace, deadline, no := int64(1), lifetime, false
	c := agentContainer(image, core.ResourceRequirements{
		Requests: core.ResourceList{core.ResourceCPU: *resource.NewMilliQuantity(50, resource.DecimalSI), core.ResourceMemory: quantity(64 * mebibyte)},
		Limits:   core.ResourceList{core.ResourceMemory: quantity(1024 * mebibyte)},
	})
	devices, folder, deep := "void", core.HostPathDirectory, core.RecursiveReadOnlyIfPossible
	var class *string
	if st.gpus > 0 {
		devices, class = "all", st.runtime.gpuRuntime()
	}
	c.Env = append(c.Env, core.EnvVar{Name: visibleGPUs, Value: devices})
	c.VolumeMounts = []core.VolumeMount{{Name: "control-groups", MountPath: controlGroups, ReadOnly: true, RecursiveReadOnly: &deep}}
	spec := core.PodSpec{
		Volumes: []core.Volume{{Name: "control-groups", VolumeSource: core.VolumeSource{HostPath: &core.HostPathVolumeSource{Path: "/sys/fs/cgroup", Type: &folder}}}},
		HostPID: true, RestartPolicy: core.RestartPolicyNever, TerminationGracePeriodSeconds: &grace, ActiveDeadlineSeconds: &deadline,
		AutomountServiceAccountToken: &no, EnableServiceLinks: &no, DNSPolicy: core.DNSDefault,
		RuntimeClassName: class,
		Tolerations:      st.runtime.options.Nodes.tolerations,
		Affinity:         nodeNames(core.NodeSelectorOpIn, []string{st.node}),
		Containers:       []core.Container{c},
	}
	return &core.Pod{ObjectMeta: st.meta(), Spec: spec}
}

// gpuRuntime is the runtime class of Pods that see GPUs.
func (r *Runtime) gpuRuntime() *string {
	if r.options.Agents.RuntimeClass == "" {
		return nil
	}
	return &r.options.Agents.RuntimeClass
}

// An agentStream is a stream to what samples the GPUs in an agent.
type agentStream struct {
	io.ReadWriteCloser
	agent *agent
}

// Close implements io.Closer.
func (s agentStream) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.agent.pod.runtime.limits.stop)
	defer cancel()
	return errors.Join(s.ReadWriteCloser.Close(), s.agent.leave(ctx, bySampler))
}
