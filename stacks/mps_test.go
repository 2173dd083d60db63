package stacks

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stackmeter/scenarios"
)

// shortDir is a folder whose path a socket's can begin with: it is limited to
// 108 bytes, which t.TempDir can exceed.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stackmeter-mps-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestCheckMPS(t *testing.T) {
	for _, kind := range []string{"unix", "unixpacket"} {
		t.Run(kind, func(t *testing.T) {
			dir := shortDir(t)
			l, err := net.ListenUnix(kind, &net.UnixAddr{Name: filepath.Join(dir, "control"), Net: kind})
			if err != nil {
				t.Fatal(err)
			}
			l.SetUnlinkOnClose(false)
			if err := CheckMPS(dir); err != nil {
				t.Errorf("somebody listens: %v", err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if err := CheckMPS(dir); err == nil || !strings.Contains(err.Error(), "no control daemon answers") || !strings.Contains(err.Error(), "nvidia-cuda-mps-control -d") {
				t.Errorf("nobody listens any more: %v", err)
			}
		})
	}
	t.Run("no folder", func(t *testing.T) {
		if err := CheckMPS(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "there is no") {
			t.Errorf("CheckMPS = %v", err)
		}
	})
	t.Run("a PID file of somebody else's process", func(t *testing.T) {
		dir := t.TempDir()
		for name, text := range map[string]string{"control": "", "nvidia-cuda-mps-control.pid": fmt.Sprint(os.Getpid())} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := CheckMPS(dir); err == nil {
			t.Error("this test is taken for the control daemon")
		}
	})
}

func TestMPSEnvironment(t *testing.T) {
	limited := &scenarios.MPS{ActiveThreads: 33.3, Memory: 4 << 30}
	tests := []struct {
		name    string
		service Service
		want    map[string]string
	}{
		{"no GPU", Service{}, nil},
		{"not asked for", Service{GPUs: []string{"GPU-a"}}, map[string]string{"CUDA_MPS_PIPE_DIRECTORY": NoMPS}},
		{"without limits", Service{GPUs: []string{"GPU-a"}, MPS: &scenarios.MPS{}}, map[string]string{"CUDA_MPS_PIPE_DIRECTORY": "/pipes"}},
		{"limits on two devices", Service{GPUs: []string{"GPU-a", "GPU-b"}, MPS: limited}, map[string]string{
			"CUDA_MPS_PIPE_DIRECTORY": "/pipes", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "33.3",
			"CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=4096M,1=4096M",
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.service.MPSEnvironment("/pipes"); !maps.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
