package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/cmd/stackmeter/runtimes"
	"stackmeter/results"
	"stackmeter/results/report/pages"
	"stackmeter/scenarios"
	"stackmeter/scenarios/show"
	"stackmeter/stacks/process"
)

// An output is all that a run and its reports have written, by where.
type output map[string]string

// everything runs a scenario and collects what it writes: the streams, the
// store byte by byte, and every format of the report.
func (s *session) everything(want int, text string, env []string, args ...string) output {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "threat.yaml"), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	out := output{}
	command := func(name string, want int, args ...string) {
		s.t.Helper()
		cmd := s.exec(s.t.Context(), args...)
		cmd.Env = append(cmd.Env, env...)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			s.t.Fatal(err)
		}
		if got := cmd.ProcessState.ExitCode(); got != want {
			s.t.Fatalf("%s: exit status %d, want %d\n%s%s", name, got, want, &stdout, &stderr)
		}
		out[name], out[name+" (standard error)"] = stdout.String(), stderr.String()
	}
	for _, progress := range []string{console.ProgressJSON, console.ProgressPlain} {
		_ = os.Remove(filepath.Join(s.dir, defaultStore))
		command("run --progress "+progress, want, append([]string{"run", "threat.yaml", "--progress", progress}, args...)...)
	}
	for _, format := range pages.Formats(results.Run{}, nil).Names() {
		command("report --format "+format, exitOK, "report", "--format", format)
	}
	command("plan", exitOK, append([]string{"plan", "threat.yaml"}, planArguments(args)...)...)
	command("plan --json", exitOK, append([]string{"plan", "threat.yaml", "--json"}, planArguments(args)...)...)
	command("runs", exitOK, "runs")
	store, err := os.ReadFile(filepath.Join(s.dir, defaultStore))
	if err != nil {
		s.t.Fatal(err)
	}
	out["the store"] = string(store)
	run, _ := s.stored()
	s.nothingLeft(run.ID)
	return out
}

// planArguments are those of run that plan has too.
func planArguments(args []string) []string {
	if i := slices.Index(args, "--runtime"); i >= 0 {
		return slices.Concat(args[:i], args[i+2:])
	}
	return args
}

// TestThreat4Secrets: values of the environment and of headers reach the app,
// and nothing that stackmeter writes, not even where the app prints them.
func TestThreat4Secrets(t *testing.T) {
	const secret = "secret-4711"
	for _, runtime := range runtimes.Names[:2] { // those of this machine
		t.Run(runtime, func(t *testing.T) {
			s := newSession(t)
			if runtime == process.Name {
				needsLocalPrograms(t)
			}
			out := s.everything(exitCellsFailed, strings.ReplaceAll(`name: secrets
app:
  build: {context: APP, args: {BUILD_TOKEN: build-secret-4711}}
  dir: APP
  wsgi: wsgi:app
  ready: {path: /healthz}
  env: {API_TOKEN: scenario-secret-4711, MODEL: resnet18}
request:
  path: "/environment?name=PASSED"
  headers: {Authorization: Bearer header-secret-4711}
  expect: {match: ^operator}
topologies:
  - flask
  - {name: printing, server: flask, env: {FAIL_START: "topology-secret-4711\nsecond line of topology-secret-4711"}}
  - {name: launched, command: [sh, -c, 'exec gunicorn --bind {host}:{port} --env "COPY=$API_TOKEN" wsgi:app']}
matrix: {requests: [2], client: [single]}
`, "APP", s.app), []string{"PASSED=operator-secret-4711", "HIDDEN=hidden-secret-4711"}, "--runtime", runtime, "--allow-path", s.app, "--env", "PASSED")
			for name, text := range out {
				if strings.Contains(text, secret) {
					at := strings.Index(text, secret)
					t.Errorf("%s: %q", name, text[max(0, at-200):at+len(secret)])
				}
			}
			_, records := s.stored()
			for _, r := range records {
				if failed := r.Status != "ok"; failed != (r.Topology.Name == "printing") {
					t.Errorf("%s: %s %s\n%s", r.Cell.Name, r.Status, r.Reason, r.LogTail)
				}
				if r.Topology.Name == "printing" && !strings.Contains(r.LogTail, "RuntimeError: "+show.Redacted) {
					t.Errorf("what the app printed: %s", r.LogTail)
				}
				if r.Topology.Name == "launched" && !strings.Contains(strings.Join(r.Stack.Services[0].Processes, "\n"), "COPY="+show.Redacted) {
					t.Errorf("a command line that a launcher put a value into: %q", r.Stack.Services[0].Processes)
				}
			}
			if !strings.Contains(out["the store"], "resnet18") || !strings.Contains(out["the store"], "API_TOKEN") {
				t.Error("the store does not name the variables, or lacks a value that is no secret")
			}
		})
	}
}

// TestThreat4HeaderSecrets: a header's value from the operator's environment reaches
// the app, by both engines and in the probe, and nothing that stackmeter writes: what
// is written is the name. A resumed run has to be given the value again.
func TestThreat4HeaderSecrets(t *testing.T) {
	const secret = "secret-4711"
	env := []string{"API_TOKEN=operator-secret-4711"}
	for _, runtime := range runtimes.Names[:2] { // those of this machine
		for _, engine := range []string{scenarios.EngineNative, scenarios.EnginePythonRequests} {
			t.Run(runtime+" "+engine, func(t *testing.T) {
				s := newSession(t)
				if runtime == process.Name {
					needsLocalPrograms(t)
				}
				out := s.everything(exitCellsFailed, strings.NewReplacer("APP", s.app, "ENGINE", engine).Replace(`name: headers
app:
  build: APP
  wsgi: wsgi:app
  ready: {path: /v2/health, method: POST, json: {deep: true}, headers: {Authorization: "Bearer ${API_TOKEN}", X-Own: written-secret-4711}}
request:
  path: "/header?name=Authorization"
  headers: {Authorization: "Bearer ${API_TOKEN}", X-Two: "Basic written-secret-4711 ${API_TOKEN}", X-Literal: "$${API_TOKEN}"}
  expect: {match: "^Bearer operator"}
topologies:
  - flask
  - {name: leaking, server: flask, env: {LEAK: 1}}
client: {engine: ENGINE}
matrix: {requests: [2], client: [single]}
warmup: 0
`), env, "--runtime", runtime, "--allow-path", s.app, "--env", "API_TOKEN")
				for name, text := range out {
					if at := strings.Index(text, secret); at >= 0 {
						t.Errorf("%s: %q", name, text[max(0, at-200):at+len(secret)])
					}
				}
				_, records := s.stored()
				for _, r := range records {
					leaks := r.Topology.Name == "leaking"
					if failed := r.Status != "ok"; failed != leaks {
						t.Errorf("%s: %s %s\n%s", r.Cell.Name, r.Status, r.Reason, r.LogTail)
					}
					if leaks && (!strings.Contains(r.LogTail, "got "+show.Redacted) || !strings.Contains(fmt.Sprint(r.FirstErrors), show.Redacted)) {
						t.Errorf("what the app printed and answered: %s %v", r.LogTail, r.FirstErrors)
					}
				}
				for _, where := range []string{"the store", "plan --json"} {
					if !strings.Contains(out[where], "Bearer ${API_TOKEN}") {
						t.Errorf("%s does not name the variable", where)
					}
				}
				resumed := s.exec(t.Context(), "run", "threat.yaml", "--runtime", runtime, "--allow-path", s.app, "--resume")
				if text, err := resumed.CombinedOutput(); err == nil || !strings.Contains(string(text), "--env API_TOKEN, also with --resume") {
					t.Errorf("resumed without the value: %v %s", err, text)
				}
			})
		}
	}
}

// TestThreat4ProxyOfABuild: a build is given the operator's proxy, and what it
// prints of it is kept without the password.
func TestThreat4ProxyOfABuild(t *testing.T) {
	s := newSession(t)
	const dockerfile = "FROM debian:trixie-slim\nRUN echo by $http_proxy && echo ${http_proxy#*:*:} && false\n"
	if err := os.WriteFile(filepath.Join(s.dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	out := s.everything(exitCellsFailed, `name: proxy
app: {build: ., wsgi: "wsgi:app"}
topologies: [flask]
matrix: {requests: [1], client: [single]}
`, []string{"http_proxy=http://operator:secret-4711@proxy.invalid:3128"})
	_, records := s.stored()
	if want := "by http://" + show.Redacted + "@proxy.invalid:3128\n" + show.Redacted + "@proxy.invalid:3128"; !strings.Contains(records[0].Reason, want) {
		t.Errorf("%q has no %q", records[0].Reason, want)
	}
	for name, text := range out {
		if strings.Contains(text, "secret-4711") {
			t.Errorf("%s has the password: %s", name, text)
		}
	}
}

// hostileServer answers its probe, and everything else with what would like
// to take over a terminal, a spreadsheet, a browser or the client's memory.
// Then it dies with last words of the same kind.
const hostileServer = `
import os, socket, sys
evil = b"\x1b]0;owned\x07\x1b[2J\x9b31m\xe2\x80\xae=cmd|' /c calc'!A1\x00<script src=//evil.example/x></script>\xff"
sys.stdout.buffer.write(evil + b"\r" + evil + b"\n" + b"x" * (1 << 20) + b"\n" + evil + b"\n")
sys.stdout.flush()
answers = [
    b"HTTP/1.1 500 " + evil + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"h" * (8 << 20) + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * (1 << 20) + b"Content-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + evil + b": " + evil + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/" + evil + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n" + evil,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + evil,
    evil,
]
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
served = 0
while True:
    connection, _ = listening.accept()
    try:
        asked = connection.recv(65536)
        if b"/healthz" in asked:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        elif served == len(answers):
            # Endless: until the client has had enough.
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                connection.sendall(evil * 1000)
        else:
            connection.sendall(answers[served])
    except OSError:
        pass
    if b"/healthz" not in asked:
        served += 1
    connection.close()
    if served > len(answers):
        sys.stdout.buffer.write(evil)
        sys.stdout.flush()
        os._exit(3)
`

// TestThreat5HostileServer: what a server sends or prints comes out of every
// format, and out of the progress, as text that does nothing.
func TestThreat5HostileServer(t *testing.T) {
	s := newSession(t)
	needsLocalPrograms(t)
	if err := os.WriteFile(filepath.Join(s.dir, "hostile.py"), []byte(hostileServer), 0o644); err != nil {
		t.Fatal(err)
	}
	out := s.everything(exitCellsFailed, `name: hostile
app: {image: example/none, dir: ., ready: {path: /healthz}}
request: {path: /, timeout: 1s}
warmup: 0
topologies: [{name: hostile, command: [python3, hostile.py, "{port}"]}]
matrix: {requests: [40], client: [mt], pool: [3]}
`, nil, "--runtime", process.Name)
	_, records := s.stored()
	if len(records) != 1 || records[0].LogTail == "" || len(records[0].FirstErrors) == 0 {
		t.Fatalf("the server was not met: %+v", records)
	}
	if n := len(records[0].LogTail); n > 64<<10 {
		t.Errorf("the log's tail has %d bytes", n)
	}
	for name, text := range out {
		if name != "the store" {
			harmless(t, name, text)
		}
	}
}

// TestThreat5HostileBuild: what a build prints comes from a stranger's
// Dockerfile.
func TestThreat5HostileBuild(t *testing.T) {
	s := newSession(t)
	const dockerfile = "FROM debian:trixie-slim\nRUN printf '\\033]0;owned\\007\\033[2J\\233\\342\\200\\256\\r=cmd\\377' && false\n"
	if err := os.WriteFile(filepath.Join(s.dir, "Dockerfile"), []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	out := s.everything(exitCellsFailed, `name: hostile
app: {build: ., wsgi: "wsgi:app"}
topologies: [flask]
matrix: {requests: [1], client: [single]}
`, nil)
	if !strings.Contains(out["run --progress plain (standard error)"], "]0;owned") {
		t.Errorf("what the build printed is nowhere: %s", out["run --progress plain (standard error)"])
	}
	for name, text := range out {
		if name != "the store" {
			harmless(t, name, text)
		}
	}
}

// harmless fails the test when a text could do something to who looks at it.
func harmless(t *testing.T, name, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s: not UTF-8", name)
	}
	isJSON := strings.Contains(name, "json")
	for i, r := range text {
		// JSON has escapes of its own, and its readers get the data as it was.
		if r != '\n' && unicode.IsControl(r) || !isJSON && unicode.Is(unicode.Cf, r) {
			t.Errorf("%s: holds %U: %q", name, r, text[max(0, i-60):min(len(text), i+20)])
			break
		}
	}
	lower := strings.ToLower(text)
	if strings.HasPrefix(strings.TrimSpace(lower), "<!doctype html") && strings.Contains(lower, "<script src=//evil") {
		t.Errorf("%s: a script of the server's", name)
	}
	switch name {
	case "report --format csv":
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil {
			t.Error(err)
		}
		for _, row := range rows {
			for _, cell := range row {
				if cell != "" && strings.ContainsRune("=+-@", rune(cell[0])) {
					t.Errorf("a formula: %q", cell)
				}
			}
		}
	case "report --format json":
		if !json.Valid([]byte(text)) {
			t.Error("not valid JSON")
		}
	}
}

// TestThreat6NoShell: what a scenario says reaches a process as it is. The
// words here would leave a file where a shell, or a second evaluation of
// placeholders, had seen them.
func TestThreat6NoShell(t *testing.T) {
	const evil = `$(touch pwned) ` + "`touch pwned`" + `; touch pwned | touch pwned > pwned & touch pwned {port} %(x)s \n '"*?~`
	for _, runtime := range runtimes.Names[:2] { // those of this machine
		t.Run(runtime, func(t *testing.T) {
			s := newSession(t)
			if runtime == process.Name {
				needsLocalPrograms(t)
			}
			app := filepath.Join(s.dir, "app")
			if err := os.CopyFS(app, os.DirFS("../../stacks/stackstest/testdata/app")); err != nil {
				t.Fatal(err)
			}
			quoted, err := json.Marshal(strings.ReplaceAll(strings.ReplaceAll(evil, "{", "{{"), "}", "}}"))
			if err != nil {
				t.Fatal(err)
			}
			value, _ := json.Marshal(evil + " in the environment") // another text than the argument, which is read back below
			status, _ := s.runScenario(`name: shell
app: {build: {context: app}, dir: app, wsgi: "wsgi:app", ready: {path: /healthz}, env: {EVIL: `+string(value)+`}}
request: {path: "/environment?name=EVIL", expect: {match: '^\$\(touch pwned\) .touch pwned.; .* \{port\} %\(x\)s \\n ..\*\?~ in the environment$'}}
topologies: [{name: odd, command: [gunicorn, --bind, "{host}:{port}", --env, `+strings.Replace(string(quoted), `"`, `"ARGUMENT=`, 1)+`, "wsgi:app"]}]
matrix: {requests: [2], client: [single, mp], pool: [2]}
`, "--runtime", runtime)
			run, records := s.stored()
			if status != exitOK {
				t.Errorf("exit status %d: %+v", status, records)
			}
			for _, r := range records {
				if r.Stack == nil || !strings.Contains(strings.Join(r.Stack.Services[0].Processes, "\n"), "ARGUMENT="+evil[:30]) {
					t.Errorf("what runs: %+v", r.Stack)
				}
			}
			_ = filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, _ error) error {
				if filepath.Base(path) == "pwned" {
					t.Errorf("a shell ran: %s", path)
				}
				return nil
			})
			s.nothingLeft(run.ID)
		})
	}
}

// runScenario runs another scenario than the session's.
func (s *session) runScenario(text string, args ...string) (status int, stdout string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, "session.yaml"), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	return s.run(nil, args...)
}

// TestThreat6SourceStartsNoShell reads the program's own source: nothing
// starts a shell, and nothing is ever pruned (fault 28).
func TestThreat6SourceStartsNoShell(t *testing.T) {
	files := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "fakedriver" || d.Name() == "stackstest" || d.Name() == "enginetest") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		if strings.HasSuffix(path, "stacks/export/health.go") {
			return nil // it writes the health check of a proxy's container, which others start and which has no other program
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				switch strings.Trim(n.Value, "\"`") {
				case "sh", "bash", "dash", "zsh", "/bin/sh", "/bin/bash", "/usr/bin/env", "cmd.exe":
					t.Errorf("%s: the word %s: a shell?", path, n.Value)
				}
			case *ast.SelectorExpr:
				if strings.HasSuffix(n.Sel.Name, "Prune") && n.Sel.Name != "Prune" { // a scenario's own word
					t.Errorf("%s: calls %s, which removes what others made", path, n.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil || files < 100 {
		t.Fatalf("%d files, %v", files, err)
	}
}

// TestThreat4FlagNamesNoValue: --env takes a name, and one that was given a
// value does not print it.
func TestThreat4FlagNamesNoValue(t *testing.T) {
	_, _, err := new(app).loadPlan("../../scenarios/quickstart.yaml", scenarioOptions{cells: 1, env: []string{"API_TOKEN=secret-4711"}})
	if err == nil || !strings.Contains(err.Error(), "--env API_TOKEN: ") || strings.Contains(err.Error(), "4711") {
		t.Errorf("%v", err)
	}
}
