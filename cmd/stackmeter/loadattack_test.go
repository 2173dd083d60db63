package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/orchestrator/load/native"
	"stackmeter/results"
	"stackmeter/results/storetest"
	"stackmeter/scenarios"
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

// said is the exit status of a command line, and what it prints.
func said(args ...string) (status int, printed string) {
	var out oneStream
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: console.NewTeller(&out)}
	status = a.main(args)
	return status, out.String()
}

// oneStream is a terminal, on which both outputs end, of several goroutines.
type oneStream struct {
	mu sync.Mutex
	bytes.Buffer
}

func (s *oneStream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(p)
}

func (s *oneStream) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.String()
}

// everyCommand visits each command that a user can give, with the words that call it.
func everyCommand(visit func(cmd *cobra.Command, path []string)) {
	var each func(*cobra.Command, []string)
	each = func(cmd *cobra.Command, path []string) {
		for _, sub := range cmd.Commands() {
			each(sub, append(slices.Clone(path), sub.Name()))
		}
		if !cmd.Hidden && cmd.Runnable() {
			visit(cmd, path)
		}
	}
	each((&app{}).root(), nil)
}

// rightLines are what makes each command line right, but for a flag that is tried: the
// files are those of usageFolder.
var rightLines = map[string]string{
	"": "", "help": "", "completion": "", "completion bash": "", "completion fish": "", "completion powershell": "", "completion zsh": "",
	"run": "s.yaml --runtime process --db s.db", "plan": "s.yaml", "report": "--db s.db", "compare": "one one --db s.db", "recommend": "--db s.db", "history": "--db s.db",
	"import": "r.json --db s.db", "runs": "--db s.db", "runs tag": "one name --db s.db", "backup": "copy.db --db s.db", "copy": "s.db other.db none", "serve": "--db s.db",
	"load": "http://127.0.0.1:1/", "clean": "--runtime process", "doctor": "", "schema": "",
	"check": "s.yaml --runtime process", "search": "s.yaml --runtime process --db s.db", "export": "--db s.db", "init": "none", "try": "none --db s.db",
	"agent": "", "agent image": "--image-prefix registry.invalid/team", "agent manifest": "s.yaml --namespace n --db-secret s --agent-image a",
}

// usageFolder is a folder with a scenario, a store and a result, in which the test runs.
func usageFolder(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	store, err := openStoreToWrite(t.Context(), "s.db")
	if err != nil {
		t.Fatal(err)
	}
	measured := storetest.Record("one", results.StatusOK, 1)
	measured.Duration, measured.Replies = new(1.5), measured.Cell.Load.Requests
	if err := errors.Join(
		store.Begin(t.Context(), results.Run{ID: "one", Scenario: "s", Started: time.Unix(1, 0)}),
		store.Put(t.Context(), measured), store.Close(),
		os.WriteFile("s.yaml", []byte("name: s\napp: {image: none, wsgi: 'wsgi:app'}\ntopologies: [flask]\nmatrix: {requests: [1], client: [single]}\n"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	if status, printed := said(strings.Fields("report --db s.db --format json -o r.json")...); status != exitOK {
		t.Fatal(printed)
	}
}

// TestAttackEmptyValues: no flag of any command takes nothing for a value, as a script
// gives it whose variable is not set. It would count as not given.
func TestAttackEmptyValues(t *testing.T) {
	usageFolder(t)
	before := contents(t, ".")
	everyCommand(func(cmd *cobra.Command, path []string) {
		right, known := rightLines[strings.Join(path, " ")]
		if !known {
			t.Errorf("%v: say what makes its command line right", path)
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			args := append(append(slices.Clone(path), strings.Fields(right)...), "--"+f.Name+"=")
			if status, printed := said(args...); status != exitUsage || !strings.Contains(printed, f.Name) {
				t.Errorf("%q: exit status %d: %s", args, status, printed)
			}
		})
	})
	for _, args := range [][]string{{""}, {"report", ""}, {"load", ""}, {"run", "", "--db", "x.db"}} {
		if status, printed := said(args...); status != exitUsage || !strings.Contains(printed, "argument 1 is empty") {
			t.Errorf("%q: exit status %d: %s", args, status, printed)
		}
	}
	if after := contents(t, "."); !maps.Equal(before, after) {
		t.Errorf("something was made: %v", slices.Collect(maps.Keys(after)))
	}
}

// wrongValues are what each flag cannot be.
var wrongValues = map[string]string{
	"across": "nosuch", "allow-path": "nosuch", "arrivals": "nosuch", "ca": "nosuch.pem", "cell": "nosuch", "charts": "s.yaml", "client": "nosuch", "compare": "nosuch", "cpuset": "9999", "data": "{",
	"db": ".", "delete": "no such", "engine": "nosuch", "env": "NO_SUCH", "expect-json": "nosuch", "expect-status": "1000", "fail-on": "p99 <", "field": `"`, "file": "nosuch*",
	"format": "nosuch", "generate": "0x0", "gpu-sampler": "nosuch", "gpu-wait": "-1s", "header": "nosuch", "json": "nosuch/x", "lanes": "nosuch", "last": "-1", "listen": "192.0.2.1:0", "match": "(",
	"max-cells": "-1", "max-errors": "-1", "method": "BREW", "metric": "nosuch", "nvml": "nosuch.so", "objective": "nosuch", "only": "nosuch", "output": "nosuch/x", "pick": "nosuch",
	"pool": "-1", "progress": "nosuch", "rate": "-1/s", "repeats": "-1", "requests": "-1", "resume": "nosuch", "run": "latest", "runtime": "nosuch", "scenario": "nosuch", "search-p99": "-1s",
	"seed": "-1", "set": "nosuch=1", "table": "nosuch", "tag": "latest", "timeout": "-1s", "under": "nosuch=1", "unix-socket": "/" + strings.Repeat("x", 110), "wait": "-1s", "warmup": "-1",
	"within": "nosuch", "reuse": "nosuch", "confidence": "nosuch", "time": "-1s", "context": "nosuch", "namespace": "No such", "image-prefix": "nosuch",
	"node-selector": "nosuch", "toleration": "no such", "agent-image": "No such", "proxy-image": "nosuch", "runtime-class": "No such", "room-wait": "-1s",
	"schedule": "nosuch", "db-secret": "No such",
}

// TestAttackWrongUsageEverywhere: a flag that is none, a value that cannot be, and
// arguments that nobody asked for are exit status 2 of every command, and nothing is
// made or changed.
func TestAttackWrongUsageEverywhere(t *testing.T) {
	usageFolder(t)
	before := contents(t, ".")
	everyCommand(func(cmd *cobra.Command, path []string) {
		line := append(slices.Clone(path), strings.Fields(rightLines[strings.Join(path, " ")])...)
		lines := [][]string{{"--nosuch"}, {"-Z"}, {"a", "b", "c", "d"}}
		if cmd.Flags().Lookup("db") != nil && cmd.Name() != "doctor" {
			lines = append(lines, []string{"--db=nosuch/s.db"})
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			value := wrongValues[f.Name]
			if f.Value.Type() == "bool" {
				value = "nosuch"
			}
			lines = append(lines, []string{"--" + f.Name + "=" + value})
		})
		for _, wrong := range lines {
			status, printed := said(append(slices.Clone(line), wrong...)...)
			name, _, _ := strings.Cut(strings.TrimLeft(wrong[0], "-"), "=")
			if name == "output" {
				name = "-o"
			}
			if status != exitUsage || len(wrong) == 1 && !strings.Contains(printed, name) {
				t.Errorf("%q and %q: exit status %d: %s", line, wrong, status, printed)
			}
			if after := contents(t, "."); !maps.Equal(before, after) {
				t.Errorf("%q and %q: something was made or changed: %v", line, wrong, slices.Collect(maps.Keys(after)))
				before = after
			}
		}
	})
}

// TestAttackEveryOutput: what any flag of any command names to be written is never the
// store, a part of it or a file that the command reads, by whatever name.
func TestAttackEveryOutput(t *testing.T) {
	usageFolder(t)
	if err := errors.Join(os.Mkdir("charts", 0o755), os.Link("s.db", "charts/memory.png"), os.Link("s.db", "hard.db"), os.Symlink("s.db", "soft.db"),
		os.Symlink("s.db-wal", "dangling"), os.Symlink(".", "here")); err != nil {
		t.Fatal(err)
	}
	open, err := os.Open("s.db")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	before, tried := contents(t, "."), 0
	written := map[string]bool{"output": true, "json": true, "charts": true, "db": false, "nvml": false, "ca": false, "unix-socket": false, "allow-path": false, "file": false}
	everyCommand(func(cmd *cobra.Command, path []string) {
		line := append(slices.Clone(path), strings.Fields(rightLines[strings.Join(path, " ")])...)
		targets := []string{"s.db", "hard.db", "soft.db", "here/s.db", "here/hard.db", fmt.Sprintf("/dev/fd/%d", open.Fd()), fmt.Sprintf("/proc/self/fd/%d", open.Fd())}
		if cmd.Flags().Lookup("db") != nil {
			targets = append(targets, "s.db-wal", "here/s.db-journal", "s.db-shm", "dangling")
		}
		for _, arg := range line {
			if info, err := os.Stat(arg); err == nil && info.Mode().IsRegular() {
				targets = append(targets, arg, "here/"+arg)
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			of, _ := pflag.UnquoteUsage(f)
			is, known := written[f.Name]
			if !known && (of == "FILE" || of == "DIR") {
				t.Errorf("%v --%s: say whether it is written", path, f.Name)
			}
			if !is || f.Value.Type() == "bool" {
				return
			}
			these := targets
			if f.Name == "charts" {
				these = []string{"charts", "here/charts"}
			}
			for _, target := range these {
				tried++
				args := append(slices.Clone(line), "--"+f.Name+"="+target)
				if status, printed := said(args...); status != exitUsage || !maps.Equal(contents(t, "."), before) {
					t.Errorf("%q: exit status %d: %s", args, status, printed)
					before = contents(t, ".")
				}
			}
		})
	})
	if tried < 50 {
		t.Errorf("%d outputs were tried", tried)
	}
}

// TestAttackWrongUsage: it is exit status 2 everywhere, says the remedy, and shows no
// password.
func TestAttackWrongUsage(t *testing.T) {
	t.Chdir(t.TempDir())
	for line, says := range map[string]string{
		"run":                              "which scenario? name a file, as in: stackmeter run",
		"plan":                             "which scenario?",
		"help nosuch":                      `there is no command and no topic "nosuch"`,
		"completion csh":                   `there is no command "csh"`,
		native.WorkerArgument + " x":       "unknown command",
		"import .":                         "is a directory",
		"report --db .":                    "not a regular file",
		"runs --db /dev/null":              "not a regular file",
		"run none.yaml":                    "no such file",
		"plan s.yaml --set repeats=":       "repeats has no value\n  write null to remove it",
		"load 127.0.0.1:8000/ok":           "it has no scheme; write http://127.0.0.1:8000/ok or",
		"load localhost:8000/ok":           "it has no scheme; write http://localhost:8000/ok or",
		"load example.org/ok":              "it has no scheme; write http://example.org/ok or",
		"load /ok":                         "has to begin with http://HOST",
		"load http://:80/ok":               "has to begin with http://HOST",
		"load http://127.0.0.1:99999/":     "port 99999 does not exist",
		"load http://127.0.0.1:0/":         "port 0 does not exist",
		"load http://h/ -H X-A:1 -H x-a:2": "--header already says what request.headers.X-A is",
		"load http://h/ --expect-json a=1 --expect-json a=2":          `the key "a" is already`,
		"load http://h/ --unix-socket /" + strings.Repeat("long", 30): "the kernel takes at most 107",
		"load http://user:PASSWORD@h/":                                "send a name and password in a header",
		"load http://user:PASSWORD@h:bad/":                            "send a name and password in a header",
		"load http://user:PASS%zzWORD@h/":                             "send a name and password in a header",
		"load ftp://user:PASSWORD@h/":                                 "send a name and password in a header",
		"load user:PASSWORD@h/":                                       "send a name and password in a header",
		"load http:/user:PASSWORD@h/":                                 "it has no scheme",
		"load http://user:PASSWORD@h/#fragment":                       "send a name and password in a header",
	} {
		if err := os.WriteFile("s.yaml", []byte("name: s\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		status, printed := said(strings.Fields(line)...)
		if status != exitUsage || !strings.Contains(printed, says) || strings.Contains(printed, "PASS") || strings.Contains(printed, "WORD") {
			t.Errorf("%s: exit status %d: %s", line, status, printed)
		}
	}
}

// TestAttackResultOfAFailure: where nothing can be measured there is a result all the
// same, as JSON too, and the exit status is not 0.
func TestAttackResultOfAFailure(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(20 * time.Millisecond)
			return
		}
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, "Traceback: no such table")
	}))
	defer server.Close()
	dir := t.TempDir()
	program := command(t, dir)
	for name, test := range map[string]struct {
		line   string
		status int
		says   string
	}{
		"no warm-up": {"http://127.0.0.1:1/ --warmup 3", exitInfrastructure, "warm-up: none of 3 requests"},
		"no rate":    {server.URL + "/slow -n 1 --search-p99 1ms", exitCellsFailed, "the search found no rate within 1ms: at "},
		"native":     {server.URL + "/ -n 2", exitCellsFailed, `status 500 instead of 200; the body begins with \"Traceback: no such table\"`},
		"Python":     {server.URL + "/ -n 2 --engine python-requests", exitCellsFailed, `status 500 instead of 200; the body begins with \"Traceback: no such table\"`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(program, append(strings.Fields("load "+test.line), "--json", "result.json")...)
			cmd.Dir = dir
			if name == "Python" {
				cmd.Env = append(os.Environ(), "PATH=/usr/bin:/bin")
			}
			printed, _ := cmd.CombinedOutput()
			result, err := os.ReadFile(filepath.Join(dir, "result.json"))
			if cmd.ProcessState.ExitCode() != test.status || err != nil || !strings.Contains(string(result), test.says) {
				t.Errorf("exit status %d, want %d; %v\n%s\n%s", cmd.ProcessState.ExitCode(), test.status, err, result, printed)
			}
			_ = os.Remove(filepath.Join(dir, "result.json"))
		})
	}
}

// TestAttackAddressWithZone: a zone, here the number of the loopback interface, says how
// to get to an address. The server does not see it, with any engine.
func TestAttackAddressWithZone(t *testing.T) {
	listener, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("needs IPv6: %v", err)
	}
	server := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host)
	})}}
	server.Start()
	defer server.Close()
	dir := t.TempDir()
	program := command(t, dir)
	host := listener.Addr().String()
	url := "http://" + strings.Replace(host, "]", "%251]", 1) + "/"
	for _, engine := range []string{scenarios.EngineNative, scenarios.EnginePythonRequests} {
		cmd := exec.Command(program, "load", url, "-n", "2", "--engine", engine, "--max-errors", "0", "--match", "^"+regexp.QuoteMeta(host)+"$")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "PATH=/usr/bin:/bin")
		if printed, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", engine, err, printed)
		}
	}
}
