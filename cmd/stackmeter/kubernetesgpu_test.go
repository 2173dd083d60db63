package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/lock"
	"stackmeter/results"
)

const clusterImages = "127.0.0.1:5000/stackmeter-test"

// A clusterRun is a run of stacks with a FAKE GPU in the tests' cluster.
type clusterRun struct {
	file string // the kubeconfig
	dir  string
	said bytes.Buffer
}

func newClusterRun(t *testing.T, topologies, pools string) *clusterRun {
	t.Helper()
	file := os.Getenv(clusterConfig)
	if file == "" {
		t.Skipf("needs a cluster: as root, stacks/kubernetes/cluster/cluster build, then up; and %s=FILE, its kubeconfig", clusterConfig)
	}
	c := &clusterRun{file: file, dir: t.TempDir()}
	scenario := fmt.Sprintf(`name: cluster-gpu
app: {build: {context: %q}, wsgi: "wsgi:app", ready: {path: /healthz}}
request: {method: POST, path: "/predict?ms=20"}
resources: {gpu: {mode: required, count: 1}}
topologies: [%s]
matrix: {requests: [60], client: [mt], pool: [%s]}
order: listed
warmup: 2
`, c.app(t), topologies, pools)
	if err := os.WriteFile(filepath.Join(c.dir, "s.yaml"), []byte(scenario), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, c.dir)
	return c
}

func (c *clusterRun) app(t *testing.T) string {
	t.Helper()
	app, err := filepath.Abs("testdata/gpuapp")
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// does runs the command and returns what it prints.
func (c *clusterRun) does(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(c.dir, "stackmeter"), args...)
	var out bytes.Buffer
	c.said.Reset()
	cmd.Dir, cmd.Env = c.dir, append(os.Environ(), "KUBECONFIG="+c.file, lock.FolderVariable+"="+c.dir)
	cmd.Stdout, cmd.Stderr = &out, &c.said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, &c.said)
	}
	return out.Bytes()
}

// runs executes the scenario.
func (c *clusterRun) runs(t *testing.T, cells int, args ...string) (result fakeResult) {
	t.Helper()
	out := c.does(t, append([]string{"run", "s.yaml", "--allow-path", c.app(t), "--runtime", "kubernetes", "--image-prefix", clusterImages,
		"--runtime-class", "nvidia", "--json", "-", "--progress", "plain"}, args...)...)
	if err := json.Unmarshal(out, &result); err != nil || len(result.Cells) != cells {
		t.Fatalf("%d cells, %v\n%s", len(result.Cells), err, &c.said)
	}
	return result
}

// recorded checks which devices a run has: fake ones of nodes, and those that its cells
// were measured on.
func recorded(t *testing.T, result fakeResult, whole bool) {
	t.Helper()
	for _, d := range result.Run.GPUDevices {
		if d.Node == "" || d.UUID == "" || d.Name == "" || whole && (!d.Fake || d.Memory == 0 || d.Driver == "") {
			t.Errorf("device %+v", d)
		}
	}
	for _, c := range result.Cells {
		for _, used := range c.GPU.Detail.Devices {
			if !slices.ContainsFunc(result.Run.GPUDevices, func(d gpu.Device) bool { return d.UUID == used.UUID && d.Node == c.Stack.Node }) {
				t.Errorf("%s was measured on %s of node %s, and the run has %+v", c.Cell, used.UUID, c.Stack.Node, result.Run.GPUDevices)
			}
		}
		if c.Stack.Cores < 1 {
			t.Errorf("%s: %d cores", c.Cell, c.Stack.Cores)
		}
	}
}

// TestKubernetesGPUPeaks: the peaks of stacks in a cluster are those that the agent on
// their node sees, attributed to their services by host PIDs. The device is FAKE.
func TestKubernetesGPUPeaks(t *testing.T) {
	run := newClusterRun(t, "gunicorn w1/t1, nginx + gunicorn w2/t1", "2, 4")
	image := strings.TrimSpace(string(run.does(t, "agent", "image", "--image-prefix", clusterImages)))
	for fresh, agents := range map[string][]string{"topology": nil, "run": {"--agent-image", image}} {
		result := run.runs(t, 4, append(agents, "--set", "fresh="+fresh)...)
		recorded(t, result, true)
		for i, c := range result.Cells {
			u := c.GPU.Detail
			least, most, processes := fakeProcess+fakeThread, fakeProcess+fakeThread, 1
			if i >= 2 { // each worker may have computed, or not
				least, most, processes = 2*fakeProcess, 2*(fakeProcess+fakeThread), 2
			}
			if c.Status != results.StatusOK || u.Stack == nil || *u.Stack < least || *u.Stack > most || u.Peak == nil || *u.Peak != fakeBase+*u.Stack || *u.Baseline != fakeBase {
				t.Errorf("%s %s: %s %s, usage %+v", fresh, c.Cell, c.Status, c.Reason, u)
				continue
			}
			if !u.Fake || u.Sight != gpu.SightHost || u.ProcessReason != "" || len(u.Foreign) > 0 || slices.Contains(c.Flags, results.FlagNoAgent) {
				t.Errorf("%s %s: %+v, flags %v", fresh, c.Cell, u, c.Flags)
			}
			if len(u.Processes) != processes || len(u.Services) != 1 || u.Services[0].Service != "app" {
				t.Errorf("%s %s: processes %+v of %+v", fresh, c.Cell, u.Processes, u.Services)
			}
			for _, p := range u.Processes {
				if p.Container != c.Stack.Services[0].Container || p.PID < 2 {
					t.Errorf("%s %s: process %+v, and the app's container is %s", fresh, c.Cell, p, c.Stack.Services[0].Container)
				}
			}
		}
		t.Logf("%s\n%s", fresh, &run.said)
	}
}

// TestKubernetesGPUInside: where the cluster forbids agents, GPU memory is what the stack
// itself sees, and each format says so. The device is FAKE.
func TestKubernetesGPUInside(t *testing.T) {
	run := newClusterRun(t, "gunicorn w1/t1", "2")
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(filepath.Join(filepath.Dir(run.file), "bin", "kubectl"), append(args, "--kubeconfig", run.file)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	const namespace = "test-no-agents"
	kubectl("create", "namespace", namespace)
	t.Cleanup(func() { kubectl("delete", "namespace", namespace, "--wait=false") })
	kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
	result := run.runs(t, 1, "--namespace", namespace)
	t.Logf("%s", &run.said)
	recorded(t, result, false)
	c := result.Cells[0]
	u := c.GPU.Detail
	if c.Status != results.StatusOK || !slices.Contains(c.Flags, results.FlagNoAgent) || u.Method != "nvidia-smi" || !strings.Contains(u.ProcessReason, "violates PodSecurity") {
		t.Errorf("%s %s, flags %v, usage %+v", c.Status, c.Reason, c.Flags, u)
	}
	if want := fakeBase + fakeProcess + fakeThread; u.Peak == nil || *u.Peak != want || u.Baseline != nil || u.Stack != nil || u.Samples < 2 {
		t.Errorf("the peak should be %d: %+v", want, u)
	}
	for _, format := range []string{"table", "markdown", "csv", "json", "html", "junit"} {
		if out := run.does(t, "report", "--format", format); !bytes.Contains(out, []byte(results.FlagNoAgent)) {
			t.Errorf("%s does not say that there was no agent:\n%s", format, out)
		}
	}
	if left := kubectl("get", "pods,jobs,secrets,networkpolicies", "--namespace", namespace, "--selector", "stackmeter.run", "--output", "name"); left != "" {
		t.Errorf("left behind: %s", left)
	}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the nodes are this machine
	for _, name := range files {
		if text, _ := os.ReadFile(name); bytes.HasPrefix(text, []byte("nvidia-smi\x00--query-gpu")) {
			t.Errorf("what sampled inside still runs: %s", name)
		}
	}
}
