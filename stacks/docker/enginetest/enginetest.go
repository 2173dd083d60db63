//go:build linux

// Package enginetest gives a test a Docker engine of its own: a real dockerd
// that the test may stop, start again and let hang.
//
// It has its own root and socket, and its own namespaces of the network, mounts and
// processes: it touches nobody else's engine, bridge or container, and leaves
// nothing behind.
package enginetest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Guest is the one image that an Engine has, and GuestProgram the one program
// in it: a server on port 8000.
const (
	Guest        = "stackmeter-test/guest:1"
	GuestProgram = "/guest"
)

// An Engine is a dockerd of a test's own.
type Engine struct {
	Dir string // its folder; there is room for the test's own files

	t       testing.TB
	options Options
	holder  *exec.Cmd // keeps the network namespace while no dockerd runs in it
	dockerd *exec.Cmd // nil while it is stopped
}

// Options of an Engine.
type Options struct {
	Args []string // of dockerd, after those that keep it apart
	Env  []string // of dockerd, over this process's
}

// New starts an engine that ends with the test. Without what that needs (root,
// dockerd, namespaces) the test is skipped.
func New(t testing.TB, o Options) *Engine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it starts an engine of its own")
	}
	for _, program := range []string{"dockerd", "docker", "unshare", "nsenter", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: %v; stacks/images/prepare installs the engine", program, err)
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
	e := &Engine{Dir: dir, t: t, options: o}
	e.hold()
	e.Start()
	t.Cleanup(e.Stop)
	e.load()
	return e
}

// hold makes the network namespace.
func (e *Engine) hold() {
	e.t.Helper()
	e.holder = exec.Command("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat")
	in, err := e.holder.StdinPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	out, err := e.holder.StdoutPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := e.holder.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		in.Close()
		_ = e.holder.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		e.t.Skipf("needs to make namespaces: %q, %v", line, err)
	}
}

// Host is the engine's address, for DOCKER_HOST.
func (e *Engine) Host() string { return "unix://" + filepath.Join(e.Dir, "docker.sock") }

// network is the path of the engine's network namespace.
func (e *Engine) network() string { return fmt.Sprintf("/proc/%d/ns/net", e.holder.Process.Pid) }

// Inside is a command in the engine's network that talks to this engine.
func (e *Engine) Inside(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(e.t.Context(), "nsenter", append([]string{"--net=" + e.network(), name}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Host())
	return cmd
}

// Start starts the engine, and returns when it listens.
func (e *Engine) Start() {
	e.t.Helper()
	config := filepath.Join(e.Dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o644); err != nil {
		e.t.Fatal(err)
	}
	args := append([]string{"--net=" + e.network(), "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "dockerd",
		"--config-file", config, "--host", e.Host(), "--pidfile", filepath.Join(e.Dir, "pid"),
		"--data-root", filepath.Join(e.Dir, "data"), "--exec-root", filepath.Join(e.Dir, "exec"), "--storage-driver", "vfs",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"}, e.options.Args...)
	e.dockerd = exec.Command("nsenter", args...)
	e.dockerd.Env = append(os.Environ(), e.options.Env...)
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

// Stop ends the engine as its service manager would, and returns when it and
// all its containers are gone.
func (e *Engine) Stop() {
	if e.dockerd == nil {
		return
	}
	e.signal(syscall.SIGTERM)
	e.GoOn()
	forced := time.AfterFunc(time.Minute, func() { e.signal(syscall.SIGKILL) })
	defer forced.Stop()
	_ = e.dockerd.Wait() // unshare ends by the signal
	e.dockerd = nil
}

// Hang makes the engine answer nothing any more until GoOn. Its containers go
// on.
func (e *Engine) Hang() { e.signal(syscall.SIGSTOP) }

// GoOn ends Hang. It may be called at any time.
func (e *Engine) GoOn() { e.signal(syscall.SIGCONT) }

// signal sends to the engine and to what keeps its namespaces. Its PID in its
// own is 1; from here it is the child of unshare, in a process group of its own.
func (e *Engine) signal(sig syscall.Signal) {
	if e.dockerd != nil {
		_ = syscall.Kill(-e.dockerd.Process.Pid, sig)
	}
}

// load puts the image into the engine.
func (e *Engine) load() {
	e.t.Helper()
	_, file, _, _ := runtime.Caller(0)
	program := filepath.Join(e.Dir, "guest")
	build := exec.Command("go", "build", "-o", program, "./testdata/guest")
	build.Dir = filepath.Dir(file)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		e.t.Fatalf("build the guest: %v\n%s", err, out)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		e.t.Fatal(err)
	}
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	err = tw.WriteHeader(&tar.Header{Name: strings.TrimPrefix(GuestProgram, "/"), Mode: 0o755, Size: int64(len(content))})
	if err == nil {
		_, err = tw.Write(content)
	}
	if err := errors.Join(err, tw.Close()); err != nil {
		e.t.Fatal(err)
	}
	imported := e.Inside("docker", "import", "-", Guest)
	imported.Stdin = &layer
	if out, err := imported.CombinedOutput(); err != nil {
		e.t.Fatalf("%v: %s", err, out)
	}
}
