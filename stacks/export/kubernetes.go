package export

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"stackmeter/scenarios"
	"stackmeter/scenarios/ready"
	"stackmeter/stacks"
)

// kubernetes writes a Deployment whose pod is the stack, and a Service in front of it.
// The containers of a pod reach each other at 127.0.0.1, each at a port of its own.
// https://kubernetes.io/docs/reference/kubernetes-api/
func kubernetes(d Deployment) ([]File, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	sites, err := d.Spec.InPod()
	if err != nil {
		return nil, err
	}
	var containers []*block
	var volumes volumeSet
	given := 0
	for i, s := range d.Spec.Services {
		if s.Image == "" && s.Build == nil && s.Proxy == nil {
			return nil, fmt.Errorf("service %s: %w", s.Name, errNoImage)
		}
		if d.gpus(s) > 0 {
			given++
		}
		if given > 1 {
			return nil, errors.New("its services share a GPU, and the containers of a pod cannot")
		}
		containers = append(containers, d.podContainer(s, sites[i], &volumes))
	}
	var pod block
	if product := d.Spec.GPU.Product; product != "" && given > 0 {
		var nodes block
		nodes.add(scenarios.ProductLabel, product, "as measured")
		pod.add("nodeSelector", &nodes, "")
	}
	if len(volumes.all) > 0 {
		pod.add("volumes", volumes.all, "")
	}
	pod.add("containers", containers, "")
	all := d.configMap(sites)
	return []File{{Text: document(append(all, d.deployment(&pod), d.service(sites))...)}}, nil
}

// configMap holds the configurations of the proxies, if there are any.
func (d Deployment) configMap(sites []stacks.Site) []*block {
	var data block
	for i, s := range d.Spec.Services {
		if s.Proxy != nil {
			data.add(s.Proxy.Software+".conf", s.Proxy.Text(sites[i]), "")
		}
	}
	if len(data.node.Content) == 0 {
		return nil
	}
	b := d.object("v1", "ConfigMap")
	b.add("data", &data, "")
	return []*block{b}
}

// object begins one of the objects.
func (d Deployment) object(version, kind string) *block {
	var b, meta block
	meta.add("name", d.name(), "")
	b.add("apiVersion", version, "")
	b.add("kind", kind, "")
	b.add("metadata", &meta, "")
	return &b
}

// label is by which the objects find each other.
func (d Deployment) label() *block {
	var b block
	b.add("app", d.name(), "")
	return &b
}

func (d Deployment) deployment(pod *block) *block {
	var spec, selector, template, meta block
	selector.add("matchLabels", d.label(), "")
	meta.add("labels", d.label(), "")
	template.add("metadata", &meta, "")
	template.add("spec", pod, "")
	spec.add("replicas", max(1, d.Copies), "each pod is the stack that was measured")
	spec.add("selector", &selector, "")
	spec.add("template", &template, "")
	b := d.object("apps/v1", "Deployment")
	b.add("spec", &spec, "")
	return b
}

func (d Deployment) service(sites []stacks.Site) *block {
	var spec, port block
	entry := sites[len(sites)-1].Listen.Port
	port.add("port", 80, "")
	port.add("targetPort", entry, "")
	spec.add("selector", d.label(), "")
	spec.add("ports", []*block{&port}, "")
	b := d.object("v1", "Service")
	b.add("spec", &spec, "")
	return b
}

// A volumeSet is the volumes of a pod.
type volumeSet struct{ all []*block }

// add adds a volume of some kind, unless it is there.
func (v *volumeSet) add(name, kind string, of *block) {
	for _, one := range v.all {
		if one.node.Content[1].Value == name {
			return
		}
	}
	var b block
	b.add("name", name, "")
	b.add(kind, of, "")
	v.all = append(v.all, &b)
}

func (d Deployment) podContainer(s stacks.Service, at stacks.Site, volumes *volumeSet) *block {
	var b block
	image, note := d.image(s)
	if s.Proxy != nil {
		note = "built from the Dockerfile that stackmeter export --format compose writes"
	} else if s.Build != nil {
		note = "built from " + s.Build.Context
	}
	b.add("name", s.Name, "")
	b.add("image", image, note)
	argv := s.Argv(at)
	switch entry := s.Container.Entrypoint; {
	case len(entry) > 0:
		b.add("command", podTexts(entry), "")
		if len(argv) > 0 {
			b.add("args", podTexts(argv), "")
		}
	case len(argv) > 0:
		b.add("command", podTexts(argv), "")
	}
	if s.Container.Workdir != "" {
		b.add("workingDir", s.Container.Workdir, "")
	}
	if env := d.podEnvironment(s); len(env) > 0 {
		b.add("env", env, "")
	}
	if !s.Unix {
		var port block
		port.add("containerPort", at.Listen.Port, "")
		b.add("ports", []*block{&port}, "")
	}
	d.podProbes(&b, s, at)
	d.podResources(&b, s)
	b.add("securityContext", podSecurity(s), "")
	if mounts := d.podMounts(s, at, volumes); len(mounts) > 0 {
		b.add("volumeMounts", mounts, "")
	}
	return &b
}

// podTexts are texts in which Kubernetes replaces no $(NAME).
func podTexts(all []string) []string { return literals(all) }

// podEnvironment is that of a container. What is not recorded comes from a Secret.
func (d Deployment) podEnvironment(s stacks.Service) []*block {
	var all []*block
	for _, v := range environment(s) {
		var one block
		one.add("name", v.name, "")
		if v.secret {
			var from, ref block
			ref.add("name", d.name(), "kubectl create secret generic "+d.name()+" --from-literal="+v.name+"=…")
			ref.add("key", v.name, "")
			from.add("secretKeyRef", &ref, "")
			one.add("valueFrom", &from, "")
		} else {
			one.add("value", literal(v.value), "")
		}
		all = append(all, &one)
	}
	return all
}

// podProbes ask a container what the scenario's ready probe asks.
func (d Deployment) podProbes(b *block, s stacks.Service, at stacks.Site) {
	how := d.podProbe(s, at)
	if how == nil {
		return
	}
	probe := func(failures int) *block {
		one := block{node: how.node}
		one.node.Content = slices.Clone(how.node.Content)
		one.add("periodSeconds", 10, "")
		one.add("timeoutSeconds", 2*probeSeconds, "")
		one.add("failureThreshold", failures, "")
		return &one
	}
	b.add("startupProbe", probe(max(1, int(d.Spec.Ready.Timeout.Seconds()+9)/10)), "for app.ready.timeout")
	b.add("readinessProbe", probe(3), "")
}

// podProbe is nil for a container that does not answer by itself. The node asks for
// what it can ask; otherwise a program in the container does.
func (d Deployment) podProbe(s stacks.Service, at stacks.Site) *block {
	ready := d.Spec.Ready
	if ready.None() || !slices.Contains(append(d.Spec.Answering(), d.Spec.Entry().Name), s.Name) {
		return nil
	}
	var b, how block
	_, pattern, _ := d.asks()
	switch {
	case len(ready.Command) == 0 && !s.Unix && pattern == "":
		how.add("port", at.Listen.Port, "")
		b.add("tcpSocket", &how, "")
		return &b
	case len(ready.Command) == 0 && !s.Unix && plainGet(ready):
		how.add("path", ready.Path, "")
		how.add("port", at.Listen.Port, "")
		if d.Spec.TLS != nil {
			how.add("scheme", "HTTPS", "")
		}
		var headers []*block
		for _, name := range slices.Sorted(maps.Keys(ready.Headers)) {
			var one block
			one.add("name", name, "")
			one.add("value", ready.Headers[name], "")
			headers = append(headers, &one)
		}
		if len(headers) > 0 {
			how.add("httpHeaders", headers, "")
		}
		b.add("httpGet", &how, "")
		return &b
	}
	asked := d.health(s, at)
	if len(asked.argv) == 0 {
		return nil
	}
	how.add("command", podTexts(asked.argv), "")
	b.add("exec", &how, "")
	return &b
}

// plainGet reports whether the node can ask what the probe asks. It also takes a
// redirection for an answer.
func plainGet(p ready.Probe) bool {
	return p.Method == "" && len(p.Status) == 0 && p.Body == "" && p.JSON == nil
}

func (d Deployment) podResources(b *block, s stacks.Service) {
	var limits, resources block
	if s.CPUs > 0 {
		limits.add("cpu", strconv.FormatFloat(s.CPUs, 'f', -1, 64), "")
	}
	mib, how := d.memory(s)
	if mib > 0 {
		limits.add("memory", fmt.Sprintf("%dMi", mib), how)
	} else {
		b.node.HeadComment = "# " + how
	}
	if gpus := d.gpus(s); gpus > 0 {
		limits.add(d.Spec.GPU.Resource(), gpus, "as measured")
	}
	if len(limits.node.Content) > 0 {
		resources.add("limits", &limits, "")
		b.add("resources", &resources, "")
	}
}

// podSecurity confines a container as it was when it was measured.
func podSecurity(s stacks.Service) *block {
	var b, caps block
	o := s.Container
	caps.add("drop", []string{"ALL"}, "")
	if len(o.Capabilities) > 0 {
		caps.add("add", o.Capabilities, "")
	}
	b.add("allowPrivilegeEscalation", false, "")
	b.add("capabilities", &caps, "")
	if user, err := strconv.ParseInt(o.User, 10, 64); err == nil {
		b.add("runAsUser", user, "")
	} else if user, group, is := numbers(o.User); is {
		b.add("runAsUser", user, "")
		b.add("runAsGroup", group, "")
	}
	if o.ReadOnly != nil && *o.ReadOnly {
		b.add("readOnlyRootFilesystem", true, "")
	}
	return &b
}

// numbers reads 1000:1000.
func numbers(text string) (user, group int64, is bool) {
	n, err := fmt.Sscanf(text, "%d:%d", &user, &group)
	return user, group, n == 2 && err == nil
}

func (d Deployment) podMounts(s stacks.Service, at stacks.Site, volumes *volumeSet) []*block {
	var all []*block
	mount := func(name, path string) *block {
		var one block
		one.add("name", name, "")
		one.add("mountPath", path, "")
		all = append(all, &one)
		return &one
	}
	memory := func(size int64) *block {
		var one block
		one.add("medium", "Memory", "")
		one.add("sizeLimit", strconv.FormatInt(size, 10), "")
		return &one
	}
	if s.Proxy != nil {
		var config block
		config.add("name", d.name(), "")
		volumes.add("config", "configMap", &config)
		mount("config", at.Config).add("subPath", s.Proxy.Software+".conf", "")
	}
	if d.meets(s) {
		volumes.add("sockets", "emptyDir", memory(mebibyte))
		mount("sockets", stacks.SocketFolder)
	}
	// As in the engine's containers, /dev/shm is small unless the scenario says more.
	paths := maps.Clone(s.Container.Tmpfs)
	if s.Container.ShmSize > 0 {
		if paths == nil {
			paths = map[string]int64{}
		}
		paths["/dev/shm"] = s.Container.ShmSize
	}
	for i, path := range slices.Sorted(maps.Keys(paths)) {
		name := fmt.Sprintf("%s-memory-%d", s.Name, i+1)
		volumes.add(name, "emptyDir", memory(paths[path]))
		mount(name, path)
	}
	for i, m := range s.Container.Mounts {
		var host block
		host.add("path", m.From, "of the machine that measured: every node needs it, or a volume instead")
		name := fmt.Sprintf("%s-mount-%d", s.Name, i+1)
		volumes.add(name, "hostPath", &host)
		mount(name, m.To).add("readOnly", true, "")
	}
	return all
}
