package docker

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
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
)

// An ownEngine is a real dockerd that a test started for itself: in network,
// mount and PID namespaces of its own, so that it touches neither the
// machine's engine nor its bridges and rules, and so that nothing of it stays
// when it is gone.
type ownEngine struct {
	*Runtime
	hook string // folder in which the hook finds what to do and leaves what it saw
}

// Names under which the re-executed test binary is something else.
const (
	engineLauncher = "STACKMETER_TEST_ENGINE"        // set: make the namespaces' /proc and become dockerd
	hookName       = "nvidia-container-runtime-hook" // what dockerd looks for on its PATH to offer GPUs
	hookDir        = "STACKMETER_TEST_HOOK"          // ownEngine.hook, for the hook
)

// guestImage is the image that an ownEngine has.
const guestImage = "stackmeter-test/guest:latest"

// startEngine starts a dockerd, with or without the executable that makes it
// register its driver nvidia.
func startEngine(t *testing.T, withHook bool) *ownEngine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it starts an engine of its own")
	}
	dockerd, err := exec.LookPath("dockerd")
	if err != nil {
		t.Skipf("needs dockerd: %v; stacks/images/prepare installs it", err)
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
	e := &ownEngine{hook: filepath.Join(dir, "hook")}
	bin := filepath.Join(dir, "bin")
	for _, d := range []string{e.hook, bin} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := os.Getenv("PATH")
	if withHook {
		if err := os.Symlink(executable(t), filepath.Join(bin, hookName)); err != nil {
			t.Fatal(err)
		}
		path = bin + ":" + path
	} else if real, err := exec.LookPath(hookName); err == nil {
		t.Skipf("needs a machine without NVIDIA's toolkit; it has %s", real)
	}
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	socket := "unix://" + filepath.Join(dir, "docker.sock")
	e.launch(t, append(os.Environ(), "PATH="+path, engineLauncher+"="+dockerd, hookDir+"="+e.hook),
		"--config-file", config, "--host", socket,
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"),
		"--storage-driver", "vfs", "--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false")

	t.Setenv("DOCKER_HOST", socket)
	if e.Runtime, err = New(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.load(t)
	return e
}

// launch runs dockerd until the test ends, and returns when it listens.
func (e *ownEngine) launch(t *testing.T, env []string, args ...string) {
	t.Helper()
	cmd := exec.Command(executable(t), args...)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL, // it is its namespace's first process: all others end with it
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); errors.Is(err, syscall.EPERM) {
		t.Skipf("needs to make namespaces: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		forced := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer forced.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the engine's end: %v", err)
		}
	})
	lines := bufio.NewScanner(said)
	var tail []string
	for lines.Scan() {
		if strings.Contains(lines.Text(), "API listen on") {
			go io.Copy(io.Discard, said)
			return
		}
		tail = append(tail, lines.Text())
	}
	t.Fatalf("the engine ended:\n%s", strings.Join(tail[max(0, len(tail)-10):], "\n"))
}

// becomeEngine is what the re-executed test binary does in its namespaces.
func becomeEngine(dockerd string) error {
	if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount the PID namespace's /proc: %w", err)
	}
	if err := os.Unsetenv(engineLauncher); err != nil { // the hook is this binary too
		return err
	}
	return syscall.Exec(dockerd, append([]string{dockerd}, os.Args[1:]...), os.Environ())
}

// load puts the image into the engine: one static program, under two names.
func (e *ownEngine) load(t *testing.T) {
	t.Helper()
	guest := filepath.Join(filepath.Dir(e.hook), "guest")
	build := exec.Command("go", "build", "-o", guest, "./testdata/guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	program, err := os.ReadFile(guest)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	tw := tar.NewWriter(&layer)
	if err := tw.WriteHeader(&tar.Header{Name: "serve", Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(program); err != nil {
		t.Fatal(err)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	body, err := e.api.ImageImport(t.Context(), image.ImportSource{Source: &layer, SourceName: "-"}, guestImage, image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := follow(body, func() {}, func(string) {}); err != nil {
		t.Fatal(err)
	}
}

// A hookCall is what the hook saw of one container.
type hookCall struct {
	Args []string
	Env  []string // of the container's process
}

// calls lists the hook's calls so far.
func (e *ownEngine) calls(t *testing.T) []hookCall {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(e.hook, "call-*"))
	if err != nil {
		t.Fatal(err)
	}
	var calls []hookCall
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var c hookCall
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	return calls
}

// tell writes one of the files that the hook looks for.
func (e *ownEngine) tell(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(e.hook, file), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Files by which a test tells the hook what to do.
const (
	hookFails = "fails" // it says this and fails
	hookSays  = "says"  // what nvidia-smi in the container prints, instead of the GPUs asked for
	hookBare  = "bare"  // it puts no nvidia-smi into the container
)

// runHook stands in for NVIDIA's hook. Like that one it reads from the
// container's bundle what the engine asks for.
func runHook() error {
	dir := os.Getenv(hookDir)
	var state struct {
		ID, Bundle string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&state); err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(state.Bundle, "config.json"))
	if err != nil {
		return err
	}
	var config struct {
		Process struct{ Env []string }
		Root    struct{ Path string }
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	call, err := json.Marshal(hookCall{Args: os.Args, Env: config.Process.Env})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "call-"+state.ID), call, 0o644); err != nil {
		return err
	}
	if fails, err := os.ReadFile(filepath.Join(dir, hookFails)); err == nil && len(fails) > 0 {
		return errors.New(string(fails))
	}
	if _, err := os.Stat(filepath.Join(dir, hookBare)); err == nil {
		return nil
	}
	says, err := os.ReadFile(filepath.Join(dir, hookSays))
	if err != nil {
		for _, v := range config.Process.Env {
			if asked, ok := strings.CutPrefix(v, "NVIDIA_VISIBLE_DEVICES="); ok {
				for i, uuid := range strings.Split(asked, ",") {
					says = fmt.Appendf(says, "GPU %d: FAKE GPU (no hardware) (UUID: %s)\n", i, uuid)
				}
			}
		}
	}
	program, err := os.ReadFile(filepath.Join(config.Root.Path, "serve"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(config.Root.Path, "usr/bin"), 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(config.Root.Path, "usr/bin/nvidia-smi"), program, 0o755),
		os.WriteFile(filepath.Join(config.Root.Path, "nvidia-smi.says"), says, 0o644))
}

func executable(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}
