package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/results"
)

// TestKubernetesLanes: with lanes: auto there are as many lanes as the cluster has free
// GPUs, each stack gets one of its own by the scheduler, and a GPU that somebody else has
// is no lane.
func TestKubernetesLanes(t *testing.T) {
	file := os.Getenv(clusterConfig)
	if file == "" {
		t.Skipf("needs a cluster: as root, stacks/kubernetes/cluster/cluster build, then up; and %s=FILE, its kubeconfig", clusterConfig)
	}
	t.Setenv("KUBECONFIG", file)
	s := newSessionAlone(t)
	s.limit = 5 * time.Minute
	scenario := fmt.Sprintf(`name: lanes
app: {build: {context: %q}, wsgi: "wsgi:app", ready: {path: /healthz}}
request: {path: "/sleep?s=0.1"}
resources: {gpu: {mode: required, count: 1}}
topologies: [gunicorn w1/t1, gunicorn w1/t2, gunicorn w1/t3, gunicorn w1/t4]
matrix: {requests: [20], client: [single]}
lanes: auto
warmup: 1
`, s.app)
	if err := os.WriteFile(filepath.Join(s.dir, "session.yaml"), []byte(scenario), 0o644); err != nil {
		t.Fatal(err)
	}
	// Somebody else has two of the four. Each lane's load Pod has a core of the other node.
	kubectl := filepath.Join(filepath.Dir(file), "bin", "kubectl")
	taker := exec.Command(kubectl, "create", "--filename", "-")
	taker.Stdin = strings.NewReader(`{apiVersion: v1, kind: Pod, metadata: {name: taker}, spec: {containers: [{name: a, image: "stackmeter-test/pause:1", imagePullPolicy: Never, resources: {limits: {nvidia.com/gpu: 2}}}]}}`)
	s.does(taker)
	t.Cleanup(func() { s.does(exec.Command(kubectl, "delete", "pod", "taker", "--grace-period=1")) })
	s.does(exec.Command(kubectl, "wait", "--for=condition=PodScheduled", "pod/taker"))
	var notes []string
	status, out := s.run(func(e orchestrator.Event, _ *os.Process) {
		if e.Kind == orchestrator.EventNote {
			notes = append(notes, e.Message)
		}
	}, "--runtime", "kubernetes", "--image-prefix", "127.0.0.1:5000/stackmeter-test", "--runtime-class", "nvidia")
	run, records := s.stored()
	said := strings.Join(notes, "\n")
	if status != exitOK || len(records) != 4 {
		t.Fatalf("status %d, %d records\n%s\n%s\n%s", status, len(records), s.said, said, out)
	}
	for _, want := range []string{"2 of 4 nvidia.com/gpu are free on 2 nodes", "running: default/taker on n", "looking whether cells on 2 lanes"} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	// Whether they disturb each other is the machine's to say.
	l := run.Lanes
	if l == nil || l.Check == nil || l.Check.Lanes != 2 || l.Off == "" && len(l.Have) != 2 {
		t.Fatalf("%+v\n%s", l, said)
	}
	used := map[int]bool{}
	for _, r := range records {
		if r.Status != results.StatusOK || !strings.HasPrefix(r.Stack.GPU, "GPU-") || len(r.GPU.Foreign) > 0 || slices.Contains(r.Flags, results.FlagNoAgent) {
			t.Errorf("%s: %s %s, GPU %s, usage %+v, flags %v", r.Cell.Name, r.Status, r.Reason, r.Stack.GPU, r.GPU, r.Flags)
		}
		used[r.Lane] = true
	}
	if l.Off == "" && len(used) < 2 {
		t.Errorf("lanes that measured: %v", used)
	}
	t.Logf("%s\n%s", said, l)
}
