package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stackmeter/scenarios"
)

// TestLoadInterrupted: Ctrl-C amid a load prints what there is, as text and as
// JSON, in every mode and with both engines; the client's processes are gone.
func TestLoadInterrupted(t *testing.T) {
	engines := []string{scenarios.EngineNative, scenarios.EnginePythonRequests}
	for _, engine := range engines {
		for mode, pool := range map[string]int64{"single": 1, "mt": 3, "mp": 3} {
			t.Run(engine+" "+mode, func(t *testing.T) {
				const answered = 3
				var asked atomic.Int64
				waiting := make(chan struct{})
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n := asked.Add(1)
					if n <= answered {
						return
					}
					if n == answered+pool { // every client is past its answers
						close(waiting)
					}
					<-r.Context().Done() // until the client is gone
				}))
				defer server.Close()
				dir := t.TempDir()
				cmd := exec.Command(command(t, dir), "load", server.URL, "--requests", "60", "--json", "result.json",
					"--engine", engine, "--client", mode, "--pool", fmt.Sprint(pool))
				cmd.Dir = dir
				if engine == scenarios.EnginePythonRequests {
					// The Python with requests is the system's, where another one comes first on the PATH.
					cmd.Env = append(os.Environ(), "PATH=/usr/bin:/bin")
				}
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				select {
				case <-waiting:
				case err := <-ended:
					t.Fatalf("it ended before it was interrupted: %v\n%s%s", err, &stdout, &stderr)
				}
				if err := cmd.Process.Signal(os.Interrupt); err != nil {
					t.Fatal(err)
				}
				select {
				case <-ended:
				case <-time.After(time.Minute):
					_ = cmd.Process.Kill()
					t.Fatalf("it goes on after an interrupt\n%s%s", &stdout, &stderr)
				}
				if status := cmd.ProcessState.ExitCode(); status != exitInterrupted {
					t.Errorf("exit status %d, want %d\n%s", status, exitInterrupted, &stderr)
				}
				if !strings.Contains(stdout.String(), "of 60 requests finished") || !strings.Contains(stdout.String(), "Latency") {
					t.Errorf("what there is was not printed:\n%s", &stdout)
				}
				text, err := os.ReadFile(filepath.Join(dir, "result.json"))
				if err != nil {
					t.Fatal(err)
				}
				var result struct {
					Run   struct{ Outcome string }
					Cells []struct {
						Status  string
						Replies *int
						Latency *struct{ P50 float64 } `json:"latency_s"`
					}
				}
				if err := json.Unmarshal(text, &result); err != nil {
					t.Fatal(err)
				}
				c := result.Cells[0]
				if result.Run.Outcome != "interrupted" || c.Status != "failed" || c.Replies == nil || *c.Replies != answered || c.Latency == nil {
					t.Errorf("the record: %s", text)
				}
			})
		}
	}
}

// TestLoadThroughUnixSocket: the path of the URL is the request's, and its host
// the one that the server is told.
func TestLoadThroughUnixSocket(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "app.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Host, r.URL)
	})}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	cmd := exec.Command(command(t, dir), "load", "http://app.example/predict?a=1", "--unix-socket", "app.sock",
		"--requests", "4", "--match", `^app\.example /predict\?a=1$`, "--max-errors", "0")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "all of 4 answers as expected") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestLoadOverTLS: a certificate is verified, by what --ca names, unless
// --insecure says that it is not.
func TestLoadOverTLS(t *testing.T) {
	dir := t.TempDir()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes
	server.StartTLS()
	defer server.Close()
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	program := command(t, dir)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--ca", "ca.pem"}, "all of 4 answers as expected"},
		{[]string{"--insecure"}, "tls-insecure"},
		{nil, "unknown authority"},
		{[]string{"--ca", "ca.pem", "--insecure"}, "keep one of them"},
		{[]string{"--insecure", "--engine", "python-requests"}, "by its own rules"},
		{[]string{"--unix-socket", "app.sock"}, "HTTPS is not spoken over one"},
	} {
		cmd := exec.Command(program, append([]string{"load", server.URL, "--requests", "4"}, test.args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), test.want) || (err == nil) != (test.want == "all of 4 answers as expected" || test.want == "tls-insecure") {
			t.Errorf("%v: %v, want %q\n%s", test.args, err, test.want, out)
		}
	}
}

// TestLoadWrongUsage: the flags have the bounds of a scenario, and what is out of
// them is wrong usage, before anything is sent.
func TestLoadWrongUsage(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent: %s", r.URL) }))
	defer server.Close()
	program := command(t, t.TempDir())
	for _, test := range []struct{ args, want string }{
		{"-n 0", "requests must be from 1 to 10000000, not 0"},
		{"-n -1", "not -1"},
		{"-n 90000000000 --rate 10/s", "not 90000000000"},
		{"-c 20000", "pool must be from 1 to 4096, not 20000"},
		{"--pool -5", "not -5"},
		{"--pool -5 --rate 10/s", "not -5"},
		{"--client mp", "mp needs the number of clients"},
		{"--rate 1e-10/s", "from 0.001/s to 100000/s"},
		{"--rate x", "must be a rate"},
		{"--rate 10", `--rate: matrix.rate: "10" has no unit`},
		{"-n 10000000 --rate 0.001/s", "days"},
		{"--search-p99 -1s", `"-1s" is not a time`},
		{"--warmup -1", "--warmup: warmup must be from 0"},
		{"--timeout 0s", "--timeout: request.timeout must be from 1ms"},
	} {
		cmd := exec.Command(program, append([]string{"load", server.URL}, strings.Fields(test.args)...)...)
		out, _ := cmd.CombinedOutput() // the exit status is compared
		if status := cmd.ProcessState.ExitCode(); status != exitUsage || !strings.Contains(string(out), test.want) {
			t.Errorf("%s: exit status %d, want %d, and %q in %q", test.args, status, exitUsage, test.want, out)
		}
	}
}
