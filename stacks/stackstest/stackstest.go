// Package stackstest is the conformance suite of runtimes. It tries for real what
// the contract in package stacks promises. Each runtime's test runs it with the
// application in testdata/app.
package stackstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/ready"
	"stackmeter/scenarios/wire"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

// A Bench is one runtime under test.
type Bench struct {
	Runtime stacks.Runtime

	// Leftovers lists what exists of a run: containers, networks, processes.
	// Without it the servers are not the runtime's: it starts and removes
	// nothing and cannot look into a stack. The parts of the suite that need
	// that are left out.
	Leftovers func(ctx context.Context, run string) ([]string, error)

	// Names says that services know each other by name in a network of their
	// own. Without it only {host:NAME} and {port:NAME} lead to them.
	Names bool

	// Limits says that the runtime can enforce memory limits here.
	Limits bool

	// Pod says that a stack is a Pod of Kubernetes, which can have no ulimits and no
	// number of processes of its own: that is refused, and otherwise left out.
	Pod bool
}

// App is the test application as a scenario would name it.
func App() scenarios.App {
	_, file, _, _ := runtime.Caller(0)
	return scenarios.App{
		Build: &scenarios.Build{Context: filepath.Join(filepath.Dir(file), "testdata", "app")},
		WSGI:  "wsgi:app",
		ASGI:  "asgi:app",
		Port:  8000,
		Ready: ready.Probe{Path: "/healthz", Timeout: time.Minute},
	}
}

// Topologies of the suite.
var (
	Flask    = scenarios.Topology{Name: "flask", Server: "flask"}
	Gunicorn = scenarios.Topology{Name: "gunicorn-w2-t3", Server: "gunicorn", Workers: 2, Threads: 3}
	Socket   = scenarios.Topology{Name: "nginx+gunicorn-w1-t2-unix", Server: "gunicorn", Workers: 1, Threads: 2, Proxy: "nginx", Unix: true}
	Nginx    = scenarios.Topology{Name: "nginx+gunicorn-w1-t2", Server: "gunicorn", Workers: 1, Threads: 2, Proxy: "nginx"}
)

// Plan is a plan around the test application, without trials.
func Plan() scenarios.Plan {
	return scenarios.Plan{App: App(), Request: wire.Request{Method: "GET", Path: "/", Timeout: 10 * time.Second}}
}

// Spec is the spec of a topology of the test application. change, when not
// nil, alters the plan first.
func Spec(t *testing.T, run string, topology scenarios.Topology, change func(*scenarios.Plan)) stacks.Spec {
	t.Helper()
	plan := Plan()
	if change != nil {
		change(&plan)
	}
	spec, err := servers.Expand(run, plan, topology)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// Run runs the suite.
func Run(t *testing.T, bench Bench) {
	s := &suite{Bench: bench}
	cases := []struct {
		name  string
		owned bool // only where the servers are the runtime's
		test  func(*testing.T)
	}{
		{"every server answers and is what was asked for", false, s.servers},
		{"every kind of probe finds out when it is ready", true, s.probes},
		{"a custom command runs", true, s.command},
		{"services reach each other", true, s.services},
		{"every proxy passes requests on", true, s.proxies},
		{"replicas are ready, measured and missed one by one", true, s.replicas},
		{"a stack that is not what was asked for is refused", true, s.differs},
		{"a command that is not there leaves nothing behind", true, s.noCommand},
		{"a service that ends while starting is noticed at once", true, s.diesStarting},
		{"never ready carries the last answer", false, s.neverReady},
		{"a service that listens elsewhere is told so", true, s.elsewhere},
		{"a service that dies is noticed", true, s.dies},
		{"a service that is killed is not taken for one that was disturbed", true, s.killed},
		{"a service has the limits and the entry point that it asks for", true, s.options},
		{"a service has no more processes and no longer files than it may, or is refused", true, s.limits},
		{"logs are the tail of each service's output", true, s.logs},
		{"the log of a service that ends at once is whole, and the first to end is last", true, s.quick},
		{"memory and CPU are metered", true, s.meter},
		{"exec answers and fails", true, s.exec},
		{"stop removes everything and may be called again", false, s.stop},
		{"start under a cancelled context leaves nothing behind", false, s.cancelled},
		{"sweep removes one run's stacks and nothing else", true, s.sweep},
	}
	for _, c := range cases {
		if bench.Leftovers != nil || !c.owned {
			t.Run(c.name, c.test)
		}
	}
	if bench.Limits {
		t.Run("an out-of-memory kill is counted", s.oom)
	}
}

type suite struct{ Bench }

// left lists what exists of a run.
func (s *suite) left(ctx context.Context, run string) ([]string, error) {
	if s.Leftovers == nil {
		return nil, nil
	}
	return s.Leftovers(ctx, run)
}

// run is a run id of the test's own, whose leftovers fail the test.
func (s *suite) run(t *testing.T) string {
	t.Helper()
	run := fmt.Sprintf("test-%d", time.Now().UnixNano())
	t.Cleanup(func() {
		ctx := context.Background()
		left, err := s.left(ctx, run)
		if err != nil {
			t.Errorf("list leftovers: %v", err)
		}
		if len(left) > 0 {
			t.Errorf("left behind: %v", left)
			if _, err := s.Runtime.Sweep(ctx, run); err != nil {
				t.Errorf("sweep: %v", err)
			}
		}
	})
	return run
}

// start starts a stack and waits until it is ready.
func (s *suite) start(t *testing.T, topology scenarios.Topology, change func(*scenarios.Plan)) (stacks.Spec, stacks.Stack) {
	t.Helper()
	spec, stack := s.launch(t, topology, change)
	if err := stacks.WaitReady(t.Context(), spec, stack); err != nil {
		var logs bytes.Buffer
		_ = stack.Logs(t.Context(), &logs)
		t.Fatalf("%v\n%s", err, &logs)
	}
	return spec, stack
}

// launch starts a stack, which may not become ready.
func (s *suite) launch(t *testing.T, topology scenarios.Topology, change func(*scenarios.Plan)) (stacks.Spec, stacks.Stack) {
	t.Helper()
	spec := Spec(t, s.run(t), topology, change)
	s.prepare(t, spec)
	stack, err := s.Runtime.Start(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return spec, stack
}

func (s *suite) prepare(t *testing.T, spec stacks.Spec) {
	t.Helper()
	if err := s.Runtime.Prepare(t.Context(), spec, func(line string) { t.Log(line) }); err != nil {
		t.Fatal(err)
	}
}

// visitor is the suite's own client. It keeps no connection to a stack that is
// gone.
var visitor = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// get asks the stack and returns the answer's body.
func get(t *testing.T, stack stacks.Stack, path string) string {
	t.Helper()
	resp, err := visitor.Get(stack.URL() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %s", path, resp.Status, body)
	}
	return string(body)
}

func (s *suite) servers(t *testing.T) {
	topologies := []scenarios.Topology{Nginx}
	for _, server := range servers.Known().Servers {
		for i, class := range server.Classes {
			topology := scenarios.Topology{Name: strings.TrimSuffix(server.Name+"-"+class.Name, "-"), Server: server.Name, Class: class.Name}
			topology.Workers, topology.Threads, topology.Concurrency = min(2, 2*class.Workers), min(3, 3*class.Threads), min(50, 50*class.Concurrency)
			topologies = append(topologies, topology)
			if i == 0 && server.Unix {
				topology.Name, topology.Proxy, topology.Unix = "nginx+"+topology.Name+"-unix", Nginx.Proxy, true
				topologies = append(topologies, topology)
			}
		}
	}
	if s.Leftovers == nil {
		topologies = []scenarios.Topology{Flask} // nothing of it has to be read back
	}
	for _, topology := range topologies {
		t.Run(topology.Name, func(t *testing.T) {
			spec, stack := s.start(t, topology, nil)
			body := strings.Repeat("stackmeter", 20<<10)
			resp, err := visitor.Post(stack.URL()+"/predict", "application/octet-stream", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var answer struct{ Length int }
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Length != len(body) {
				t.Errorf("posted %d bytes, the app saw %d (%v)", len(body), answer.Length, err)
			}
			found, err := servers.Verify(t.Context(), spec, stack)
			if err != nil {
				t.Fatal(err)
			}
			if w := topology.Workers; w > 0 && (found.Workers == nil || *found.Workers != w) {
				t.Errorf("workers: %v; want %d", found.Workers, w)
			}
			if n := topology.Threads; n > 0 && (found.Threads == nil || *found.Threads != n) {
				t.Errorf("threads: %v; want %d", found.Threads, n)
			}
			if n := topology.Concurrency; n > 0 && (found.Concurrency == nil || *found.Concurrency != n) {
				t.Errorf("concurrency: %v; want %d", found.Concurrency, n)
			}
			if s.Leftovers != nil && (found.Unread != "" || len(found.InForce) > 0) {
				t.Errorf("not read: %q; in force: %q", found.Unread, found.InForce)
			}
			if (found.Proxy != "") != (topology.Proxy != "") {
				t.Errorf("configuration of the proxy %q read back: %q", topology.Proxy, found.Proxy)
			}
			if topology.Proxy != "" {
				crowd(t, stack, 100)
			}
			if err := stack.Check(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func (s *suite) probes(t *testing.T) {
	const asks = "import sys, urllib.request; urllib.request.urlopen(f'http://{sys.argv[1]}/healthz', timeout=5)"
	escaped := strings.NewReplacer("{", "{{", "}", "}}").Replace(asks)
	for name, probe := range map[string]ready.Probe{
		"request": {Path: "/v2/health", Method: "POST", Headers: map[string]string{"Authorization": "Bearer ${API_TOKEN}"}, Status: []string{"204"}, JSON: []byte(`{"deep": true}`)},
		"tcp":     {TCP: true},
		"command": {Command: []string{"python3", "-c", escaped, "{host}:{port}"}},
	} {
		for _, topology := range []scenarios.Topology{Gunicorn, Nginx} {
			t.Run(name+" of "+topology.Name, func(t *testing.T) {
				_, stack := s.start(t, topology, func(p *scenarios.Plan) {
					probe.Timeout = time.Minute
					p.App.Ready = probe
					p.App.Env = map[string]string{"STARTUP_DELAY": "1", "API_TOKEN": "token-4711"}
				})
				get(t, stack, "/")
				if printed := logs(t, stack); strings.Contains(printed, "/v2/health") {
					t.Errorf("the probes are in the log:\n%s", printed)
				}
			})
		}
	}
	for name, c := range map[string]struct {
		command []string
		want    string
	}{
		"fails":          {[]string{"python3", "-c", "raise SystemExit('the model is missing')"}, "app.ready.command: python3 in service app exited with status 1: the model is missing"},
		"does not end":   {[]string{"sleep", "60"}, "not ready after 2s"},
		"does not exist": {[]string{"no-such-probe"}, "no-such-probe"},
	} {
		t.Run("a command that "+name, func(t *testing.T) {
			change := func(p *scenarios.Plan) { p.App.Ready = ready.Probe{Command: c.command, Timeout: 2 * time.Second} }
			spec := Spec(t, s.run(t), Flask, change)
			err := s.Runtime.Prepare(t.Context(), spec, func(string) {})
			if err == nil {
				_, stack := s.launch(t, Flask, change)
				err = stacks.WaitReady(t.Context(), spec, stack)
				if name == "does not end" {
					s.until(t, "it still runs", func() bool {
						found, err := stack.Inspect(t.Context())
						return err == nil && !slices.ContainsFunc(found.Services[0].Processes, func(p stacks.Process) bool { return strings.HasSuffix(p.Command, "sleep 60") })
					})
				}
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func (s *suite) command(t *testing.T) {
	topology := scenarios.Topology{Name: "own", Server: scenarios.ServerCommand,
		Command: []string{"python3", "-m", "flask", "--app", "wsgi:app", "run", "--host", "{host}", "--port", "{port}"}}
	_, stack := s.start(t, topology, nil)
	get(t, stack, "/")
}

// reach asks the server whose URL is the argument.
const reach = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=20)"

func (s *suite) services(t *testing.T) {
	topology := scenarios.Topology{Name: "pair", Server: scenarios.ServerServices, Proxy: "nginx", Services: []scenarios.Service{
		{Name: "back", Command: []string{"flask", "--app", "wsgi:app", "run", "--host", "{host}", "--port", "{port}"}, Port: 8000},
		{Name: "front", Command: []string{"gunicorn", "--bind", "{host}:{port}", "--env", "BACK=http://{host:back}:{port:back}/", "wsgi:app"}, Port: 8001},
	}}
	spec, stack := s.start(t, topology, nil)
	if entry := spec.Entry().Name; entry != "nginx" {
		t.Errorf("the entry is %s", entry)
	}
	get(t, stack, "/")
	back := get(t, stack, "/environment?name=BACK")
	addresses := []string{back}
	if s.Names {
		addresses = append(addresses, "http://back:8000/")
	}
	for _, address := range addresses {
		// The stack is ready when the last service answers. This one may take longer.
		s.until(t, address+" cannot be reached from the other service", func() bool {
			_, err := stack.Exec(t.Context(), "front", "python3", "-c", reach, address)
			return err == nil
		})
	}
}

// eventually asks until there is an error and returns it.
func (s *suite) eventually(t *testing.T, ask func() error) (err error) {
	t.Helper()
	s.until(t, "nothing was noticed", func() bool {
		err = ask()
		return err != nil
	})
	return err
}

// until asks until the answer is yes.
func (s *suite) until(t *testing.T, otherwise string, ask func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-ctx.Done():
			t.Fatal(otherwise)
		case <-tick.C:
		}
	}
}

func (s *suite) logs(t *testing.T) {
	_, stack := s.start(t, Nginx, nil)
	get(t, stack, "/")
	if printed := logs(t, stack); !strings.Contains(printed, "app | ") || !strings.Contains(printed, "gunicorn") {
		t.Errorf("logs: %s", printed)
	}
}

// logs are a stack's.
func logs(t *testing.T, stack stacks.Stack) string {
	t.Helper()
	var text strings.Builder
	if err := stack.Logs(t.Context(), &text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func (s *suite) quick(t *testing.T) {
	dies := []string{"sh", "-c", "echo GET /x stackmeter-probe; echo '\"GET /healthz HTTP/1.1\" 503 {port}'; echo IMPORTANT-REASON; exit 3"}
	for _, topology := range []scenarios.Topology{
		{Name: "alone", Server: scenarios.ServerCommand, Command: dies},
		{Name: "nginx", Server: scenarios.ServerCommand, Command: dies, Proxy: "nginx"},
		{Name: "pair", Server: scenarios.ServerServices, Services: []scenarios.Service{
			{Name: "app", Command: dies, Port: 8000},
			{Name: "front", Command: []string{"sh", "-c", "sleep 0.3; echo GONE {port}; exit 4"}, Port: 8001},
		}},
	} {
		for range 3 {
			spec := Spec(t, s.run(t), topology, nil)
			s.prepare(t, spec)
			var printed string
			stack, err := s.Runtime.Start(t.Context(), spec)
			if failed := (*stacks.StartError)(nil); errors.As(err, &failed) {
				printed = failed.Log
			} else if err == nil {
				if topology.Name == "pair" {
					s.until(t, "it does not end", func() bool { return strings.Contains(logs(t, stack), "GONE") })
				}
				err = stacks.WaitReady(t.Context(), spec, stack)
				printed = logs(t, stack)
				if err := stack.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			}
			if err == nil || !strings.Contains(err.Error(), "exited with status 3") {
				t.Errorf("%s: %v", topology.Name, err)
			}
			if !strings.HasSuffix(printed, "app | IMPORTANT-REASON\n") || strings.Contains(printed, "stackmeter-probe") || strings.Contains(printed, "/healthz") {
				t.Errorf("%s: the log is %q", topology.Name, printed)
			}
		}
	}
}

func (s *suite) exec(t *testing.T) {
	_, stack := s.start(t, Flask, nil)
	out, err := stack.Exec(t.Context(), stacks.AppService, "echo", "two  words; $HOME")
	if err != nil || string(out) != "two  words; $HOME\n" {
		t.Errorf("exec: %q, %v", out, err)
	}
	out, err = stack.Exec(t.Context(), stacks.AppService, "cat", "/no/such/file")
	if err == nil || !strings.Contains(err.Error(), "No such file") {
		t.Errorf("exec of what fails: %q, %v", out, err)
	}
	out, err = stack.Exec(t.Context(), stacks.AppService, "head", "--bytes", fmt.Sprint(2*stacks.MaxOutput), "/dev/zero")
	if !errors.Is(err, stacks.ErrOutput) || len(out) != stacks.MaxOutput {
		t.Errorf("exec of what writes too much: %d bytes, %v", len(out), err)
	}
	if _, err := stack.Exec(t.Context(), "nobody", "true"); err == nil {
		t.Error("exec in a service that is not there")
	}
}

func (s *suite) stop(t *testing.T) {
	spec, stack := s.start(t, Nginx, nil)
	if left, err := s.left(t.Context(), spec.Run); err != nil || len(left) == 0 && s.Leftovers != nil {
		t.Fatalf("nothing of a running stack is listed: %v, %v", left, err)
	}
	for range 2 {
		if err := stack.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left, err := s.left(t.Context(), spec.Run); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
	if err := stack.Check(t.Context()); err == nil {
		t.Error("a stopped stack is said to run")
	}
}

func (s *suite) cancelled(t *testing.T) {
	spec := Spec(t, s.run(t), Socket, nil)
	s.prepare(t, spec)
	// At several moments: before the start, and while it is under way.
	for _, after := range []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond} {
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(after, cancel)
		if after == 0 {
			cancel()
		}
		stack, err := s.Runtime.Start(ctx, spec)
		if err == nil {
			if err := stack.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled after %v: %v", after, err)
		}
		timer.Stop()
		cancel()
		if left, err := s.left(t.Context(), spec.Run); err != nil || len(left) > 0 {
			t.Errorf("cancelled after %v, left behind: %v, %v", after, left, err)
		}
	}
}

func (s *suite) sweep(t *testing.T) {
	mine, doomed := s.run(t), s.run(t)
	var running []stacks.Stack
	for _, run := range []string{mine, doomed} {
		spec := Spec(t, run, Flask, nil)
		s.prepare(t, spec)
		stack, err := s.Runtime.Start(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stack.Stop(context.Background()) })
		running = append(running, stack)
	}
	// The owner of both is this test, which is alive.
	if _, err := s.Runtime.Sweep(t.Context(), ""); err != nil {
		t.Error(err)
	}
	for _, stack := range running {
		if err := stack.Check(t.Context()); err != nil {
			t.Errorf("sweeping dead runs removed a live one: %v", err)
		}
	}
	removed, err := s.Runtime.Sweep(t.Context(), doomed)
	if err != nil || len(removed) == 0 {
		t.Errorf("sweep: %v, %v", removed, err)
	}
	if left, err := s.left(t.Context(), doomed); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := running[0].Check(t.Context()); err != nil {
		t.Errorf("the other run's stack: %v", err)
	}
	if err := running[0].Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// NoFixedPorts starts stacks of the same topology at the same time while usual
// ports are taken on this machine. Each stack answers, at an address of its own.
func NoFixedPorts(t *testing.T, bench Bench) {
	for _, address := range []string{"127.0.0.1:8000", "127.0.0.1:8080", "127.0.0.1:80"} {
		taken, err := net.Listen("tcp", address)
		if err == nil {
			defer taken.Close()
		} else if !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
			t.Fatal(err)
		}
	}
	s := &suite{bench}
	urls := map[string]bool{}
	var running []stacks.Stack
	for range 3 {
		_, stack := s.start(t, Nginx, nil) // it stays until the test ends
		running = append(running, stack)
		urls[stack.URL()] = true
	}
	for _, stack := range running {
		get(t, stack, "/")
	}
	if len(urls) != len(running) {
		t.Errorf("%d stacks at %v", len(running), urls)
	}
}
