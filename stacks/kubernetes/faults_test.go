package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/cgroup"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// aNamespace is one of the test's own, in which the runtime is from then on.
func aNamespace(t *testing.T, r *Runtime, labels map[string]string) {
	t.Helper()
	api := r.api
	made, err := api.CoreV1().Namespaces().Create(t.Context(), &core.Namespace{ObjectMeta: meta.ObjectMeta{GenerateName: "test-", Labels: labels}}, meta.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before := r.namespace
	r.namespace = made.Name
	t.Cleanup(func() {
		r.namespace = before
		if err := api.CoreV1().Namespaces().Delete(context.Background(), made.Name, meta.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) { // the account that its Pods have
		if _, err = api.CoreV1().ServiceAccounts(made.Name).Get(t.Context(), "default", meta.GetOptions{}); err == nil {
			return
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal(err)
		}
	}
}

// up starts a stack that the test's end removes, with all that it has.
func up(t *testing.T, r *Runtime, topology scenarios.Topology, change func(*scenarios.Plan)) (stacks.Spec, *stack) {
	t.Helper()
	spec := stackstest.Spec(t, "test-"+stacks.RandomID(), topology, change)
	if err := r.Prepare(t.Context(), spec, func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	started, err := r.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := started.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if left, err := r.leftovers(context.Background(), spec.Run); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	if err := stacks.WaitReady(t.Context(), spec, started); err != nil {
		t.Fatal(err)
	}
	return spec, started.(*stack)
}

// wants asks for GPUs.
func wants(mode string, count int) func(*scenarios.Plan) {
	return func(p *scenarios.Plan) { p.Resources.GPU = scenarios.GPU{Mode: mode, Count: count} }
}

// TestKubernetesGPUs: which devices a stack got is read back from inside, a stack that
// asks for none sees none, and one for which none is left is told so in the scheduler's
// words.
func TestKubernetesGPUs(t *testing.T) {
	r := cluster(t)
	for mode, none := range map[string]bool{scenarios.GPUAuto: false, scenarios.GPURequired: false, scenarios.GPUOff: true} {
		spec, st := up(t, r, stackstest.Nginx, wants(mode, 1))
		found, err := servers.Verify(t.Context(), spec, st)
		if err != nil || (len(st.Devices()) == 0) != none || !none && (len(st.Devices()) != 1 || !strings.Contains(found.GPU, st.Devices()[0]+" (listed by nvidia-smi")) {
			t.Errorf("mode %s: %v, %q, %v", mode, st.Devices(), found.GPU, err)
		}
		seen, err := st.Exec(t.Context(), "nginx", "printenv", visibleGPUs)
		if err != nil || string(seen) != "void\n" {
			t.Errorf("mode %s: the proxy sees %q, %v", mode, seen, err)
		}
		if err := st.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, first := up(t, r, stackstest.Flask, wants(scenarios.GPURequired, 2))
	_, second := up(t, r, stackstest.Flask, wants(scenarios.GPURequired, scenarios.AllGPUs))
	all := slices.Concat(first.Devices(), second.Devices())
	slices.Sort(all)
	if len(slices.Compact(all)) != 4 || first.node == second.node {
		t.Errorf("%v of %s and %v of %s: want the two of each node", first.Devices(), first.node, second.Devices(), second.node)
	}
	spec := stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Flask, wants(scenarios.GPURequired, 1))
	r.limits.schedule = 2 * time.Second
	if _, err := r.Start(t.Context(), spec); !errors.Is(err, stacks.ErrUnavailable) || !strings.Contains(err.Error(), "0/2 nodes are available: 2 Insufficient nvidia.com/gpu; running: "+r.namespace+"/stackmeter-") {
		t.Errorf("with none left: %v", err)
	}
	if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	for _, want := range []scenarios.GPU{{Mode: scenarios.GPURequired, Count: 3}, {Mode: scenarios.GPUAuto, Devices: []string{"0"}}, {Mode: scenarios.GPUAuto, MPS: &scenarios.MPS{}}} {
		if _, _, err := r.Devices(t.Context(), want); !errors.Is(err, stacks.ErrUnavailable) {
			t.Errorf("%+v: %v", want, err)
		}
	}
}

// TestKubernetesNodes: the operator says which nodes Pods get.
func TestKubernetesNodes(t *testing.T) {
	r := cluster(t)
	node, err := r.api.CoreV1().Nodes().Get(t.Context(), "n2", meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	taint := func(taints []core.Taint) {
		t.Helper()
		change, err := json.Marshal(map[string]any{"spec": map[string]any{"taints": taints}})
		if err == nil {
			_, err = r.api.CoreV1().Nodes().Patch(context.Background(), node.Name, types.MergePatchType, change, meta.PatchOptions{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	taint([]core.Taint{{Key: "test", Value: "gpus", Effect: core.TaintEffectNoSchedule}})
	t.Cleanup(func() { taint(node.Spec.Taints) })
	const product = "nvidia.com/gpu.product=FAKE-GPU-2"
	if r.options.Nodes, err = ParseNodes([]string{product}, nil); err != nil {
		t.Fatal(err)
	}
	r.limits.schedule = time.Second
	if err := r.Prepare(t.Context(), stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Flask, nil), func(string) {}); !errors.Is(err, stacks.ErrUnavailable) || !strings.Contains(err.Error(), "untolerated taint") {
		t.Errorf("with a taint: %v", err)
	}
	r.limits.schedule = defaultLimits().schedule
	for _, toleration := range []string{"test", "test:NoSchedule", "test=gpus:NoSchedule"} {
		if r.options.Nodes, err = ParseNodes([]string{product}, []string{toleration}); err != nil {
			t.Fatal(err)
		}
		if _, st := up(t, r, stackstest.Flask, nil); st.node != node.Name {
			t.Errorf("%s: it got %s", toleration, st.node)
		}
	}
}

// TestParseNodes: what is no label, or no taint, is refused.
func TestParseNodes(t *testing.T) {
	for _, wrong := range []string{"", "a", "a=b,c=d", "a b=c", "=b", "a=b c"} {
		if _, err := ParseNodes([]string{wrong}, nil); err == nil {
			t.Errorf("node selector %q is taken", wrong)
		}
	}
	for _, wrong := range []string{"", ":NoSchedule", "a:Nosuch", "a b", "a=b c:NoSchedule"} {
		if _, err := ParseNodes(nil, []string{wrong}); err == nil {
			t.Errorf("toleration %q is taken", wrong)
		}
	}
}

// TestKubernetesRefused: what the cluster refuses is told before anything is measured.
func TestKubernetesRefused(t *testing.T) {
	r := cluster(t)
	refused := func(t *testing.T, change func(*scenarios.Plan), wants ...string) {
		t.Helper()
		spec := stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Flask, change)
		err := r.Prepare(t.Context(), spec, func(string) {})
		if err == nil {
			var st stacks.Stack
			if st, err = r.Start(t.Context(), spec); err == nil {
				err = st.Stop(t.Context())
			}
		}
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	named := func(image string) func(*scenarios.Plan) {
		return func(p *scenarios.Plan) { p.App.Build, p.App.Image = nil, image }
	}
	t.Run("an image that is nowhere", func(t *testing.T) {
		refused(t, named(clusterPrefix+"/none:1"), "service app: its image "+clusterPrefix+"/none:1 cannot be pulled", "correct its name")
	})
	t.Run("a namespace for confined Pods", func(t *testing.T) {
		aNamespace(t, r, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
		up(t, r, stackstest.Socket, func(p *scenarios.Plan) { p.App.Env = map[string]string{"LEAK": "1"} })
		refused(t, func(p *scenarios.Plan) { p.App.User = "root" }, "violates PodSecurity", "user: 1000")
		refused(t, func(p *scenarios.Plan) { p.App.Capabilities = []string{"CHOWN"} }, "violates PodSecurity")
	})
	t.Run("a quota", func(t *testing.T) {
		aNamespace(t, r, nil)
		aQuota(t, r, core.ResourceList{core.ResourcePods: resource.MustParse("0")})
		refused(t, nil, "exceeded quota", "let its operator raise it")
	})
	t.Run("an address that is not reached", func(t *testing.T) {
		_, st := up(t, r, stackstest.Flask, nil)
		r.proven.Store(false)
		st.address = netip.MustParseAddr("255.255.255.255") // no connection leads there
		if err := st.reach(t.Context()); !errors.Is(err, stacks.ErrUnavailable) || !strings.Contains(err.Error(), "ip route add") {
			t.Error(err)
		}
	})
}

// TestKubernetesRights: Check names what a user may not do, and what it asks for is
// enough to run a stack.
func TestKubernetesRights(t *testing.T) {
	r := cluster(t)
	aNamespace(t, r, nil)
	rules := map[string]*rbac.PolicyRule{}
	for _, one := range rights() {
		if one.more {
			continue
		}
		name := one.kind()
		if rules[name] == nil {
			rules[name] = &rbac.PolicyRule{APIGroups: []string{one.group}, Resources: []string{name}}
		}
		rules[name].Verbs = append(rules[name].Verbs, one.verb)
	}
	role := &rbac.Role{ObjectMeta: meta.ObjectMeta{Name: "stackmeter"}}
	for _, rule := range rules {
		role.Rules = append(role.Rules, *rule)
	}
	if _, err := r.api.RbacV1().Roles(r.namespace).Create(t.Context(), role, meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	admin := r.api
	as := rest.CopyConfig(r.config)
	as.Impersonate.UserName = "runner"
	if err := r.connect(as); err != nil {
		t.Fatal(err)
	}
	if err := r.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "create pods/exec") || !strings.Contains(err.Error(), "delete secrets") {
		t.Errorf("without any right: %v", err)
	}
	bound := &rbac.RoleBinding{ObjectMeta: meta.ObjectMeta{Name: "stackmeter"}, RoleRef: rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "Role", Name: "stackmeter"},
		Subjects: []rbac.Subject{{Kind: rbac.UserKind, APIGroup: rbac.GroupName, Name: "runner"}}}
	if _, err := admin.RbacV1().RoleBindings(r.namespace).Create(t.Context(), bound, meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var err error
	for range 50 { // the authorizer learns of it a moment later
		if err = r.Check(t.Context()); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	spec, st := up(t, r, stackstest.Nginx, wants(scenarios.GPURequired, 1))
	if _, err := servers.Verify(t.Context(), spec, st); err != nil {
		t.Error(err)
	}
	if err := st.Logs(t.Context(), t.Output()); err != nil {
		t.Error(err)
	}
	if room, err := r.Room(t.Context(), aGPU, scenarios.Client{}); err != nil || room.All != 0 || !strings.Contains(room.Why, "may not list") {
		t.Errorf("how much room there is: %+v, %v", room, err)
	}
	if _, none, err := r.Devices(t.Context(), scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}); err != nil || !strings.Contains(none, "may not list") {
		t.Errorf("whether there are GPUs: %q, %v", none, err)
	}
}

// TestKubernetesSecrets: whoever may look at Pods sees nothing of the environment.
func TestKubernetesSecrets(t *testing.T) {
	r := cluster(t)
	const secret = "secret-4711-$(HOSTNAME)"
	_, st := up(t, r, stackstest.Flask, func(p *scenarios.Plan) { p.App.Env = map[string]string{"API_TOKEN": secret} })
	out, err := st.Exec(t.Context(), stacks.AppService, "printenv", "API_TOKEN")
	if err != nil || string(out) != secret+"\n" {
		t.Errorf("the app has %q, %v", out, err)
	}
	pod, err := r.api.CoreV1().Pods(r.namespace).Get(t.Context(), st.objects.pod.Name, meta.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(pod); err != nil || strings.Contains(string(text), "secret-4711") {
		t.Errorf("the Pod shows it (%v): %s", err, text)
	}
	if out, err := st.Exec(t.Context(), stacks.AppService, "ls", "/var/run/secrets/kubernetes.io"); err == nil {
		t.Errorf("the stack has credentials of the cluster: %s", out)
	}
}

// TestKubernetesTaken: a Pod that somebody deletes or evicts is not the stack's fault.
func TestKubernetesTaken(t *testing.T) {
	r := cluster(t)
	_, st := up(t, r, stackstest.Flask, nil)
	if err := r.api.CoreV1().Pods(r.namespace).Delete(t.Context(), st.objects.pod.Name, meta.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := st.Check(t.Context()); !errors.Is(err, stacks.ErrDisturbed) {
		t.Errorf("deleted by somebody: %v", err)
	}
	for reason, want := range map[string]error{"Evicted": stacks.ErrDisturbed, "NodeLost": stacks.ErrLost, "DeadlineExceeded": stacks.ErrEnded, "OutOfcpu": stacks.ErrEnded} {
		pod := &core.Pod{Status: core.PodStatus{Phase: core.PodFailed, Reason: reason, Message: "The node was low on resource: memory."}}
		if err := taken(pod); !errors.Is(err, want) {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

// TestKubernetesOrphaned: of a stack whose process is gone the cluster itself leaves
// nothing, and a sweep removes it before.
func TestKubernetesOrphaned(t *testing.T) {
	r := cluster(t)
	spec := stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Nginx, nil)
	if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
		t.Fatal(err)
	}
	r.limits.lease = 5 * time.Second // and nothing puts it off within a minute
	started, err := r.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.Stop(context.Background()) })
	if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) != 4 {
		t.Errorf("a Pod, its owner, a Secret and a NetworkPolicy should be there: %v, %v", left, err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		left, err := r.leftovers(t.Context(), spec.Run)
		if err == nil && len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after its time to live there is still: %v, %v", left, err)
		}
	}
	r.limits.lease = time.Minute
	if started, err = r.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = started.Stop(context.Background()) })
	if _, err := r.Sweep(t.Context(), ""); err != nil || started.Check(t.Context()) != nil {
		t.Errorf("its owner is alive: %v, %v", err, started.Check(t.Context()))
	}
	later := cluster(t)
	later.owner.Boot = "another" // as after a reboot of this machine
	if removed, err := later.Sweep(t.Context(), ""); err != nil || len(removed) < 4 {
		t.Errorf("removed %v, %v", removed, err)
	}
	if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestKubernetesElsewhere: where the node is another machine, the containers are asked what
// runs in them, and an agent there reads what they use; without it they are asked that too.
func TestKubernetesElsewhere(t *testing.T) {
	r := cluster(t)
	r.remote = true
	spec, st := up(t, r, stackstest.Nginx, nil)
	found, err := servers.Verify(t.Context(), spec, st)
	if err != nil || !found.Apart || found.Workers == nil || *found.Workers != 1 || *found.Threads != 2 || found.Unread != "" {
		t.Errorf("%+v, %v", found, err)
	}
	for i, name := range []string{"gunicorn", "nginx"} {
		for _, p := range found.Services[i].Processes {
			if !strings.Contains(p.Command, name) || p.Threads == 0 || p.Start == 0 {
				t.Errorf("a process of %s: %+v", name, p)
			}
		}
	}
	asked, listens, err := st.Listening(t.Context(), stacks.AppService)
	if err != nil || !slices.Equal(listens, []netip.AddrPort{asked}) {
		t.Errorf("asked for %v, listens on %v, %v", asked, listens, err)
	}
	memory, others := elsewhere(t, st)
	if memory.Inside || memory.Memory == nil || memory.Start == nil || *memory.Memory-*memory.Start < burst-8<<20 || memory.Samples < 3 || memory.MaxGap <= 0 || memory.Services[stacks.AppService] < burst {
		t.Errorf("its memory: %+v", memory)
	}
	// Nothing but the agent has read it: the groups are the same as here, and the method
	// is the agent's.
	groups := hereGroups(t, st)
	if memory.Method != "agent-"+groups[0].Group.Method || *memory.Memory > *others.Memory+8<<20 || *others.Memory > *memory.Memory+8<<20 {
		t.Errorf("by the agent %d (%s), read here %d", *memory.Memory, memory.Method, *others.Memory)
	}
	if _, err := r.remove(t.Context(), labelStack+"="+st.agent.pod.id); err != nil {
		t.Fatal(err)
	}
	if asked, _ := elsewhere(t, st); !asked.Inside || asked.Memory != nil || !strings.HasPrefix(asked.Reason, unsampled+": ") || asked.KernelPeak != nil && *asked.KernelPeak < burst {
		t.Errorf("without the agent: %+v", asked)
	}
}

// TestKubernetesUnseen: where no agent may be, the stack is asked what it used, which its
// readings say.
func TestKubernetesUnseen(t *testing.T) {
	r := cluster(t)
	r.remote = true
	aNamespace(t, r, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	_, st := up(t, r, stackstest.Flask, nil)
	used, _ := elsewhere(t, st)
	if !used.Inside || used.Memory != nil || used.KernelPeak == nil || *used.KernelPeak < burst || !strings.HasPrefix(used.Reason, unsampled+": ") || !strings.Contains(used.Reason, "violates PodSecurity") {
		t.Errorf("its memory: %+v", used)
	}
}

// burst is what elsewhere has the app hold for a moment.
const burst = 200 << 20

// elsewhere meters a moment of work of the app as on another machine, and at the same time
// as on this one.
func elsewhere(t *testing.T, st *stack) (there, here stacks.Reading) {
	t.Helper()
	meter, err := st.Meter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own := cgroup.Start(hereGroups(t, st))
	before, err := st.CPU(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Exec(t.Context(), stacks.AppService, "python3", "-c", fmt.Sprintf("x = b'x' * %d\nfor i in range(5_000_000): pass", burst)); err != nil {
		t.Fatal(err)
	}
	after, err := st.CPU(t.Context())
	used := meter.Stop()
	if err != nil || after-before < 50*time.Millisecond || used.CPU == nil || *used.CPU < after-before {
		t.Errorf("it used %v by the counters, %v by the meter, %v", after-before, used.CPU, err)
	}
	return used, own.Stop()
}

// hereGroups are the control groups of a stack that is taken to be elsewhere.
func hereGroups(t *testing.T, st *stack) []cgroup.Service {
	t.Helper()
	st.runtime.remote = false
	defer func() { st.runtime.remote = true }()
	groups, here := st.groups()
	if !here {
		t.Fatal("the cluster's nodes are not this machine")
	}
	return groups
}

// TestKubernetesAway: a stack goes on while the API server does not answer.
func TestKubernetesAway(t *testing.T) {
	r := cluster(t)
	_, st := up(t, r, stackstest.Flask, nil)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(os.Getenv("KUBECONFIG")), "state", "pid", "api"))
	if err != nil {
		t.Skipf("needs the cluster's API server on this machine: %v", err)
	}
	server, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	r.limits.call = time.Second
	if err := syscall.Kill(server, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	again := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(server, syscall.SIGCONT) })
	defer again.Stop()
	began := time.Now()
	if err := r.Check(t.Context()); !errors.Is(err, stacks.ErrLost) {
		t.Errorf("the runtime: %v", err)
	}
	if err := st.Check(t.Context()); err != nil || time.Since(began) < 4*time.Second {
		t.Errorf("the stack, after %v: %v", time.Since(began), err)
	}
	r.limits.call = defaultLimits().call
}
