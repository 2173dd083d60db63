package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/gpu/nvml/fakedriver"
	"stackmeter/orchestrator/lock"
	"stackmeter/results"
)

// The FAKE driver's device and the application of testdata/gpuapp.
const (
	mib          = int64(1) << 20
	fakeBase     = 4 * mib    // in use on an idle device
	fakeProcess  = 2600 * mib // of each process
	fakeThread   = 500 * mib  // of each thread that has computed
	nvmlGPULost  = 15         // NVML_ERROR_GPU_IS_LOST
	nvmlUnknown  = 999        // NVML_ERROR_UNKNOWN
	foreignBytes = 700 * mib
)

// A fakeGPU is a machine with a FAKE GPU: the real command with local
// processes or containers, the real NVML path through cgo, a driver that is not
// one.
type fakeGPU struct {
	t        *testing.T
	dir      string
	program  string
	nvmlFile string
	state    *fakedriver.State
	runtime  string
	gpu      string // resources.gpu of the scenario
	env      []string
	said     string      // what the last run said on standard error, events left out
	process  *os.Process // of the run, once it has started
}

func newFakeGPU(t *testing.T) *fakeGPU {
	t.Helper()
	for _, program := range []string{"flask", "gunicorn", "nginx"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: apt-get install python3-flask gunicorn nginx-light", program)
		}
	}
	f := &fakeGPU{t: t, dir: t.TempDir(), runtime: "process", gpu: "mode: required, count: 1", nvmlFile: fakedriver.Build(t, fakedriver.Current), state: fakedriver.New(t, 1)}
	f.program = command(t, f.dir)
	return f
}

// newFakeGPUContainers is a fakeGPU whose stacks are containers.
func newFakeGPUContainers(t *testing.T) (*fakeGPU, *fakeToolkit) {
	t.Helper()
	t.Parallel() // its tests mostly wait for containers
	f := &fakeGPU{t: t, dir: t.TempDir(), runtime: "docker", gpu: "mode: required, count: 1", nvmlFile: fakedriver.Build(t, fakedriver.Current), state: fakedriver.New(t, 1)}
	toolkit := startFakeToolkit(t, f.state.Folder)
	f.env = append(f.env, "DOCKER_HOST=unix://"+toolkit.socket)
	f.program = command(t, f.dir)
	return f, toolkit
}

// A fakeResult is what this test reads of the JSON result.
type fakeResult struct {
	Run struct {
		Lanes      *results.Lanes
		GPUDevices []gpu.Device `json:"gpu_devices"`
	}
	Cells []fakeCell
}

type fakeCell struct {
	Cell        string
	Repeat      int
	Lane        int
	Status      string
	Reason      string
	OutOfMemory string `json:"out_of_memory"`
	Flags       []string
	Duration    *float64 `json:"duration_s"`
	GPU         struct {
		Peak   *float64 `json:"device_used_peak_mib"`
		Stack  *float64 `json:"stack_peak_mib"`
		Reason string
		Detail gpu.Usage
	}
	Memory struct {
		Peak   *float64 `json:"stack_peak_mib"`
		Reason string
	}
	Stack *results.Stack
}

// write makes the state the driver's.
func (f *fakeGPU) write() {
	f.t.Helper()
	if err := f.state.Write(); err != nil {
		f.t.Fatal(err)
	}
}

// run measures a scenario (without name, app and request) and returns its
// cells by name, after calling on for each event.
func (f *fakeGPU) run(scenario string, on func(orchestrator.Event), args ...string) fakeResult {
	f.t.Helper()
	app, err := filepath.Abs("testdata/gpuapp")
	if err != nil {
		f.t.Fatal(err)
	}
	text := fmt.Sprintf(`name: fake-gpu
app: {build: {context: %q}, wsgi: "wsgi:app", ready: {path: /healthz}, env: {%s: %q}}
request: {method: POST, path: /predict, max_errors: 100%%}
resources: {gpu: {%s}}
order: listed
%s`, app, fakedriver.Env, f.state.Folder, f.gpu, scenario)
	if err := os.WriteFile(filepath.Join(f.dir, "s.yaml"), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
	cmd := exec.CommandContext(f.t.Context(), f.program, append([]string{"run", "s.yaml", "--allow-path", app, "--runtime", f.runtime,
		"--nvml", f.nvmlFile, "--gpu-wait", "2s", "--json", "-", "--progress", "json"}, args...)...)
	cmd.Dir = f.dir
	cmd.Env = append(append(os.Environ(), fakedriver.Env+"="+f.state.Folder, lock.FolderVariable+"="+f.dir), f.env...)
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.process = cmd.Process
	var said strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		var e orchestrator.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(&said, lines.Text())
		} else if on != nil {
			on(e)
		}
	}
	_ = cmd.Wait() // failed cells are part of some tests
	f.said = said.String()
	var result fakeResult
	if out.Len() == 0 {
		return result // refused before anything started
	}
	if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		f.t.Fatalf("%v\n%s\n%s", err, &out, &said)
	}
	return result
}

// TestFakeGPUMemoryByThreads is the reference experiment's table 6 in kind:
// memory grows with the threads that the load keeps busy, each worker holds a
// copy of its own, and all of it is read off the (FAKE) device.
func TestFakeGPUMemoryByThreads(t *testing.T) {
	f := newFakeGPU(t)
	result := f.run(`fresh: cell
topologies: [nginx + gunicorn w1/t1, nginx + gunicorn w1/t2, nginx + gunicorn w1/t4, gunicorn w2/t1]
matrix: {requests: [120], client: [mp, mt], pool: [6]}
`, nil)
	if len(result.Cells) != 8 {
		t.Fatalf("%d cells", len(result.Cells))
	}
	for _, c := range result.Cells {
		processes, threads := int64(1), int64(1)
		switch {
		case strings.Contains(c.Cell, "-t2"):
			threads = 2
		case strings.Contains(c.Cell, "-t4"):
			threads = 4
		case strings.Contains(c.Cell, "-w2"):
			processes = 2
		}
		each := fakeProcess + threads*fakeThread
		want := float64((fakeBase + processes*each) / mib)
		if c.Status != results.StatusOK || c.GPU.Peak == nil || *c.GPU.Peak != want {
			t.Errorf("%s: %s, peak %v MiB, want %v: %s %s", c.Cell, c.Status, c.GPU.Peak, want, c.Reason, c.GPU.Reason)
			continue
		}
		if !slices.Contains(c.Flags, gpu.FlagFakeDriver) || !c.GPU.Detail.Fake {
			t.Errorf("%s does not say that its driver is FAKE: %v", c.Cell, c.Flags)
		}
		if c.GPU.Stack == nil || *c.GPU.Stack != float64(processes*each/mib) {
			t.Errorf("%s: stack %v MiB", c.Cell, c.GPU.Stack)
		}
		var sum int64
		for _, p := range c.GPU.Detail.Processes {
			if p.Peak == nil || *p.Peak != each || p.Service != "app" {
				t.Errorf("%s: process %+v, want %d bytes of service app", c.Cell, p, each)
				continue
			}
			sum += *p.Peak
		}
		if sum != processes*each {
			t.Errorf("%s: the workers' peaks add up to %d, want %d", c.Cell, sum, processes*each)
		}
		if d := c.GPU.Detail; d.Baseline == nil || *d.Baseline != fakeBase || d.Teardown == nil || *d.Teardown != fakeBase {
			t.Errorf("%s: idle %v, after teardown %v", c.Cell, d.Baseline, d.Teardown)
		}
	}
	// With -v the table is there to look at.
	report := exec.CommandContext(t.Context(), f.program, "report")
	report.Dir = f.dir
	text, err := report.CombinedOutput()
	if err != nil || !strings.Contains(string(text), "FAKE") {
		t.Errorf("the report does not say that the GPU is FAKE (%v)", err)
	}
	t.Logf("\n%s", text)
}

func TestFakeGPUSamplerOff(t *testing.T) {
	f := newFakeGPU(t)
	result := f.run("topologies: [gunicorn w1/t1]\nmatrix: {requests: [10], client: [single]}\n", nil, "--gpu-sampler", "off")
	c := result.Cells[0]
	if c.Status != results.StatusOK || c.GPU.Peak != nil || !strings.Contains(c.GPU.Reason, "--gpu-sampler off") {
		t.Errorf("%s, peak %v, %q", c.Status, c.GPU.Peak, c.GPU.Reason)
	}
}
