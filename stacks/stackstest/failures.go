package stackstest

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"stackmeter/scenarios"
	"stackmeter/scenarios/ready"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

// Stacks that cannot start, never answer or end are told as what they are.

func (s *suite) differs(t *testing.T) {
	// What answers has three workers; what was asked for has two.
	asked := Gunicorn
	spec, stack := s.start(t, scenarios.Topology{Name: asked.Name, Server: asked.Server, Workers: 3, Threads: 3}, nil)
	if _, err := servers.Verify(t.Context(), spec, stack); err != nil {
		t.Fatal(err)
	}
	spec.Topology = asked
	if _, err := servers.Verify(t.Context(), spec, stack); !errors.Is(err, stacks.ErrDiffers) {
		t.Errorf("three workers instead of two: %v", err)
	}
	spec.Topology = scenarios.Topology{Name: asked.Name, Server: asked.Server, Workers: 3, Threads: 4}
	if _, err := servers.Verify(t.Context(), spec, stack); !errors.Is(err, stacks.ErrDiffers) {
		t.Errorf("three threads instead of four: %v", err)
	}
}

func (s *suite) noCommand(t *testing.T) {
	spec := Spec(t, s.run(t), scenarios.Topology{Name: "absent", Server: scenarios.ServerCommand, Command: []string{"no-such-server"}}, nil)
	// A runtime that can look knows before it starts anything.
	err := s.Runtime.Prepare(t.Context(), spec, func(line string) { t.Log(line) })
	if err == nil {
		var stack stacks.Stack
		if stack, err = s.Runtime.Start(t.Context(), spec); err == nil {
			defer stack.Stop(context.Background())
			err = stacks.WaitReady(t.Context(), spec, stack)
		}
	}
	if err == nil || !strings.Contains(err.Error(), "no-such-server") {
		t.Errorf("a command that is not there: %v", err)
	}
}

func (s *suite) diesStarting(t *testing.T) {
	spec, stack := s.launch(t, Flask, func(p *scenarios.Plan) {
		p.App.Env = map[string]string{"FAIL_START": "the model is missing"}
		p.App.Ready.Timeout = time.Hour
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := stacks.WaitReady(ctx, spec, stack)
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "exited with status") {
		t.Errorf("a service that ended: %v", err)
	}
	var logs bytes.Buffer
	if err := stack.Logs(t.Context(), &logs); err != nil || !strings.Contains(logs.String(), "the model is missing") {
		t.Errorf("logs of a service that ended (%v): %s", err, &logs)
	}
}

func (s *suite) neverReady(t *testing.T) {
	spec, stack := s.launch(t, Flask, func(p *scenarios.Plan) {
		p.App.Env = map[string]string{"NEVER_READY": "1"}
		p.App.Ready.Timeout = 3 * time.Second
	})
	// A busy machine may need longer than that to start it.
	s.until(t, "it does not answer", func() bool {
		resp, err := visitor.Get(stack.URL() + "/healthz")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusServiceUnavailable
	})
	err := stacks.WaitReady(t.Context(), spec, stack)
	if err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "not ready after 3s") {
		t.Errorf("never ready: %v", err)
	}
	if s.Leftovers == nil {
		return
	}
	// By now there are more probes than lines of a log.
	if printed := logs(t, stack); strings.Contains(printed, "/healthz") || !strings.Contains(printed, "Serving Flask app") {
		t.Errorf("the probes are in the log, or they have pushed out the rest:\n%s", printed)
	}
}

// listen is a server at an address and a port, for IPv6 alone if the address is.
const listen = `import http.server, socket, sys
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.bind(self.server_address)
Server((sys.argv[1], int(sys.argv[2])), http.server.SimpleHTTPRequestHandler).serve_forever()
`

func (s *suite) elsewhere(t *testing.T) {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for _, c := range []struct {
		name, host, port, where, proxy string
		probe                          ready.Probe
	}{
		{"port", "{host}", "0", "and not on", "", ready.Default()},
		{"nginx+port", "{host}", "0", "and not on", "nginx", ready.Default()},
		{"six", "::", "{port}", "[::]:", "", ready.Default()},
		{"nginx+six", "::", "{port}", "[::]:", "nginx", ready.Default()},
		{"loopback", "127.0.0.2", "{port}", "127.0.0.2:", "", ready.Default()},
		{"nginx+loopback", "127.0.0.2", "{port}", "127.0.0.2:", "nginx", ready.Default()},
		{"nginx+connection", "127.0.0.2", "{port}", "127.0.0.2:", "nginx", ready.Probe{TCP: true}},
		{"command", "127.0.0.2", "{port}", "127.0.0.2:", "", ready.Probe{Command: []string{"false"}}},
	} {
		command := []string{"python3", "-c", strings.NewReplacer("{", "{{", "}", "}}").Replace(listen), c.host, c.port, "not on {port}"}
		spec, stack := s.launch(t, scenarios.Topology{Name: c.name, Server: scenarios.ServerCommand, Command: command, Proxy: c.proxy}, func(p *scenarios.Plan) {
			p.App.Ready = c.probe
			p.App.Ready.Timeout = time.Hour
		})
		waiting.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := stacks.WaitReady(ctx, spec, stack); !errors.Is(err, stacks.ErrElsewhere) || !strings.Contains(err.Error(), c.where) {
				t.Errorf("%s: %v", c.name, err)
			}
		})
	}
}

func (s *suite) dies(t *testing.T) {
	_, stack := s.start(t, Flask, nil)
	if err := stack.Check(t.Context()); err != nil {
		t.Fatalf("it runs, but: %v", err)
	}
	if resp, err := visitor.Get(stack.URL() + "/exit?code=7"); err == nil {
		resp.Body.Close()
	}
	err := s.eventually(t, func() error { return stack.Check(t.Context()) })
	if !strings.Contains(err.Error(), "app") || !strings.Contains(err.Error(), "status 7") {
		t.Errorf("it exited with status 7: %v", err)
	}
}

// killed compares a first process that another one kills with one that ends by the
// same signal itself: nobody can tell them apart, and neither is taken for a hand from
// outside.
func (s *suite) killed(t *testing.T) {
	for _, how := range []string{"itself", "another"} {
		t.Run(how, func(t *testing.T) {
			command := []string{"python3", "-c", "import os; os.kill(os.getpid(), 9) # {port}"}
			if how == "another" {
				command = []string{"sleep", "600", "{port}"}
			}
			_, stack := s.launch(t, scenarios.Topology{Name: how, Server: scenarios.ServerCommand, Command: command}, nil)
			if facts, err := stack.Inspect(t.Context()); how == "another" {
				all := facts.Services[0].Processes
				if err != nil || syscall.Kill(all[len(all)-1].PID, syscall.SIGKILL) != nil {
					t.Fatal(err)
				}
			}
			err := s.eventually(t, func() error { return stack.Check(t.Context()) })
			if !errors.Is(err, stacks.ErrEnded) || errors.Is(err, stacks.ErrDisturbed) || !strings.HasSuffix(err.Error(), "exited with status 137, which is signal 9 (killed)") {
				t.Error(err)
			}
		})
	}
}

// greedy starts threads and writes a file without end, and prints how far it came. The
// file has a hole: it takes no room.
const greedy = `import os, tempfile, threading
with tempfile.TemporaryFile(buffering=0) as file:
    for gib in range(63, 66):
        try:
            file.seek((gib << 30) - 1), file.write(b"x")
        except OSError as error:
            print("files up to", gib - 1, "GiB:", error)
            break
threading.stack_size(64 << 10)
forever = threading.Event()
try:
    for n in range(5000):
        threading.Thread(target=forever.wait, daemon=True).start()
except RuntimeError as error:
    print("threads:", n, error)
forever.wait() # {port}
`
