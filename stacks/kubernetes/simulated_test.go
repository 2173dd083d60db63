package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// onlyDelete has kwok take Pods away that are to be deleted, and nothing else: by default
// it also ends those that belong to a Job, as stacks do.
const onlyDelete = `{apiVersion: kwok.x-k8s.io/v1alpha1, kind: Stage, metadata: {name: pod-delete}, spec: {
  resourceRef: {apiGroup: v1, kind: Pod},
  selector: {matchExpressions: [{key: .metadata.deletionTimestamp, operator: Exists}]},
  next: {finalizers: {empty: true}, delete: true}}}
`

// simulated adds nodes with two GPUs each that only kwok says are there, to which the
// runtime's Pods go from then on. Nothing runs on them.
func simulated(t *testing.T, r *Runtime, nodes int) {
	t.Helper()
	var said bytes.Buffer
	file, config := os.Getenv("KUBECONFIG"), filepath.Join(t.TempDir(), "kwok.yaml")
	if err := os.WriteFile(config, []byte(onlyDelete), 0o644); err != nil {
		t.Fatal(err)
	}
	kwok := exec.Command(filepath.Join(filepath.Dir(file), "bin", "kwok"), "--kubeconfig", file, "--config", config,
		"--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake", "--node-lease-duration-seconds=40")
	kwok.Stdout, kwok.Stderr = &said, &said
	if err := kwok.Start(); err != nil {
		t.Fatal(err)
	}
	api := r.api.CoreV1().Nodes()
	t.Cleanup(func() {
		for i := range nodes {
			if err := api.Delete(context.Background(), fmt.Sprintf("simulated-%d", i+1), meta.DeleteOptions{}); err != nil && !removed(err) {
				t.Error(err)
			}
		}
		_ = kwok.Process.Kill()
		_ = kwok.Wait()
		if t.Failed() {
			t.Log(&said)
		}
	})
	have := core.ResourceList{
		core.ResourceCPU: resource.MustParse("32"), core.ResourceMemory: resource.MustParse("256Gi"),
		core.ResourcePods: resource.MustParse("110"), "nvidia.com/gpu": resource.MustParse("2"),
	}
	for i := range nodes {
		node := &core.Node{
			ObjectMeta: meta.ObjectMeta{Name: fmt.Sprintf("simulated-%d", i+1), Labels: map[string]string{"type": "kwok"}, Annotations: map[string]string{"kwok.x-k8s.io/node": "fake"}},
			Spec:       core.NodeSpec{Taints: []core.Taint{{Key: "kwok.x-k8s.io/node", Value: "fake", Effect: core.TaintEffectNoSchedule}}},
			Status:     core.NodeStatus{Capacity: have, Allocatable: have},
		}
		if _, err := api.Create(t.Context(), node, meta.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if r.options.Nodes, err = ParseNodes([]string{"type=kwok"}, []string{"kwok.x-k8s.io/node=fake:NoSchedule"}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		room, err := r.Room(t.Context(), aGPU, scenarios.Client{})
		if err == nil && room.Free == 2*nodes {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, %v\n%s", room, err, &said)
		}
	}
}

// TestKubernetesEightGPUs: eight stacks that start at once get the eight GPUs of four
// simulated nodes, each its own by the scheduler, and a ninth waits for one of them.
func TestKubernetesEightGPUs(t *testing.T) {
	r := cluster(t)
	simulated(t, r, 4)
	spec := stackstest.Spec(t, "test-"+stacks.RandomID(), stackstest.Flask, wants(scenarios.GPURequired, 1))
	if _, err := r.image(t.Context(), spec.Services[0], func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
	place := func(ctx context.Context) (*core.Pod, error) {
		st, err := r.stack(ctx, spec)
		if err == nil {
			err = st.create(ctx)
		}
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() {
			if err := st.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return st.awaitStart(ctx, func(pod *core.Pod) (bool, error) { return pod.Spec.NodeName != "", nil })
	}
	var placing errgroup.Group
	pods := make([]*core.Pod, 8)
	for i := range pods {
		placing.Go(func() (err error) {
			pods[i], err = place(t.Context())
			return err
		})
	}
	if err := placing.Wait(); err != nil {
		t.Fatal(err)
	}
	on := map[string]int{}
	for _, pod := range pods {
		on[pod.Spec.NodeName]++
	}
	for node, n := range on {
		if n != 2 || !strings.HasPrefix(node, "simulated-") {
			t.Errorf("%d stacks are on %s", n, node)
		}
	}
	if room, err := r.Room(t.Context(), aGPU, scenarios.Client{}); err != nil || len(on) != 4 || room.Free != 0 || room.All != 8 || !strings.Contains(room.Why, "and 3 more") {
		t.Errorf("on %v: %+v, %v", on, room, err)
	}
	r.limits.schedule = 2 * time.Second
	if pod, err := place(t.Context()); !errors.Is(err, stacks.ErrNoRoom) || !strings.Contains(err.Error(), "4 Insufficient nvidia.com/gpu; running: ") {
		t.Errorf("the ninth: %v, %v", pod, err)
	}
}
