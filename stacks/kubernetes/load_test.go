package kubernetes

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// agentImage is an image of agents, where the nodes pull it.
func agentImage(t *testing.T, r *Runtime) string {
	t.Helper()
	image, err := r.options.Images.PublishAgent(t.Context(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return image.Reference
}

// loaded is a spec whose loads a Pod sends.
func loaded(t *testing.T, topology scenarios.Topology, client scenarios.Client) stacks.Spec {
	spec := stackstest.Spec(t, "test-"+stacks.RandomID(), topology, nil)
	client.Engine = scenarios.EngineNative
	spec.Client = client
	return spec
}

// upLoaded starts a stack with a load Pod, which the test's end removes with all that it
// has.
func upLoaded(t *testing.T, r *Runtime, spec stacks.Spec) *stack {
	t.Helper()
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
		if _, err := r.OpenLoad(context.Background(), started.URL()); err == nil {
			t.Error("a load can be sent to a stack that is gone")
		}
	})
	if err := stacks.WaitReady(t.Context(), spec, started); err != nil {
		t.Fatal(err)
	}
	return started.(*stack)
}

// TestKubernetesLoadPod: the Pod that sends the loads is where the scenario wants it, a
// namespace for confined Pods takes it, it has whole cores and memory of its own, reaches
// the stack, belongs to the stack's owner, and is let in by the stack's policy alone.
func TestKubernetesLoadPod(t *testing.T) {
	r := cluster(t)
	r.options.Agents.Load = true
	aNamespace(t, r, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	for node, same := range map[string]bool{"": false, scenarios.NodeOther: false, scenarios.NodeSame: true} {
		t.Run("node "+node, func(t *testing.T) {
			st := upLoaded(t, r, loaded(t, stackstest.Nginx, scenarios.Client{Node: node, Cores: 1}))
			facts, err := st.Inspect(t.Context())
			if err != nil || facts.Node != st.node || facts.ClientNode == "" || (facts.ClientNode == facts.Node) != same || facts.Beside || !facts.Apart {
				t.Errorf("%+v, %v", facts, err)
			}
			pod, err := st.pod(t.Context(), st.objects.load.Name)
			if err != nil {
				t.Fatal(err)
			}
			if pod.Status.QOSClass != core.PodQOSGuaranteed || pod.Spec.Containers[0].Resources.Requests.Cpu().Value() != 1 || len(pod.OwnerReferences) != 1 {
				t.Errorf("%s, %+v, owned by %v", pod.Status.QOSClass, pod.Spec.Containers[0].Resources, pod.OwnerReferences)
			}
			if err := st.Check(t.Context()); err != nil {
				t.Error(err)
			}
			// An answer comes through the Pod, which nothing else has to reach.
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return st.DialEntry(ctx)
			}}}
			resp, err := client.Get(st.URL() + "/healthz")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s %q, %v", resp.Status, body, err)
			}
			policy, err := r.api.NetworkingV1().NetworkPolicies(r.namespace).Get(t.Context(), st.objects.policy.Name, meta.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			from := policy.Spec.Ingress[0].From
			if len(from) != 1 || !selects(t, from[0].PodSelector, pod) || selects(t, &policy.Spec.PodSelector, pod) || selects(t, from[0].PodSelector, st.objects.pod) || !selects(t, &policy.Spec.PodSelector, st.objects.pod) {
				t.Errorf("the stack's policy is of %v and lets in %v", policy.Spec.PodSelector, from)
			}
			own, err := r.api.NetworkingV1().NetworkPolicies(r.namespace).Get(t.Context(), st.objects.private.Name, meta.GetOptions{})
			if err != nil || !selects(t, &own.Spec.PodSelector, pod) || selects(t, &own.Spec.PodSelector, st.objects.pod) || !selects(t, own.Spec.Egress[0].To[0].PodSelector, st.objects.pod) {
				t.Errorf("the load Pod's policy: %+v, %v", own, err)
			}
		})
	}
}

func selects(t *testing.T, selector *meta.LabelSelector, pod *core.Pod) bool {
	t.Helper()
	s, err := meta.LabelSelectorAsSelector(selector)
	if err != nil {
		t.Fatal(err)
	}
	return s.Matches(labels.Set(pod.Labels))
}

// TestKubernetesLoadPodBeside: where no other node takes the load Pod, all are on their
// stacks' nodes, which is said; a scenario that asks for another node is refused.
func TestKubernetesLoadPodBeside(t *testing.T) {
	r := cluster(t)
	r.options.Agents.Load = true
	r.limits.elsewhere, r.limits.schedule = time.Second, 5*time.Second
	var err error
	if r.options.Nodes, err = ParseNodes([]string{"nvidia.com/gpu.product=FAKE-GPU-2"}, nil); err != nil {
		t.Fatal(err)
	}
	spec := loaded(t, stackstest.Flask, scenarios.Client{Node: scenarios.NodeOther})
	if err := r.Prepare(t.Context(), spec, func(string) {}); !errors.Is(err, stacks.ErrUnavailable) || !strings.Contains(err.Error(), "client.node: other asks for another node") {
		t.Errorf("another node: %v", err)
	}
	if left, err := r.leftovers(t.Context(), spec.Run); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	st := upLoaded(t, r, loaded(t, stackstest.Flask, scenarios.Client{}))
	if facts, err := st.Inspect(t.Context()); err != nil || !facts.Beside || facts.Node != facts.ClientNode {
		t.Errorf("%+v, %v", facts, err)
	}
	if left, err := r.leftovers(t.Context(), st.spec.Run); err != nil || len(left) != 6 {
		t.Errorf("two Pods and policies, a Secret and the owner should be there: %v, %v", left, err)
	}
}

// TestKubernetesLoadPodEnds: the stack is not to blame for the end of its load Pod, nor
// for one that cannot be started.
func TestKubernetesLoadPodEnds(t *testing.T) {
	r := cluster(t)
	r.options.Agents.Load = true
	image := agentImage(t, r)
	r.options.Agents.Image = clusterPrefix + "/none:1"
	spec := loaded(t, stackstest.Flask, scenarios.Client{})
	if err := r.Prepare(t.Context(), spec, func(string) {}); !errors.Is(err, stacks.ErrUnavailable) || !strings.Contains(err.Error(), "load Pod: its image "+clusterPrefix+"/none:1 cannot be pulled") {
		t.Errorf("an image that is nowhere: %v", err)
	}
	r.options.Agents.Image = image
	grace := int64(0)
	for what, end := range map[string]func(*stack) error{
		"deleted": func(st *stack) error {
			return r.api.CoreV1().Pods(r.namespace).Delete(t.Context(), st.objects.load.Name, meta.DeleteOptions{GracePeriodSeconds: &grace})
		},
		"killed": func(st *stack) error {
			pod, err := st.pod(t.Context(), st.objects.load.Name)
			if err != nil {
				return err
			}
			_, id, _ := strings.Cut(pod.Status.ContainerStatuses[0].ContainerID, "://")
			if pid := firstIn(id); pid == 0 {
				return errors.New("no process of the load Pod is here")
			} else {
				return syscall.Kill(pid, syscall.SIGKILL)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			st := upLoaded(t, r, loaded(t, stackstest.Flask, scenarios.Client{}))
			stream, err := r.OpenLoad(t.Context(), st.URL())
			if err != nil {
				t.Fatal(err)
			}
			defer stream.Close()
			if err := end(st); err != nil {
				t.Fatal(err)
			}
			if n, err := stream.Read(make([]byte, 1)); err == nil {
				t.Errorf("read %d", n)
			} else {
				t.Log(err)
			}
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
				err := st.Check(t.Context())
				if errors.Is(err, stacks.ErrDisturbed) && strings.Contains(err.Error(), "load Pod") && !errors.Is(err, stacks.ErrEnded) {
					break
				}
				if err != nil || time.Now().After(deadline) {
					t.Fatalf("%v", err)
				}
			}
		})
	}
}
