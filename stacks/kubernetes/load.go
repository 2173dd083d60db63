package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// The load Pod of a stack sends its loads from a node of its own, unless the scenario
// wants it beside the stack. It has the agent's image, waits, and does what it is asked
// through exec. It belongs to the stack's owner, as everything else does.

const (
	labelPart = "stackmeter.part" // of what is beside the stack's own Pod
	partLoad  = "load"
	loadName  = "load" // of the Pod's only container

	// loadMemory is what a load Pod has: 20 MiB or so for each of a client's processes,
	// and the requests, which are in a file and leave memory where it is short.
	loadMemory = 1 << 30
)

// loads reports whether a stack gets a load Pod for its client.
func (r *Runtime) loads(client scenarios.Client) bool {
	return r.options.Agents.Load && client.Engine == scenarios.EngineNative
}

// Loads reports whether load Pods send the loads.
func (r *Runtime) Loads() bool { return r.options.Agents.Load }

// LoadImage makes the image of load Pods, once, and returns its digest; empty where its
// reference has none.
func (r *Runtime) LoadImage(ctx context.Context, progress func(string)) (digest string, err error) {
	made, err := r.agentImage(ctx, progress)
	return made.Digest, err
}

// loadPod is the load Pod, on any node.
func (st *stack) loadPod(image Image) *core.Pod {
	yes, no, nobody := true, false, agentUser
	pod := &core.Pod{ObjectMeta: st.meta(), Spec: st.podSpec()}
	pod.Name += "-" + partLoad
	pod.Labels[labelPart] = partLoad
	pod.Spec.HostAliases, pod.Spec.RuntimeClassName, pod.Spec.ShareProcessNamespace = nil, nil, &yes // whatever a client leaves behind is reaped
	// Whole cores with a request for all of it: a kubelet with a static CPU manager pins it.
	whole := core.ResourceList{
		core.ResourceCPU:              *resource.NewQuantity(int64(loadCores(st.spec.Client)), resource.DecimalSI),
		core.ResourceMemory:           quantity(loadMemory),
		core.ResourceEphemeralStorage: quantity(stacks.FileLimit),
	}
	requests := whole.DeepCopy()
	requests[core.ResourceEphemeralStorage] = quantity(0)
	pod.Spec.Volumes = []core.Volume{{Name: "payloads", VolumeSource: core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{}}}}
	pod.Spec.Containers = []core.Container{{
		Name: loadName, Image: image.Reference, ImagePullPolicy: core.PullIfNotPresent, Command: agentCommand("hold"),
		Env:          []core.EnvVar{{Name: visibleGPUs, Value: "void"}},
		Resources:    core.ResourceRequirements{Limits: whole, Requests: requests},
		VolumeMounts: []core.VolumeMount{{Name: "payloads", MountPath: "/tmp"}},
		SecurityContext: &core.SecurityContext{
			AllowPrivilegeEscalation: &no, Capabilities: &core.Capabilities{Drop: []core.Capability{"ALL"}}, ReadOnlyRootFilesystem: &yes,
			RunAsNonRoot: &yes, RunAsUser: &nobody, RunAsGroup: &nobody, SeccompProfile: &core.SeccompProfile{Type: core.SeccompProfileTypeRuntimeDefault},
		},
		TerminationMessagePolicy: core.TerminationMessageReadFile,
	}}
	return pod
}

// loadCores is how many cores the load Pod has.
func loadCores(client scenarios.Client) int { return max(1, client.Cores) }

// loadPolicy lets the load Pod reach the stack's entry, and nothing reach it.
func (st *stack) loadPolicy() *networking.NetworkPolicy {
	entry, tcp := intstr.FromInt(st.entry().Port), core.ProtocolTCP
	policy := &networking.NetworkPolicy{ObjectMeta: st.meta(), Spec: networking.NetworkPolicySpec{
		PodSelector: meta.LabelSelector{MatchLabels: map[string]string{labelStack: st.id, labelPart: partLoad}},
		PolicyTypes: []networking.PolicyType{networking.PolicyTypeIngress, networking.PolicyTypeEgress},
		Egress: []networking.NetworkPolicyEgressRule{{
			Ports: []networking.NetworkPolicyPort{{Protocol: &tcp, Port: &entry}},
			To:    []networking.NetworkPolicyPeer{{PodSelector: &meta.LabelSelector{MatchLabels: map[string]string{labelStack: st.id}}}},
		}},
	}}
	policy.Name += "-" + partLoad
	return policy
}

// startLoad starts the load Pod, once the stack has a node. Where the scenario leaves it
// open and no other node takes the first one within a moment, all are beside their
// stacks; and so is one for which a node is missing that was lost.
func (st *stack) startLoad(ctx context.Context) error {
	r, wanted := st.runtime, st.spec.Client.Node
	beside := wanted == scenarios.NodeSame || wanted == "" && r.beside.Load()
	schedule := st.roomWait()
	first := !r.proven.Load()
	undecided := wanted == "" && !beside && (first || len(r.avoided(ctx)) > 0)
	if undecided {
		schedule = r.limits.elsewhere
	}
	pod, err := st.createLoad(ctx, beside, schedule)
	if undecided && errors.Is(err, errUnscheduled) {
		if _, err := r.remove(ctx, labelStack+"="+st.id+","+labelPart+"="+partLoad); err != nil {
			return err
		}
		if first { // otherwise until a node that was lost is heard of again
			r.beside.Store(true)
		}
		beside = true
		pod, err = st.createLoad(ctx, beside, st.roomWait())
	}
	switch {
	case errors.Is(err, errUnscheduled) && wanted == scenarios.NodeOther:
		return fmt.Errorf("%w; client.node: other asks for another node than the stack's, %s; with client.node: same the two share it", err, st.node)
	case err != nil:
		return err
	}
	st.loadNode, st.unasked = pod.Spec.NodeName, beside && wanted == ""
	r.stacks.Store(st.URL(), st)
	return nil
}

// createLoad makes the load Pod and waits until it runs.
func (st *stack) createLoad(ctx context.Context, beside bool, schedule time.Duration) (*core.Pod, error) {
	pod := st.objects.load.DeepCopy()
	if pod.Spec.Affinity = nodeNames(core.NodeSelectorOpIn, []string{st.node}); !beside {
		pod.Spec.Affinity = offNodes(append(st.runtime.avoided(ctx), st.node))
	}
	err := st.admitted(ctx, "make the load Pod", func(ctx context.Context) error {
		_, err := st.runtime.api.CoreV1().Pods(pod.Namespace).Create(ctx, pod, meta.CreateOptions{})
		return err
	})
	if err != nil {
		return nil, err
	}
	made, err := st.awaitPod(ctx, pod.Name, schedule, func(pod *core.Pod) (bool, error) {
		return started(pod, map[string]string{loadName: "load Pod"})
	})
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("load Pod: %w", err)
		if !errors.Is(err, stacks.ErrDisturbed) && !errors.Is(err, stacks.ErrLost) && !errors.Is(err, stacks.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", stacks.ErrUnavailable, err) // no topology could do better
		}
	}
	return made, err
}

// lookLoad fails unless the load Pod runs. The stack is not to blame for its end.
func (st *stack) lookLoad(pod *core.Pod) error {
	if by := taken(pod); by != nil {
		if errors.Is(by, stacks.ErrLost) {
			return fmt.Errorf("the load Pod: %w", by)
		}
		return fmt.Errorf("the load Pod %w: %s", stacks.ErrDisturbed, by)
	}
	for _, c := range pod.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil {
			return fmt.Errorf("the load Pod %w: %s", stacks.ErrDisturbed, ending(t, nil))
		}
	}
	return unheard(pod)
}

// OpenLoad starts the program that sends one batch, in the Pod that sends the loads of the
// stack at a URL, and returns its standard input and output. Closing them ends it.
func (r *Runtime) OpenLoad(ctx context.Context, url string) (io.ReadWriteCloser, error) {
	found, known := r.stacks.Load(url)
	if !known {
		return nil, fmt.Errorf("no stack of this process has the address %s", url)
	}
	st := found.(*stack)
	return st.near(ctx, "load", "--cores", strconv.Itoa(loadCores(st.spec.Client)))
}

// near calls a subcommand of stackmeter agent in the load Pod.
func (st *stack) near(ctx context.Context, name string, args ...string) (*stream, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return st.runtime.stream(st.objects.load.Name, loadName, agentCommand(name, args...))
}

// DialEntry connects to the entry, which stacks.WaitReady asks for.
func (st *stack) DialEntry(ctx context.Context) (net.Conn, error) {
	return st.dial(ctx, st.entry().Port)
}

// dial connects to a port of the stack's Pod. With a load Pod, connections begin there.
func (st *stack) dial(ctx context.Context, port int) (net.Conn, error) {
	address := net.JoinHostPort(st.address.String(), strconv.Itoa(port))
	if st.objects.load == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	s, err := st.near(ctx, "dial", address)
	if err != nil {
		return nil, err
	}
	// It says so once the connection is there.
	var connected [1]byte
	stop := context.AfterFunc(ctx, func() { s.Close() })
	_, err = s.Read(connected[:])
	if !stop() {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("dial %s from node %s: %w", address, st.loadNode, err)
	}
	return s, nil
}

// refused reports whether nobody listens at a port of the stack's Pod.
func (st *stack) refused(ctx context.Context, port int) bool {
	conn, err := st.dial(ctx, port)
	if err == nil {
		conn.Close()
	}
	return refusal(err)
}

// refusal reports whether an error says that a connection was refused, here or in a load
// Pod, whose words alone come.
func refusal(err error) bool {
	return err != nil && strings.Contains(err.Error(), "connection refused")
}
