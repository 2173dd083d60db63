package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stackmeter/stacks/docker/enginetest"
)

// An ownEngine is a runtime over an engine of the test's own.
type ownEngine struct {
	*Runtime
	hook string // folder in which the hook finds what to do and leaves what it saw
}

const (
	hookName = "nvidia-container-runtime-hook" // what dockerd looks for on its PATH to offer GPUs; as that, the test binary is the hook
	hookDir  = "STACKMETER_TEST_HOOK"          // ownEngine.hook, for the hook
)

// startEngine starts a dockerd, with or without the executable that makes it
// register its driver nvidia.
func startEngine(t *testing.T, withHook bool) *ownEngine {
	t.Helper()
	path, hook := os.Getenv("PATH"), t.TempDir()
	if withHook {
		bin := t.TempDir()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, filepath.Join(bin, hookName)); err != nil {
			t.Fatal(err)
		}
		path = bin + ":" + path
	} else if real, err := exec.LookPath(hookName); err == nil {
		t.Skipf("needs a machine without NVIDIA's toolkit; it has %s", real)
	}
	engine := enginetest.New(t, enginetest.Options{Env: []string{"PATH=" + path, hookDir + "=" + hook}})
	t.Setenv("DOCKER_HOST", engine.Host())
	r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if err := r.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &ownEngine{r, hook}
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
	program, err := os.ReadFile(filepath.Join(config.Root.Path, enginetest.GuestProgram))
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
