package kubernetes

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
	"stackmeter/stacks/stackstest"
)

// aQuota limits the runtime's namespace, from when its controller has counted once.
func aQuota(t *testing.T, r *Runtime, hard core.ResourceList) {
	t.Helper()
	quotas := r.api.CoreV1().ResourceQuotas(r.namespace)
	quota := &core.ResourceQuota{ObjectMeta: meta.ObjectMeta{Name: "most"}, Spec: core.ResourceQuotaSpec{Hard: hard}}
	if _, err := quotas.Create(t.Context(), quota, meta.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		got, err := quotas.Get(t.Context(), quota.Name, meta.GetOptions{})
		if err == nil && len(got.Status.Hard) > 0 {
			return
		}
	}
	t.Fatal("the quota was not counted")
}

// aGPU is what most stacks of these tests need.
var aGPU = scenarios.Resources{GPU: scenarios.GPU{Mode: scenarios.GPURequired, Count: 1}}

// TestLoadRoom: there are no more stacks at once than their load Pods have cores, which
// would otherwise wait for each other until none is patient any more.
func TestLoadRoom(t *testing.T) {
	node := func(name, cores string, unschedulable bool) core.Node {
		return core.Node{
			ObjectMeta: meta.ObjectMeta{Name: name}, Spec: core.NodeSpec{Unschedulable: unschedulable},
			Status: core.NodeStatus{Allocatable: core.ResourceList{core.ResourceCPU: resource.MustParse(cores)}},
		}
	}
	pod := func(on, cpu string) core.Pod {
		return core.Pod{Spec: core.PodSpec{NodeName: on, Containers: []core.Container{
			{Resources: core.ResourceRequirements{Requests: core.ResourceList{core.ResourceCPU: resource.MustParse(cpu)}}},
		}}}
	}
	nodes := []core.Node{node("n1", "2", false), node("n2", "2", false), node("away", "64", true)}
	for _, test := range []struct {
		name      string
		pods      []core.Pod
		cpus      float64
		cores     int
		free, all int
	}{
		{"as many as there are GPUs", nil, 0, 1, 4, 4},
		{"a Pod with a tenth of a core", []core.Pod{pod("n1", "100m")}, 0, 1, 3, 4},
		{"load Pods of two cores", nil, 0, 2, 2, 2},
		{"stacks of a core of their own", nil, 1, 1, 2, 2},
		{"none: the scheduler says why", []core.Pod{pod("n1", "2"), pod("n2", "2")}, 0, 1, 1, 4},
		{"none, ever", nil, 0, 3, 1, 1},
	} {
		room := stacks.Room{Free: 4, All: 4, Why: "4 of 4"}
		new(Runtime).loadRoom(&room, nodes, test.pods, test.cpus, test.cores)
		if room.Free != test.free || room.All != test.all || strings.Contains(room.Why, "cores are free for") != (test.free < 4) {
			t.Errorf("%s: %+v; want %d of %d", test.name, room, test.free, test.all)
		}
	}
}

// TestKubernetesRoom: how many stacks have room follows from the nodes that Pods may get,
// from who has their GPUs, and from the quota.
func TestKubernetesRoom(t *testing.T) {
	r := cluster(t)
	want := func(gpus, free, all int, why ...string) {
		t.Helper()
		room, err := r.Room(t.Context(), scenarios.Resources{GPU: scenarios.GPU{Mode: scenarios.GPURequired, Count: gpus}}, scenarios.Client{})
		if err != nil || room.Free != free || room.All != all {
			t.Errorf("%+v, %v; want %d of %d", room, err, free, all)
		}
		for _, part := range why {
			if !strings.Contains(room.Why, part) {
				t.Errorf("%q, want %q", room.Why, part)
			}
		}
	}
	want(1, 4, 4, "4 of 4 nvidia.com/gpu are free on 2 nodes")
	want(2, 2, 2)
	want(3, 0, 0)
	want(scenarios.AllGPUs, 2, 2)
	_, st := up(t, r, stackstest.Flask, wants(scenarios.GPURequired, 1))
	want(1, 3, 4, "3 of 4", "running: "+r.namespace+"/"+st.objects.pod.Name+" on "+st.node)
	want(2, 1, 2)
	var err error
	if r.options.Nodes, err = ParseNodes([]string{"nvidia.com/gpu.product=FAKE-GPU-2"}, nil); err != nil {
		t.Fatal(err)
	}
	if node := st.node; node == "n2" {
		want(1, 1, 2, "1 of 2 nvidia.com/gpu are free on 1 node;")
	} else {
		want(1, 2, 2, "2 of 2 nvidia.com/gpu are free on 1 node")
	}
	r.options.Nodes = Nodes{}
	aNamespace(t, r, nil)
	aQuota(t, r, core.ResourceList{"requests.nvidia.com/gpu": resource.MustParse("2")})
	want(1, 2, 2, "quota most of namespace "+r.namespace+" leaves 2")
}

// TestKubernetesWaits: a stack for which others leave no room, or no quota, says who has
// it and waits, and starts once it is left.
func TestKubernetesWaits(t *testing.T) {
	r := cluster(t)
	waits := func(t *testing.T, leave func(), change func(*scenarios.Plan), parts ...string) {
		t.Helper()
		spec := stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Flask, change)
		var mu sync.Mutex
		var said []string
		var once sync.Once
		st, err := r.StartPlaced(t.Context(), spec, stacks.Placing{Waits: func(why string) {
			mu.Lock()
			said = append(said, why)
			mu.Unlock()
			once.Do(func() { go leave() })
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(said) < 2 || said[len(said)-1] != "" {
			t.Fatalf("it said %q", said)
		}
		for _, part := range parts {
			if !strings.Contains(said[0], part) {
				t.Errorf("it said %q, want %q", said, part)
			}
		}
	}
	stop := func(t *testing.T, st *stack) func() {
		return func() {
			if err := st.Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}
	}
	t.Run("no node", func(t *testing.T) {
		_, first := up(t, r, stackstest.Flask, wants(scenarios.GPURequired, 2))
		_, second := up(t, r, stackstest.Flask, wants(scenarios.GPURequired, 2))
		waits(t, stop(t, first), wants(scenarios.GPURequired, 1), "0/2 nodes are available: 2 Insufficient nvidia.com/gpu", "running: ",
			r.namespace+"/"+first.objects.pod.Name+" on "+first.node, r.namespace+"/"+second.objects.pod.Name+" on "+second.node)
	})
	t.Run("no quota", func(t *testing.T) {
		aNamespace(t, r, nil)
		_, first := up(t, r, stackstest.Flask, nil)
		aQuota(t, r, core.ResourceList{core.ResourcePods: resource.MustParse("1")})
		waits(t, stop(t, first), nil, "exceeded quota: most")
		_, second := up(t, r, stackstest.Flask, nil)
		r.limits.schedule = time.Second
		defer func() { r.limits.schedule = defaultLimits().schedule }()
		spec := stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Flask, nil)
		if _, err := r.Start(t.Context(), spec); !errors.Is(err, stacks.ErrNoRoom) || !strings.Contains(err.Error(), "exceeded quota") {
			t.Errorf("the quota stays used up: %v", err)
		}
		if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		stop(t, second)()
	})
}

// TestQuotaFull tells a quota that is used up from one that is too small, by the words of
// its admission.
func TestQuotaFull(t *testing.T) {
	for said, want := range map[string][2]bool{
		"exceeded quota: most, requested: pods=1, used: pods=1, limited: pods=1":                                                     {true, false},
		"exceeded quota: most, requested: pods=1, used: pods=0, limited: pods=0":                                                     {true, true},
		"exceeded quota: most, requested: limits.memory=4Gi,pods=1, used: limits.memory=0,pods=1, limited: limits.memory=8Gi,pods=1": {true, false},
		"exceeded quota: most, requested: limits.memory=4Gi, used: limits.memory=0, limited: limits.memory=2048Mi":                   {true, true},
		"exceeded quota: in words of another version":                                                                                {true, false},
		"violates PodSecurity": {false, false},
	} {
		err := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "a", errors.New(said))
		if full, never := quotaFull(err); full != want[0] || never != want[1] {
			t.Errorf("%s: %v, %v", said, full, never)
		}
	}
	if full, _ := quotaFull(nil); full {
		t.Error("nothing is full")
	}
}

// TestKubernetesProduct: a stack gets a node with the product that its topology asks for,
// and one that no node has, or that the operator does not allow, is refused.
func TestKubernetesProduct(t *testing.T) {
	r := cluster(t)
	of := func(product string) func(*scenarios.Plan) {
		return func(p *scenarios.Plan) {
			p.Resources.GPU = scenarios.GPU{Mode: scenarios.GPUAuto, Count: 1}
			for i := range p.Trials {
				p.Trials[i].Topology.GPUProduct = product
			}
		}
	}
	asking := func(product string) scenarios.Topology {
		topology := stackstest.Flask
		topology.GPUProduct = product
		return topology
	}
	for product, node := range map[string]string{"FAKE-GPU-1": "n1", "FAKE-GPU-2": "n2"} {
		spec, st := up(t, r, asking(product), of(product))
		found, err := servers.Verify(t.Context(), spec, st)
		if err != nil || st.node != node || !strings.HasSuffix(found.GPU, ", product "+product) {
			t.Errorf("%s: on %s, %q, %v", product, st.node, found.GPU, err)
		}
		if room, err := r.Room(t.Context(), scenarios.Resources{GPU: spec.GPU}, scenarios.Client{}); err != nil || room.Free != 1 || room.All != 2 {
			t.Errorf("%s: %+v, %v", product, room, err)
		}
	}
	refused := func(product, want string) {
		t.Helper()
		spec := stackstest.Spec(t, "test-"+stacks.RandomID(), asking(product), of(product))
		if err := r.Prepare(t.Context(), spec, func(string) {}); !errors.Is(err, stacks.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", product, err)
		}
	}
	refused("FAKE-GPU-3", "the nodes with nvidia.com/gpu.product=FAKE-GPU-3 have at most 0 each")
	var err error
	if r.options.Nodes, err = ParseNodes([]string{"nvidia.com/gpu.product=FAKE-GPU-2"}, nil); err != nil {
		t.Fatal(err)
	}
	refused("FAKE-GPU-1", "allows no other than that")
	spec := stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Flask, func(p *scenarios.Plan) {
		p.Resources.GPU = scenarios.GPU{Mode: scenarios.GPURequired, Count: 1, MIG: "1g.10gb"}
	})
	if err := r.Prepare(t.Context(), spec, func(string) {}); !errors.Is(err, stacks.ErrUnavailable) || !strings.Contains(err.Error(), "1 nvidia.com/mig-1g.10gb") {
		t.Errorf("an instance that no node has: %v", err)
	}
}
