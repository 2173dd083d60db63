package main

import (
	"fmt"
	"net"
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

// eachFakeGPU runs a test with local processes and with containers.
func eachFakeGPU(t *testing.T, test func(t *testing.T, f *fakeGPU, toolkit *fakeToolkit)) {
	t.Run("process", func(t *testing.T) { test(t, newFakeGPU(t), nil) })
	t.Run("docker", func(t *testing.T) {
		f, toolkit := newFakeGPUContainers(t)
		test(t, f, toolkit)
	})
}

// startFakeMPS listens where a control daemon of MPS would and runs a server
// that holds memory on the FAKE device, as the real one does from its first
// client on. It returns the folder of the pipes.
func (f *fakeGPU) startFakeMPS() string {
	f.t.Helper()
	// A socket's path is limited to 108 bytes, which t.TempDir can exceed.
	pipes, err := os.MkdirTemp("", "stackmeter-mps-")
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { os.RemoveAll(pipes) })
	control := filepath.Join(pipes, "control")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: control, Net: "unixpacket"})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	// Applications in containers run as anybody.
	if err := os.Chmod(pipes, 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Chmod(control, 0o666); err != nil {
		f.t.Fatal(err)
	}
	// What is called python3 may be a script that looks for the real one.
	python, err := exec.Command("python3", "-c", "import os, sys; print(os.path.realpath(sys.executable), end='')").Output()
	if err != nil {
		f.t.Skipf("needs python3: %v", err)
	}
	// The kernel names a process by its program's file.
	program := filepath.Join(pipes, "nvidia-cuda-mps-server")
	if err := os.Symlink(string(python), program); err != nil {
		f.t.Fatal(err)
	}
	server := exec.Command(program, "-c", fmt.Sprintf(
		"import sys; sys.path.insert(0, %q); import fakegpu; m = fakegpu.open(%[1]q); m.allocate(%d); print('holds', flush=True); sys.stdin.read()", f.state.Folder, mpsBytes))
	stdin, err := server.StdinPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		stdin.Close()
		_ = server.Wait()
	})
	if _, err := out.Read(make([]byte, 8)); err != nil {
		f.t.Fatalf("the FAKE server of MPS: %v", err)
	}
	return pipes
}

const mpsBytes = 30 * mib

// TestMPS runs a scenario through a (FAKE) Multi-Process Service: its server is
// nobody's foreign process, and the stack's processes are seen as its clients.
func TestMPS(t *testing.T) {
	eachFakeGPU(t, func(t *testing.T, f *fakeGPU, toolkit *fakeToolkit) {
		pipes := f.startFakeMPS()
		f.env = append(f.env, "CUDA_MPS_PIPE_DIRECTORY="+pipes)
		f.gpu = "mode: required, mps: {active_threads: 50%, memory: 4GiB}"
		result := f.run("topologies: [gunicorn w2/t1]\nmatrix: {requests: [100], client: [mt], pool: [4]}\n", nil)
		if len(result.Cells) != 1 {
			t.Fatalf("%d cells\n%s", len(result.Cells), f.said)
		}
		c := result.Cells[0]
		d := c.GPU.Detail
		if c.Status != results.StatusOK || c.GPU.Peak == nil || *c.GPU.Peak != float64((fakeBase+mpsBytes+2*(fakeProcess+fakeThread))/mib) {
			t.Errorf("%s, peak %v: %s %s", c.Status, c.GPU.Peak, c.Reason, c.GPU.Reason)
		}
		if c.GPU.Stack == nil || *c.GPU.Stack != float64(2*(fakeProcess+fakeThread)/mib) {
			t.Errorf("the stack's own: %v MiB", c.GPU.Stack)
		}
		if slices.Contains(c.Flags, gpu.FlagForeign) || slices.Contains(c.Flags, gpu.FlagNotMPS) || len(d.Foreign) > 0 {
			t.Errorf("flags %v, foreign %+v", c.Flags, d.Foreign)
		}
		if len(d.Servers) != 1 || d.Servers[0].Peak == nil || *d.Servers[0].Peak != mpsBytes {
			t.Errorf("servers %+v", d.Servers)
		}
		for _, p := range d.Processes {
			if !p.MPS {
				t.Errorf("process %+v is no client of MPS", p)
			}
		}
		if want := "through MPS, 50% of the threads for each process, 4096 MiB for each process"; !strings.Contains(c.Stack.GPU, want) {
			t.Errorf("recorded %q, want %q in it", c.Stack.GPU, want)
		}
		if toolkit == nil {
			return
		}
		if want := []string{pipes + ":/tmp/nvidia-mps", "/dev/shm:/dev/shm"}; !slices.Equal(toolkit.mounts, want) {
			t.Errorf("mounted %v, want %v", toolkit.mounts, want)
		}
	})
}

// TestMPSNotAskedFor has a control daemon and a server on the machine. A
// scenario that does not ask for MPS is not measured through it: the server is
// a stranger on the device, as any other process.
func TestMPSNotAskedFor(t *testing.T) {
	f := newFakeGPU(t)
	f.env = append(f.env, "CUDA_MPS_PIPE_DIRECTORY="+f.startFakeMPS())
	result := f.run("topologies: [gunicorn w1/t1]\nmatrix: {requests: [10], client: [single]}\n", nil)
	if c := result.Cells[0]; c.Status != results.StatusFailed || !strings.Contains(c.Reason, "nvidia-cuda-mps") {
		t.Errorf("%s: %s", c.Status, c.Reason)
	}
}

// TestMPSUnused asks for MPS where the control daemon listens, and the
// application does not use it: the cell says so.
func TestMPSUnused(t *testing.T) {
	f := newFakeGPU(t)
	f.env = append(f.env, "CUDA_MPS_PIPE_DIRECTORY="+f.startFakeMPS())
	f.gpu = "mode: required, mps: true"
	// It looks for the daemon in a folder of its own.
	result := f.run("topologies: [{name: own, command: [env, CUDA_MPS_PIPE_DIRECTORY=/nonexistent, flask, --app, 'wsgi:app', run, --host, '{host}', --port, '{port}']}]\nmatrix: {requests: [100], client: [single]}\n", nil)
	if c := result.Cells[0]; c.Status != results.StatusOK || !slices.Contains(c.Flags, gpu.FlagNotMPS) {
		t.Errorf("%s, %v: %s", c.Status, c.Flags, c.Reason)
	}
}

// TestMPSWithoutDaemon is refused before anything starts, with what to do.
func TestMPSWithoutDaemon(t *testing.T) {
	eachFakeGPU(t, func(t *testing.T, f *fakeGPU, _ *fakeToolkit) {
		f.env = append(f.env, "CUDA_MPS_PIPE_DIRECTORY="+filepath.Join(t.TempDir(), "none"))
		f.gpu = "mode: required, mps: true"
		result := f.run("topologies: [gunicorn w1/t1]\nmatrix: {requests: [10], client: [single]}\n", nil)
		if len(result.Cells) > 0 {
			t.Errorf("%d cells", len(result.Cells))
		}
		for _, want := range []string{"control daemon of NVIDIA's MPS", "nvidia-cuda-mps-control -d"} {
			if !strings.Contains(f.said, want) {
				t.Errorf("it says %q, want %q in it", f.said, want)
			}
		}
	})
}

// TestMIGInstance gives a stack one of two MIG instances: it sees that one, and
// what is measured is that one's memory, whoever is on the other.
func TestMIGInstance(t *testing.T) {
	eachFakeGPU(t, func(t *testing.T, f *fakeGPU, toolkit *fakeToolkit) {
		whole := f.state.Devices[0]
		for _, uuid := range []string{"MIG-fa4e0000-0000-0000-0000-00000000000a", "MIG-fa4e0000-0000-0000-0000-00000000000b"} {
			instance := whole
			instance.UUID, instance.Instance, instance.Parent, instance.Total = uuid, true, 0, 8<<30
			f.state.Devices = append(f.state.Devices, instance)
		}
		// Somebody is on the other instance, and stays.
		f.state.Processes = append(f.state.Processes, fakedriver.Process{Device: 1, PID: 1, Bytes: foreignBytes})
		f.write()
		const mine = "MIG-fa4e0000-0000-0000-0000-00000000000b"
		f.gpu = fmt.Sprintf("mode: required, devices: [%s]", mine)
		result := f.run("topologies: [gunicorn w1/t1]\nmatrix: {requests: [100], client: [single]}\n", nil)
		if len(result.Cells) != 1 {
			t.Fatalf("%d cells\n%s", len(result.Cells), f.said)
		}
		c := result.Cells[0]
		if c.Status != results.StatusOK || c.GPU.Peak == nil || *c.GPU.Peak != float64((fakeBase+fakeProcess+fakeThread)/mib) || c.GPU.Stack == nil {
			t.Errorf("%s, peak %v, stack %v: %s %s", c.Status, c.GPU.Peak, c.GPU.Stack, c.Reason, c.GPU.Reason)
		}
		d := c.GPU.Detail
		if slices.Contains(c.Flags, gpu.FlagForeign) || len(d.Devices) != 1 || d.Devices[0].UUID != mine || d.Total == nil || *d.Total != 8<<30 {
			t.Errorf("flags %v, devices %+v", c.Flags, d.Devices)
		}
		if toolkit != nil && !slices.Equal(toolkit.asked[0], []string{mine}) {
			t.Errorf("asked for %v", toolkit.asked)
		}

		f.gpu = "mode: required, count: 1"
		if result := f.run("topologies: [gunicorn w1/t1]\nmatrix: {requests: [10], client: [single]}\n", nil); len(result.Cells) > 0 || !strings.Contains(f.said, "name their instances in resources.gpu.devices") {
			t.Errorf("any GPU, of which the only one is divided: %d cells, %s", len(result.Cells), f.said)
		}
	})
}

// TestTwoGPUs gives a stack both devices, and another the second one.
func TestTwoGPUs(t *testing.T) {
	f := newFakeGPU(t)
	f.state = fakedriver.New(t, 2)
	for _, test := range []struct {
		gpu     string
		devices int
	}{
		{"mode: required, count: 2", 2},
		{"mode: required, devices: [1]", 1},
	} {
		f.gpu = test.gpu
		result := f.run("topologies: [gunicorn w1/t1]\nmatrix: {requests: [100], client: [single]}\n", nil)
		if len(result.Cells) != 1 {
			t.Fatalf("%d cells\n%s", len(result.Cells), f.said)
		}
		c := result.Cells[0]
		want := float64((int64(test.devices)*fakeBase + fakeProcess + fakeThread) / mib)
		if c.Status != results.StatusOK || c.GPU.Peak == nil || *c.GPU.Peak != want || len(c.GPU.Detail.Devices) != test.devices {
			t.Errorf("%s: %s, peak %v, want %v, devices %+v: %s", test.gpu, c.Status, c.GPU.Peak, want, c.GPU.Detail.Devices, c.Reason)
		}
	}
}

// TestFault27WithoutItsGPU: with mode auto a run has a GPU that the engine
// cannot give to a container. It then measures on the machine alone, and holds
// that too when its first stack starts. (The application does not start without
// the FAKE driver, which is nothing to the locks.)
func TestFault27WithoutItsGPU(t *testing.T) {
	newSession(t) // for what it needs of an engine
	f := &fakeGPU{t: t, dir: t.TempDir(), runtime: "docker", gpu: "mode: auto, count: 1", nvmlFile: fakedriver.Build(t, fakedriver.Current), state: fakedriver.New(t, 1)}
	f.program = command(t, f.dir)
	var names []string
	f.run("topologies: [flask]\nwarmup: 0\nmatrix: {requests: [2], client: [single]}\n", func(e orchestrator.Event) {
		if e.Kind != orchestrator.EventStart {
			return
		}
		states, err := lock.List(f.dir)
		if err != nil {
			t.Error(err)
		}
		for _, s := range states {
			if s.Holder != nil {
				names = append(names, s.Name)
			}
		}
	})
	slices.Sort(names)
	if want := []string{lock.GPU(f.state.Devices[0].UUID), lock.Machine}; !slices.Equal(names, want) {
		t.Errorf("held while the stack starts: %v, want %v\n%s", names, want, f.said)
	}
}
