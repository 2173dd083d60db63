package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/lock"
	"stackmeter/results"
)

// An ownEngine is a real dockerd that a test starts, stops and starts again:
// with its own root, socket, and namespaces of the network, mounts and
// processes, so that nobody else's engine, bridge or container is touched.
type ownEngine struct {
	t       *testing.T
	dir     string
	holder  *exec.Cmd // keeps the network namespace while no dockerd runs in it
	dockerd *exec.Cmd
	options []string
}

// startOwnEngine starts one with one image, guest:1, a server of one program.
func startOwnEngine(t *testing.T, options ...string) *ownEngine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it starts an engine of its own")
	}
	for _, program := range []string{"dockerd", "docker", "unshare", "nsenter", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: %v", program, err)
		}
	}
	// A socket's path is limited to 108 bytes, which t.TempDir can exceed.
	dir, err := os.MkdirTemp("", "stackmeter-engine-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	e := &ownEngine{t: t, dir: dir, options: options}
	e.holder = exec.Command("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat")
	in, err := e.holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = e.holder.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Skipf("needs to make namespaces: %q, %v", line, err)
	}
	e.start()
	t.Cleanup(e.stop)
	e.load()
	return e
}

func (e *ownEngine) host() string { return "unix://" + filepath.Join(e.dir, "docker.sock") }

// inside is a command in the engine's network.
func (e *ownEngine) inside(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(e.t.Context(), "nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", e.holder.Process.Pid), name}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.host())
	return cmd
}

// start returns when the engine listens.
func (e *ownEngine) start() {
	e.t.Helper()
	config := filepath.Join(e.dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o644); err != nil {
		e.t.Fatal(err)
	}
	args := append([]string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "dockerd",
		"--config-file", config, "--host", e.host(), "--pidfile", filepath.Join(e.dir, "pid"),
		"--data-root", filepath.Join(e.dir, "data"), "--exec-root", filepath.Join(e.dir, "exec"), "--storage-driver", "vfs",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"}, e.options...)
	e.dockerd = exec.Command("nsenter", append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", e.holder.Process.Pid), "unshare"}, args...)...)
	e.dockerd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	said, err := e.dockerd.StderrPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := e.dockerd.Start(); err != nil {
		e.t.Fatal(err)
	}
	lines := bufio.NewScanner(said)
	var tail []string
	for lines.Scan() {
		if strings.Contains(lines.Text(), "API listen on") {
			go io.Copy(io.Discard, said)
			return
		}
		tail = append(tail, lines.Text())
	}
	_ = e.dockerd.Wait()
	e.dockerd = nil
	e.t.Fatalf("the engine ended:\n%s", strings.Join(tail[max(0, len(tail)-10):], "\n"))
}

// stop ends the engine as its service manager would, and returns when it and
// all its containers are gone.
func (e *ownEngine) stop() {
	if e.dockerd == nil {
		return
	}
	e.signal(syscall.SIGTERM)
	forced := time.AfterFunc(time.Minute, func() { e.signal(syscall.SIGKILL) })
	defer forced.Stop()
	_ = e.dockerd.Wait() // unshare ends by the signal
	e.dockerd = nil
}

// load puts the image into the engine.
func (e *ownEngine) load() {
	e.t.Helper()
	guest := filepath.Join(e.dir, "guest")
	build := exec.Command("go", "build", "-o", guest, "./testdata/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		e.t.Fatalf("build the guest: %v\n%s", err, out)
	}
	program, err := os.ReadFile(guest)
	if err != nil {
		e.t.Fatal(err)
	}
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	err = tw.WriteHeader(&tar.Header{Name: "guest", Mode: 0o755, Size: int64(len(program))})
	if _, failed := tw.Write(program); failed != nil {
		err = errors.Join(err, failed)
	}
	if err := errors.Join(err, tw.Close()); err != nil {
		e.t.Fatal(err)
	}
	imported := e.inside("docker", "import", "-", "guest:1")
	imported.Stdin = &layer
	if out, err := imported.CombinedOutput(); err != nil {
		e.t.Fatalf("%v: %s", err, out)
	}
}

const guestScenario = `name: guest
app: {image: "guest:1", port: 8000, ready: {path: /}}
request: {path: /}
topologies: [{name: guest, command: [/guest]}]
warmup: 1
matrix: {requests: [%d], client: [single]}
`

// hang makes the engine answer nothing any more until goOn. Its containers go
// on.
func (e *ownEngine) hang() { e.signal(syscall.SIGSTOP) }

func (e *ownEngine) goOn() { e.signal(syscall.SIGCONT) }

// signal sends to the engine and to what keeps its namespaces. Its PID in its
// own is 1; from here it is the child of unshare, in a process group of its own.
func (e *ownEngine) signal(sig syscall.Signal) {
	if e.dockerd != nil {
		_ = syscall.Kill(-e.dockerd.Process.Pid, sig)
	}
}

// run measures the guest and returns the exit status and the cells, after
// calling on for each event, with the process.
func (e *ownEngine) run(requests int, on func(orchestrator.Event, *os.Process), args ...string) (status int, cells []guestCell, said string) {
	e.t.Helper()
	program := filepath.Join(e.dir, "stackmeter")
	if _, err := os.Stat(program); err != nil {
		program = command(e.t, e.dir)
	}
	if err := os.WriteFile(filepath.Join(e.dir, "guest.yaml"), fmt.Appendf(nil, guestScenario, requests), 0o644); err != nil {
		e.t.Fatal(err)
	}
	cmd := e.inside(program, append([]string{"run", "guest.yaml", "--json", "-", "--progress", "json"}, args...)...)
	cmd.Dir = e.dir
	cmd.Env = append(cmd.Env, lock.FolderVariable+"="+e.dir)
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	var all strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		fmt.Fprintln(&all, lines.Text())
		var event orchestrator.Event
		if json.Unmarshal(lines.Bytes(), &event) == nil && on != nil {
			on(event, cmd.Process)
		}
	}
	_ = cmd.Wait() // its status says it
	var result struct{ Cells []guestCell }
	if err := json.Unmarshal(out.Bytes(), &result); err != nil && out.Len() > 0 {
		e.t.Fatalf("%v\n%s", err, out.String())
	}
	return cmd.ProcessState.ExitCode(), result.Cells, all.String()
}

type guestCell struct {
	Cell     string
	Status   string
	Reason   string
	Flags    []string
	Replies  int
	Duration *float64 `json:"duration_s"`
}

// names lists the engine's containers and networks of stackmeter's.
func (e *ownEngine) names() []string {
	e.t.Helper()
	var names []string
	for _, list := range [][]string{{"ps", "-a", "--format", "{{.Names}}"}, {"network", "ls", "--format", "{{.Name}}"}} {
		out, err := e.inside("docker", append(list, "--filter", "label=stackmeter.run")...).CombinedOutput()
		if err != nil {
			e.t.Fatalf("%v: %s", err, out)
		}
		names = append(names, strings.Fields(string(out))...)
	}
	return names
}

// TestFault07EngineRestarts stops and starts the engine in the middle of a
// cell.
func TestFault07EngineRestarts(t *testing.T) {
	e := startOwnEngine(t)
	restarted := 0
	status, cells, said := e.run(100, func(event orchestrator.Event, _ *os.Process) {
		if event.Kind == orchestrator.EventProgress && event.Done > 0 && restarted == 0 {
			restarted++
			e.stop()
			e.start()
		}
	})
	if restarted == 0 {
		t.Fatalf("the cell ended too soon\n%s", said)
	}
	if status != exitOK || len(cells) != 1 {
		t.Fatalf("exit status %d, %d cells\n%s", status, len(cells), said)
	}
	c := cells[0]
	if c.Status != results.StatusOK || c.Replies != 100 || c.Duration == nil || !slices.Contains(c.Flags, results.FlagRepeated) {
		t.Errorf("the cell: %+v\n%s", c, said)
	}
	if !strings.Contains(said, "waiting for the engine") || !strings.Contains(said, "the engine answers again") || !strings.Contains(said, "is void and is measured again") {
		t.Errorf("it was not said what happened:\n%s", said)
	}
	if left := e.names(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestFault09AddressPools has an engine whose only address range is somebody
// else's network.
func TestFault09AddressPools(t *testing.T) {
	e := startOwnEngine(t, "--default-address-pool", "base=10.213.7.0/28,size=28")
	if out, err := e.inside("docker", "network", "create", "somebody-elses").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	status, cells, said := e.run(3, nil)
	if status != exitCellsFailed || len(cells) != 1 || cells[0].Status != results.StatusFailed {
		t.Fatalf("exit status %d, cells %+v\n%s", status, cells, said)
	}
	for _, part := range []string{"address pools are used up", "docker network ls", "stackmeter clean", "default-address-pools"} {
		if !strings.Contains(cells[0].Reason, part) {
			t.Errorf("the reason does not mention %q: %s", part, cells[0].Reason)
		}
	}
	if left := e.names(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if out, err := e.inside("docker", "network", "inspect", "somebody-elses").CombinedOutput(); err != nil {
		t.Errorf("somebody else's network: %v, %s", err, out)
	}
}
