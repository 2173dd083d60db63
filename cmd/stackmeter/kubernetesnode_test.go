package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/results"
)

// TestKubernetesLostNode: a node of which kubelet and containerd are killed amid a cell
// costs that cell, which is measured again on the other node, and says so. Nothing stays.
func TestKubernetesLostNode(t *testing.T) {
	file := os.Getenv(clusterConfig)
	if file == "" {
		t.Skipf("needs a cluster: as root, stacks/kubernetes/cluster/cluster build, then up; and %s=FILE, its kubeconfig", clusterConfig)
	}
	t.Setenv("KUBECONFIG", file)
	cluster := filepath.Dir(file)
	kubectl := func(s *session, args ...string) string {
		return s.does(exec.Command(filepath.Join(cluster, "bin", "kubectl"), args...))
	}
	script, err := filepath.Abs("../../stacks/kubernetes/cluster/cluster")
	if err != nil {
		t.Fatal(err)
	}
	s := newSessionAlone(t)
	s.limit = 8 * time.Minute
	// A cell has to last until the cluster has missed the node, and stackmeter has waited
	// for it to be heard of again.
	scenario := fmt.Sprintf(`name: node
app: {build: {context: %q}, wsgi: "wsgi:app", ready: {path: /healthz}}
request: {path: "/sleep?s=1"}
resources: {gpu: {mode: required, count: 1}}
topologies: [gunicorn w1/t4]
matrix: {requests: [260], client: [mt], pool: [4]}
warmup: 1
`, s.app)
	if err := os.WriteFile(filepath.Join(s.dir, "session.yaml"), []byte(scenario), 0o644); err != nil {
		t.Fatal(err)
	}
	const prefix = "127.0.0.1:5000/stackmeter-test"
	image := s.does(s.exec(t.Context(), "agent", "image", "--image-prefix", prefix))
	lost := ""
	status, out := s.run(func(e orchestrator.Event, _ *os.Process) {
		if e.Kind == orchestrator.EventNote {
			t.Log(e.Message)
		}
		if e.Kind != orchestrator.EventProgress || e.Done == 0 || lost != "" {
			return
		}
		// The agent is where the stack is.
		pods := strings.Fields(kubectl(s, "get", "pods", "--all-namespaces", "--selector", "stackmeter.run,!stackmeter.part", "--output", "jsonpath={.items[*].spec.nodeName}"))
		if len(pods) == 0 {
			return
		}
		lost = pods[0]
		for _, program := range []string{"kubelet", "containerd"} {
			text, err := os.ReadFile(filepath.Join(cluster, "state", "pid", program+"-"+lost))
			if err != nil {
				t.Errorf("node %q: %v", lost, err)
				return
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			if err == nil {
				err = syscall.Kill(pid, syscall.SIGKILL)
			}
			if err != nil {
				t.Errorf("kill %s of node %s: %v", program, lost, err)
			}
		}
		t.Cleanup(func() {
			revive := exec.Command(script, "revive", lost)
			revive.Env = append(os.Environ(), "STACKMETER_CLUSTER="+cluster)
			s.does(revive)
		})
	}, "--runtime", "kubernetes", "--image-prefix", prefix, "--agent-image", image, "--runtime-class", "nvidia")
	run, records := s.stored()
	if status != exitOK || lost == "" || len(records) != 1 {
		t.Fatalf("status %d, lost node %q, %d records\n%s\n%s", status, lost, len(records), s.said, out)
	}
	r := records[0]
	if r.Status != results.StatusOK || r.Replies != 260 || !slices.Contains(r.Flags, results.FlagRepeated) {
		t.Errorf("%s %s: %d replies, flags %v", r.Status, r.Reason, r.Replies, r.Flags)
	}
	if r.Stack.Node == "" || r.Stack.Node == lost || !strings.Contains(r.Stack.Before, "node "+lost) {
		t.Errorf("it was measured on %q, after %q; the lost node is %s", r.Stack.Node, r.Stack.Before, lost)
	}
	if left := kubectl(s, "get", "pods,jobs,secrets,configmaps,networkpolicies", "--all-namespaces", "--selector", "stackmeter.run="+run.ID, "--output", "name"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
