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
	"stackmeter/stacks"
)

// TestKubernetesLoad: a Pod on another node than the stack's sends the loads, what the
// network between the two takes is in each record, a cell amid which the client is killed
// is measured again, and nothing stays. Its image is made and pushed by the run.
func TestKubernetesLoad(t *testing.T) {
	file := os.Getenv(clusterConfig)
	if file == "" {
		t.Skipf("needs a cluster: as root, stacks/kubernetes/cluster/cluster build, then up; and %s=FILE, its kubeconfig", clusterConfig)
	}
	t.Setenv("KUBECONFIG", file)
	s := newSessionAlone(t)
	scenario := fmt.Sprintf(`name: load
app: {build: {context: %q}, wsgi: "wsgi:app", ready: {path: /healthz}}
request: {path: "/sleep?s=0.1"}
topologies: [nginx + gunicorn w1/t2]
matrix: {requests: [60], client: [single, mt, mp], pool: [2]}
order: listed
warmup: 1
`, s.app)
	if err := os.WriteFile(filepath.Join(s.dir, "session.yaml"), []byte(scenario), 0o644); err != nil {
		t.Fatal(err)
	}
	killed := ""
	status, out := s.run(func(e orchestrator.Event, _ *os.Process) {
		if e.Kind == orchestrator.EventProgress && e.Done > 0 && killed == "" {
			if pid := batchOfPod(); pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed = e.Cell
			}
		}
	}, "--runtime", "kubernetes", "--image-prefix", "127.0.0.1:5000/stackmeter-test")
	run, records := s.stored()
	if status != exitOK || killed == "" || len(records) != 3 {
		t.Fatalf("status %d, killed amid %q, %d records\n%s\n%s", status, killed, len(records), s.said, out)
	}
	if made := run.Images["load client"]; !strings.HasPrefix(made, "sha256:") {
		t.Errorf("its client is pinned to %q", made)
	}
	for _, r := range records {
		trip := r.Load.RoundTrip
		if trip == nil || trip.N < 1 || trip.P50 <= 0 || trip.P99 < trip.P50 || trip.P50 > r.Latency.Mean().Seconds() {
			t.Errorf("%s: round trip %+v", r.Cell.Name, trip)
		}
		if r.Stack.Node == "" || r.Stack.ClientNode == "" || r.Stack.Node == r.Stack.ClientNode {
			t.Errorf("%s: the stack is on %q, and its client on %q", r.Cell.Name, r.Stack.Node, r.Stack.ClientNode)
		}
		if r.CPU.Client == nil || *r.CPU.Client <= 0 || r.Replies != 60 || slices.Contains(r.Flags, results.FlagRepeated) != (r.Cell.Name == killed) {
			t.Errorf("%s: %d replies, CPU %+v, flags %v, and the client was killed amid %s", r.Cell.Name, r.Replies, r.CPU, r.Flags, killed)
		}
	}
	if words := strings.Join(strings.Fields(out), " "); !strings.Contains(words, "in a Pod on another node than the stack, round trip of the network") {
		t.Errorf("the report does not say where the client was:\n%s", out)
	}
	kubectl := filepath.Join(filepath.Dir(file), "bin", "kubectl")
	if left := s.does(exec.Command(kubectl, "get", "pods,jobs,secrets,configmaps,networkpolicies", "--all-namespaces", "--selector", "stackmeter.run="+run.ID, "--output", "name")); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

// batchOfPod is the process on this machine that sends a batch in a load Pod, the last
// one that was started: those before it may be about to end; 0 without any.
func batchOfPod() int {
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		senders := map[int]stacks.Process{}
		for _, name := range files {
			text, _ := os.ReadFile(name)
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			if p, err := stacks.ReadProcess(pid); err == nil && strings.HasPrefix(string(text), "stackmeter\x00agent\x00load\x00") {
				senders[pid] = p
			}
		}
		last := stacks.Process{}
		for _, p := range senders {
			if _, client := senders[p.Parent]; !client && p.Start > last.Start {
				last = p
			}
		}
		if last.PID != 0 {
			return last.PID
		}
	}
	return 0
}
