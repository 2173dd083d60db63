package orchestrator_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/stacks"
	"stackmeter/stacks/docker"
)

// A proxy is a socket in front of the real engine that swallows chosen calls:
// they are passed on or not, and never answered.
type proxy struct {
	host  string                        // for DOCKER_HOST
	stuck atomic.Pointer[regexp.Regexp] // "METHOD /path" of the calls that are not answered; nil: none
	times int64                         // how many of them are swallowed
	met   atomic.Int64                  // so far
}

// startProxy listens until the test ends.
func startProxy(t *testing.T) *proxy {
	t.Helper()
	engine := "/var/run/docker.sock"
	if host := os.Getenv("DOCKER_HOST"); host != "" {
		u, err := url.Parse(host)
		if err != nil || u.Scheme != "unix" {
			t.Skipf("needs an engine behind a socket of this machine, not %s", host)
		}
		engine = u.Path
	}
	// A socket's path is limited to 108 bytes, which t.TempDir can exceed.
	dir, err := os.MkdirTemp("", "stackmeter-proxy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "docker.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{host: "unix://" + socket}
	var open sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		listener.Close()
		open.Wait()
	})
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { p.serve(ctx, conn, engine) })
		}
	})
	return p
}

// serve passes one connection's calls on, one after the other, until it meets
// one that is not to be answered, or one that becomes a stream.
func (p *proxy) serve(ctx context.Context, conn net.Conn, engine string) {
	defer conn.Close()
	behind, err := net.Dial("unix", engine)
	if err != nil {
		return
	}
	defer behind.Close()
	defer context.AfterFunc(ctx, func() { conn.Close(); behind.Close() })()
	calls := bufio.NewReader(conn)
	answers := bufio.NewReader(behind)
	for {
		req, err := http.ReadRequest(calls)
		if err != nil {
			return
		}
		if p.swallows(req) {
			_, _ = io.Copy(io.Discard, conn) // until the client gives up
			return
		}
		if err := req.Write(behind); err != nil {
			return
		}
		resp, err := http.ReadResponse(answers, req)
		if err != nil {
			return
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			var head bytes.Buffer
			_ = resp.Write(&head)
			_, _ = conn.Write(head.Bytes())
			go func() { _, _ = io.Copy(behind, calls) }()
			_, _ = io.Copy(conn, answers)
			return
		}
		err = resp.Write(flushed{conn})
		resp.Body.Close()
		if err != nil {
			return
		}
	}
}

// flushed is a connection without the methods by which a response's body
// would be collected before it is written.
type flushed struct{ io.Writer }

func (p *proxy) swallows(req *http.Request) bool {
	stuck := p.stuck.Load()
	if stuck == nil || !stuck.MatchString(req.Method+" "+req.URL.Path) {
		return false
	}
	return p.met.Add(1) <= p.times
}

// hangs makes so many of the matching calls hang from now on.
func (p *proxy) hangs(calls string, times int64) {
	p.times = times
	p.stuck.Store(regexp.MustCompile(calls))
}

// newHangBench is a bench whose engine answers through a proxy, and has less
// time to.
func newHangBench(t *testing.T) (*bench, *proxy) {
	b := newBench(t)
	p := startProxy(t)
	t.Setenv("DOCKER_HOST", p.host)
	engine, err := docker.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	engine.Limits = docker.Limits{Call: 3 * time.Second, Start: 6 * time.Second}
	b.Runtime, b.EngineWait = engine, 10*time.Second
	return b, p
}

const hangScenario = `
request: {path: /}
warmup: 1
order: listed
topologies: ["nginx + gunicorn w1/t1 @unix"]
matrix: {requests: [3], client: [single]}
`

// TestFault06EngineHangs has the engine not answer a call any more: once, so
// that what it was for is done again, or for ever, which ends the run with the
// call's name.
func TestFault06EngineHangs(t *testing.T) {
	const once, forever = 1, 1 << 30
	tests := []struct {
		name  string
		calls string // that hang
		times int64
		from  string // the event after which they do; empty: from the beginning
		said  string // of the call, where the run fails
	}{
		{"create the network", "POST .*/networks/create", once, "", ""},
		{"create the volume", "POST .*/volumes/create", once, "", ""},
		{"create a container, always", "POST .*/containers/create", forever, "", "POST /containers/create"},
		{"start a container", "POST .*/containers/[0-9a-f]+/start", once, "", ""},
		{"listen to it", "GET .*/events", once, "", ""},
		{"read back a proxy, a stream, always", "POST .*/exec/.*/start", forever, "", "POST /exec/"},
		{"look at a container within a cell", "GET .*/containers/.*/json", once, orchestrator.EventCell, ""},
		{"remove a container", "DELETE .*/containers/", once, "", ""},
		{"list what is left, always", "GET .*/networks$", forever, orchestrator.EventResult, "GET /networks"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, p := newHangBench(t)
			if test.from == "" {
				p.hangs(test.calls, test.times)
			}
			b.onEvent = func(e orchestrator.Event) {
				if test.from != "" && e.Kind == test.from && p.stuck.Load() == nil {
					p.hangs(test.calls, test.times)
				}
			}
			records, err := b.execute(t.Context(), b.plan(hangScenario))
			if p.met.Load() == 0 {
				t.Fatal("the call was never made")
			}
			r := records["nginx+gunicorn-w1-t1-unix/single/n3"]
			if test.times == once {
				if err != nil || r.Status != results.StatusOK {
					t.Errorf("after one call that hung: %v; %s %s", err, r.Status, r.Reason)
				}
				return
			}
			if !errors.Is(err, stacks.ErrLost) || !strings.Contains(err.Error(), "did not answer "+test.said) {
				t.Errorf("the run's error does not say which call was not answered: %v", err)
			}
			if measured := test.from == orchestrator.EventResult; measured != (r.Status == results.StatusOK) || measured != (r.Duration != nil) {
				t.Errorf("the cell: %s, duration %v", r.Status, r.Duration)
			}
			if test.from == orchestrator.EventResult {
				// It could not be removed, and was named; stackmeter clean does what this does.
				if _, err := b.engine.Sweep(t.Context(), b.run); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestFault04MakingHangs cancels a run when the engine does not come to an end
// with a container that it makes. What there is of the stack already is removed
// in time, or named.
func TestFault04MakingHangs(t *testing.T) {
	b, p := newHangBench(t)
	b.Runtime.(*docker.Runtime).Limits = docker.Limits{} // too long to help
	terminated := errors.New("terminated by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	at := make(chan time.Time, 1)
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind != orchestrator.EventStart {
			return
		}
		p.hangs("POST .*/containers/create", 1<<30)
		go func() {
			for p.met.Load() == 0 && ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			at <- time.Now()
			cancel(terminated)
		}()
	}
	_, err := b.execute(ctx, b.plan(hangScenario))
	cancel(nil)
	if took := time.Since(<-at); took > 10*time.Second || !errors.Is(err, terminated) {
		t.Errorf("after %v: %v", took, err)
	}
	removed, failed := b.engine.Sweep(t.Context(), b.run)
	if failed != nil {
		t.Error(failed)
	}
	for _, name := range removed {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s was left behind and is not named: %v", name, err)
		}
	}
}

// TestFault04RemovalHangs cancels a run while its stack is being removed, by an
// engine that does none of it. What could not be removed is named in time for
// whoever cancels a job, and kills it after ten seconds.
func TestFault04RemovalHangs(t *testing.T) {
	b, p := newHangBench(t)
	b.Runtime.(*docker.Runtime).Limits = docker.Limits{} // too long to help
	terminated := errors.New("terminated by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	var at time.Time
	b.onEvent = func(e orchestrator.Event) {
		switch e.Kind {
		case orchestrator.EventResult:
			p.hangs("(POST|DELETE) ", 1<<30)
		case orchestrator.EventStop:
			at = time.Now()
			cancel(terminated)
		}
	}
	records, err := b.execute(ctx, b.plan(hangScenario))
	if took := time.Since(at); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	if p.met.Load() == 0 || !errors.Is(err, terminated) || len(records) != 1 {
		t.Errorf("%d calls hung; %v; records %+v", p.met.Load(), err, records)
	}
	removed, failed := b.engine.Sweep(t.Context(), b.run)
	if failed != nil || len(removed) != 4 {
		t.Errorf("left behind were %v, %v; want two containers, a network and a volume", removed, failed)
	}
	for _, name := range removed {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named: %v", name, err)
		}
	}
}
