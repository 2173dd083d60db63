package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestAttackTimeoutSignalsTwice: GNU timeout signals its child, and the group that the
// child is in. What was measured is printed all the same.
func TestAttackTimeoutSignalsTwice(t *testing.T) {
	for _, between := range []time.Duration{0, 20 * time.Millisecond} {
		t.Run(between.String(), func(t *testing.T) {
			var asked atomic.Int64
			waiting := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n := asked.Add(1); n <= 3 {
					return
				} else if n == 4 {
					close(waiting)
				}
				<-r.Context().Done()
			}))
			defer server.Close()
			dir := t.TempDir()
			cmd := exec.Command(command(t, dir), "load", server.URL, "--requests", "60")
			cmd.Dir = dir
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			<-waiting
			_ = cmd.Process.Signal(syscall.SIGTERM)
			time.Sleep(between)
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
			if status := cmd.ProcessState.ExitCode(); status != exitInterrupted {
				t.Errorf("exit status %d, want %d\n%s", status, exitInterrupted, &stderr)
			}
			if !strings.Contains(stdout.String(), "of 60 requests finished") {
				t.Errorf("what was measured was not printed:\n%s%s", &stdout, &stderr)
			}
		})
	}
}
