package main

import (
	"bufio"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/results"
)

// TestServe starts the command, reads a page from the address that it says, and
// ends it by a signal.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	program := command(t, dir)
	store, err := openStoreToWrite(t.Context(), filepath.Join(dir, "s.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Begin(t.Context(), results.Run{ID: "tonight", Scenario: "nightly", Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for name, signal := range map[string]syscall.Signal{"interrupt": syscall.SIGINT, "terminate": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, "serve", "--db", "s.db", "--listen", "127.0.0.1:0")
			cmd.Dir = dir
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/`).FindString(line)
			response, err := http.Get(url + "runs/tonight")
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			defer response.Body.Close()
			// No process executes this run.
			if body, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(body), "its process is gone") {
				t.Errorf("%v: %s", err, body)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("after %s it ended with %v", signal, err)
			}
		})
	}
	if status := (&app{stdout: io.Discard, stderr: console.NewTeller(io.Discard)}).main([]string{"serve", "--db", filepath.Join(dir, "s.db"), "--listen", "0.0.0.0:0"}); status != exitUsage {
		t.Errorf("listening to everybody is status %d", status)
	}
}
