package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"

	"stackmeter/stacks"
)

// lifetime ends a Pod, in seconds, whatever else fails. A stack that stays up for a
// whole run lives that long at most.
const lifetime int64 = 24 * 60 * 60

const mebibyte = 1 << 20

// visibleGPUs keeps GPUs from a container that asks for none: where NVIDIA's runtime is
// the node's default, an image that says "all" would get all of them.
const visibleGPUs = "NVIDIA_VISIBLE_DEVICES"

// objects are what a stack is made of.
type objects struct {
	owner  *batch.Job
	secret *core.Secret // nil: there is nothing to keep secret
	policy *networking.NetworkPolicy
	pod    *core.Pod

	load    *core.Pod                 // that sends the loads; nil: this process does
	private *networking.NetworkPolicy // of the load Pod
}

// stack returns a stack of the spec that has not been started.
func (r *Runtime) stack(ctx context.Context, spec stacks.Spec) (*stack, error) {
	sites, err := spec.InPod()
	if err != nil {
		return nil, err
	}
	for i := range sites[:len(sites)-1] {
		sites[i].Listen.Host = "127.0.0.1" // only the entry is for clients
	}
	st := &stack{runtime: r, spec: spec, id: stacks.RandomID(), sites: sites}
	if st.gpus, err = r.given(ctx, spec.GPU); err != nil {
		return nil, err
	}
	st.services = make([]service, len(spec.Services))
	st.objects = objects{owner: st.ownerJob(), policy: st.networkPolicy()}
	st.objects.secret = &core.Secret{ObjectMeta: st.meta(), Data: map[string][]byte{}}
	st.objects.pod = &core.Pod{ObjectMeta: st.meta(), Spec: st.podSpec()}
	st.objects.pod.Spec.Affinity = offNodes(r.avoided(ctx))
	if st.gpus > 0 {
		if st.objects.pod.Spec.NodeSelector, err = r.options.Nodes.labelled(spec.GPU); err != nil {
			return nil, err
		}
	}
	if r.loads(spec.Client) {
		image, err := r.agentImage(ctx, func(string) {})
		if err != nil {
			return nil, fmt.Errorf("%w: the load Pod: %w", stacks.ErrUnavailable, err)
		}
		st.objects.load, st.objects.private = st.loadPod(image), st.loadPolicy()
	}
	for i, s := range spec.Services {
		made, err := r.image(ctx, s, func(string) {})
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", s.Name, err)
		}
		st.addContainer(i, made)
	}
	return st, nil
}

// meta is that of each object of the stack.
func (st *stack) meta() meta.ObjectMeta {
	return meta.ObjectMeta{
		Name: "stackmeter-" + st.id, Namespace: st.runtime.namespace,
		Labels:      map[string]string{labelRun: st.spec.Run, labelStack: st.id},
		Annotations: map[string]string{annotations: st.runtime.owner.String()},
	}
}

// ownerJob is a Job that has nothing to do and is over at once. The cluster removes it
// and all that it owns when its time to live is over.
func (st *stack) ownerJob() *batch.Job {
	none, ttl := int32(0), int32(st.runtime.limits.lease.Seconds())
	return &batch.Job{ObjectMeta: st.meta(), Spec: batch.JobSpec{
		Completions: &none, Parallelism: &none, TTLSecondsAfterFinished: &ttl,
		Template: core.PodTemplateSpec{Spec: core.PodSpec{RestartPolicy: core.RestartPolicyNever, Containers: []core.Container{{Name: "none", Image: "none"}}}},
	}}
}

// private are the addresses that a stack cannot reach: the cluster's own, those of the
// operator's networks, and the cloud's metadata service.
func private() []string {
	return []string{"10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"}
}

// networkPolicy lets clients reach the entry and nothing else, of which there is one if
// the stack has a load Pod; and the stack names and what is outside of the cluster.
func (st *stack) networkPolicy() *networking.NetworkPolicy {
	entry, names := intstr.FromInt(st.entry().Port), intstr.FromInt(53)
	tcp, udp := core.ProtocolTCP, core.ProtocolUDP
	var clients []networking.NetworkPolicyPeer
	if st.runtime.loads(st.spec.Client) {
		clients = []networking.NetworkPolicyPeer{{PodSelector: &meta.LabelSelector{MatchLabels: map[string]string{labelStack: st.id, labelPart: partLoad}}}}
	}
	return &networking.NetworkPolicy{ObjectMeta: st.meta(), Spec: networking.NetworkPolicySpec{
		PodSelector: meta.LabelSelector{
			MatchLabels:      map[string]string{labelStack: st.id},
			MatchExpressions: []meta.LabelSelectorRequirement{{Key: labelPart, Operator: meta.LabelSelectorOpDoesNotExist}},
		},
		PolicyTypes: []networking.PolicyType{networking.PolicyTypeIngress, networking.PolicyTypeEgress},
		Ingress:     []networking.NetworkPolicyIngressRule{{Ports: []networking.NetworkPolicyPort{{Protocol: &tcp, Port: &entry}}, From: clients}},
		Egress: []networking.NetworkPolicyEgressRule{
			{Ports: []networking.NetworkPolicyPort{{Protocol: &udp, Port: &names}, {Protocol: &tcp, Port: &names}}},
			{To: []networking.NetworkPolicyPeer{{IPBlock: &networking.IPBlock{CIDR: "0.0.0.0/0", Except: private()}}}},
		},
	}}
}

// entry is where the service listens that the client connects to.
func (st *stack) entry() stacks.Address { return st.sites[len(st.sites)-1].Listen }

// podSpec is the Pod without its containers.
func (st *stack) podSpec() core.PodSpec {
	grace, deadline, no := int64(1), lifetime, false
	// With one init process for all (the sandbox's), a server that is no init process
	// gets signals as elsewhere, and nobody's children stay zombies.
	share := !slices.Contains(ownInit(st.spec), true)
	var names []string
	for _, s := range st.spec.Services {
		if len(validation.IsDNS1123Subdomain(s.Name)) == 0 {
			names = append(names, s.Name)
		}
	}
	spec := core.PodSpec{
		RestartPolicy: core.RestartPolicyNever, TerminationGracePeriodSeconds: &grace, ActiveDeadlineSeconds: &deadline,
		AutomountServiceAccountToken: &no, EnableServiceLinks: &no, ShareProcessNamespace: &share,
		// Names are the node's to find: those of the cluster's services are none of the stack's.
		DNSPolicy:    core.DNSDefault,
		NodeSelector: st.runtime.options.Nodes.labels, Tolerations: st.runtime.options.Nodes.tolerations,
		SecurityContext: &core.PodSecurityContext{SeccompProfile: &core.SeccompProfile{Type: core.SeccompProfileTypeRuntimeDefault}},
	}
	if st.gpus > 0 {
		spec.RuntimeClassName = st.runtime.gpuRuntime()
	}
	if len(names) > 0 {
		spec.HostAliases = []core.HostAlias{{IP: "127.0.0.1", Hostnames: names}}
	}
	return spec
}

// containerName is what a service's container is called.
func (st *stack) containerName(i int) string {
	if name := st.spec.Services[i].Name; len(validation.IsDNS1123Label(name)) == 0 {
		return name
	}
	return fmt.Sprintf("service-%d", i+1)
}

// addContainer adds that of a service to the Pod, and what it needs to the Secret.
func (st *stack) addContainer(i int, image Image) {
	s, at, pod := st.spec.Services[i], st.sites[i], &st.objects.pod.Spec
	c := core.Container{
		Name: st.containerName(i), Image: image.Reference, ImagePullPolicy: core.PullIfNotPresent, WorkingDir: s.Container.Workdir,
		Env: st.environment(i), Resources: st.resources(s), SecurityContext: security(s, image.User),
		TerminationMessagePolicy: core.TerminationMessageReadFile,
	}
	argv := literals(s.Argv(at))
	switch entry := s.Container.Entrypoint; {
	case len(entry) > 0:
		c.Command, c.Args = literals(entry), argv
	case len(argv) > 0:
		c.Command = argv
	}
	mount := func(name, path string, source core.VolumeSource) *core.VolumeMount {
		if !slices.ContainsFunc(pod.Volumes, func(v core.Volume) bool { return v.Name == name }) {
			pod.Volumes = append(pod.Volumes, core.Volume{Name: name, VolumeSource: source})
		}
		c.VolumeMounts = append(c.VolumeMounts, core.VolumeMount{Name: name, MountPath: path})
		return &c.VolumeMounts[len(c.VolumeMounts)-1]
	}
	memory := func(size int64) core.VolumeSource {
		limit := quantity(size)
		return core.VolumeSource{EmptyDir: &core.EmptyDirVolumeSource{Medium: core.StorageMediumMemory, SizeLimit: &limit}}
	}
	if s.Proxy != nil {
		key := fmt.Sprintf("config-%d", i+1)
		st.objects.secret.Data[key] = []byte(s.Proxy.Text(at))
		source := core.VolumeSource{Secret: &core.SecretVolumeSource{SecretName: st.objects.secret.Name, Items: []core.KeyToPath{{Key: key, Path: key}}}}
		mount(key, at.Config, source).SubPath = key
	}
	if s.Unix || s.Proxy != nil && slices.ContainsFunc(st.spec.Services, func(s stacks.Service) bool { return s.Unix }) {
		mount("sockets", stacks.SocketFolder, memory(mebibyte))
	}
	paths := maps.Clone(s.Container.Tmpfs)
	if s.Container.ShmSize > 0 {
		if paths == nil {
			paths = map[string]int64{}
		}
		paths["/dev/shm"] = s.Container.ShmSize
	}
	for n, path := range slices.Sorted(maps.Keys(paths)) {
		mount(fmt.Sprintf("memory-%d-%d", i+1, n+1), path, memory(paths[path]))
	}
	pod.Containers = append(pod.Containers, c)
}

// literals are texts in which the kubelet replaces no $(NAME).
func literals(all []string) []string {
	var texts []string
	for _, one := range all {
		texts = append(texts, strings.ReplaceAll(one, "$(", "$$("))
	}
	return texts
}

// environment is that of a service's container. Its values are in the Secret: whoever
// may look at Pods would see them, and the kubelet would replace $(NAME) in them.
func (st *stack) environment(i int) []core.EnvVar {
	s := st.spec.Services[i]
	var all []core.EnvVar
	for n, name := range slices.Sorted(maps.Keys(s.Env)) {
		key := fmt.Sprintf("env-%d-%d", i+1, n+1)
		st.objects.secret.Data[key] = []byte(s.Env[name])
		all = append(all, core.EnvVar{Name: name, ValueFrom: &core.EnvVarSource{SecretKeyRef: &core.SecretKeySelector{
			LocalObjectReference: core.LocalObjectReference{Name: st.objects.secret.Name}, Key: key,
		}}})
	}
	if _, operators := s.Env[visibleGPUs]; !operators && (!s.GPU || st.gpus == 0) {
		all = append(all, core.EnvVar{Name: visibleGPUs, Value: "void"})
	}
	return all
}

// resources are what a service's container is limited to. What has a limit is also
// requested, so that it gets that much.
func (st *stack) resources(s stacks.Service) core.ResourceRequirements {
	limits := core.ResourceList{core.ResourceEphemeralStorage: quantity(stacks.FileLimit)}
	requests := core.ResourceList{core.ResourceEphemeralStorage: quantity(0)}
	if s.CPUs > 0 {
		limits[core.ResourceCPU] = *resource.NewMilliQuantity(int64(s.CPUs*1000+0.5), resource.DecimalSI)
		requests[core.ResourceCPU] = limits[core.ResourceCPU]
	}
	if s.Memory > 0 {
		limits[core.ResourceMemory] = quantity(s.Memory)
		requests[core.ResourceMemory] = limits[core.ResourceMemory]
	}
	if s.GPU && st.gpus > 0 {
		limits[gpuResource(st.spec.GPU)] = *resource.NewQuantity(st.gpus, resource.DecimalSI)
	}
	return core.ResourceRequirements{Limits: limits, Requests: requests}
}

// security confines a container as Pod Security's level "restricted" asks for. What
// runs as root by the scenario's or a known image's word does not pass there.
func security(s stacks.Service, by string) *core.SecurityContext {
	no, ids := false, user(s.Container.User)
	all := &core.SecurityContext{
		AllowPrivilegeEscalation: &no,
		Capabilities:             &core.Capabilities{Drop: []core.Capability{"ALL"}},
		SeccompProfile:           &core.SeccompProfile{Type: core.SeccompProfileTypeRuntimeDefault},
	}
	for _, one := range s.Container.Capabilities {
		all.Capabilities.Add = append(all.Capabilities.Add, core.Capability(one))
	}
	if s.Container.ReadOnly != nil && *s.Container.ReadOnly {
		yes := true
		all.ReadOnlyRootFilesystem = &yes
	}
	if len(ids) > 0 {
		all.RunAsUser = &ids[0]
	}
	if len(ids) > 1 {
		all.RunAsGroup = &ids[1]
	}
	if len(ids) == 0 {
		ids = user(by)
	}
	if s.Image != "" && s.Container.User == "" || len(ids) > 0 && ids[0] != 0 {
		// Of an image that is only named, the kubelet knows whom it runs as.
		yes := true
		all.RunAsNonRoot = &yes
	}
	return all
}

// user reads a user and a group in numbers (1000 or 1000:1000; root is 0); nil if they
// are none.
func user(text string) []int64 {
	var ids []int64
	for one := range strings.SplitSeq(text, ":") {
		if one == "root" {
			one = "0"
		}
		id, err := strconv.ParseInt(one, 10, 64)
		if err != nil || len(ids) == 2 {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}
