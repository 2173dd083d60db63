package stacks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stackmeter/scenarios/ready"
)

// urlStack is a stack that runs at a URL.
type urlStack struct {
	Stack
	url string
}

func (s urlStack) URL() string                 { return s.url }
func (s urlStack) Check(context.Context) error { return nil }

// answering is the URL of a server that answers every request with a status.
func answering(t *testing.T, status int) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// TestThreat8RedirectedProbe: an app that redirects its probe is not ready, and
// the server that it points to is not asked.
func TestThreat8RedirectedProbe(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusForbidden} {
		var asked atomic.Int64
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			w.WriteHeader(status)
			w.Write([]byte("of the operator's network"))
		}))
		defer other.Close()
		ctx, enough := context.WithCancel(t.Context())
		var probes atomic.Int64
		app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if probes.Add(1) == 2 {
				enough()
			}
			http.Redirect(w, req, other.URL+"/private", http.StatusFound)
		}))
		defer app.Close()
		var spec Spec
		spec.Ready.Path, spec.Ready.Timeout = "/healthz", time.Minute
		err := WaitReady(ctx, spec, urlStack{placed{}, app.URL})
		enough()
		if err == nil || !strings.Contains(err.Error(), "302 Found") || !strings.Contains(err.Error(), "a redirect is not followed") {
			t.Errorf("%v, want an error that tells of the redirect", err)
		}
		if err != nil && strings.Contains(err.Error(), "of the operator's network") {
			t.Errorf("the error has the other server's answer: %v", err)
		}
		if n := asked.Load(); n > 0 {
			t.Errorf("the other server was asked %d times", n)
		}
	}
}

// TestReadyRequest: the probe is the request that the scenario describes, and what is
// accepted is what it says.
func TestReadyRequest(t *testing.T) {
	headers := map[string]string{"authorization": "Bearer x", "host": "app.internal"}
	for name, test := range map[string]struct {
		probe  ready.Probe
		answer int
		sent   string
		failed string
	}{
		"a plain one":        {ready.Probe{Path: "/h"}, 204, "GET /h ADDRESS   stackmeter-probe ", ""},
		"JSON":               {ready.Probe{Path: "/h", Method: "POST", Headers: headers, JSON: []byte(`{"a":1}`)}, 200, `POST /h app.internal Bearer x application/json stackmeter-probe {"a":1}`, ""},
		"text":               {ready.Probe{Path: "/h", Method: "PUT", Headers: headers, Body: "a"}, 200, "PUT /h app.internal Bearer x text/plain; charset=utf-8 stackmeter-probe a", ""},
		"another type":       {ready.Probe{Path: "/h", Method: "PUT", Headers: map[string]string{"Content-Type": "a/b", "Host": "h"}, Body: "a"}, 200, "PUT /h h  a/b stackmeter-probe a", ""},
		"an accepted one":    {ready.Probe{Path: "/h", Headers: headers, Status: []string{"404"}}, 404, "GET /h app.internal Bearer x  stackmeter-probe ", ""},
		"one that is not":    {ready.Probe{Path: "/h", Headers: headers, Status: []string{"204"}}, 200, "GET /h app.internal Bearer x  stackmeter-probe ", "answered 200 OK"},
		"one that will stay": {ready.Probe{Path: "/h", Headers: headers, Status: []string{"204", "3xx"}}, 401, "GET /h app.internal Bearer x  stackmeter-probe ", "has to be answered with 204 or 3xx"},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			var one sync.Mutex
			app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				body, _ := io.ReadAll(req.Body)
				one.Lock()
				defer one.Unlock()
				got = strings.Join([]string{req.Method, req.URL.Path, req.Host, req.Header.Get("Authorization"), req.Header.Get("Content-Type"), req.UserAgent(), string(body)}, " ")
				w.WriteHeader(test.answer)
			}))
			test.probe.Timeout = 300 * time.Millisecond
			if test.failed == "" {
				test.probe.Timeout = time.Minute
			}
			err := WaitReady(t.Context(), Spec{Ready: test.probe, Services: []Service{{Name: "app"}}}, urlStack{placed{}, app.URL})
			app.Close() // waits for a probe that its time-out has ended
			sent := strings.Replace(test.sent, "ADDRESS", app.Listener.Addr().String(), 1)
			if got != sent || (err == nil) != (test.failed == "") || err != nil && !strings.Contains(err.Error(), test.failed) {
				t.Errorf("sent %q, want %q; %v", got, sent, err)
			}
			if errors.Is(err, ErrReadyPath) != (test.answer == 401) {
				t.Errorf("%v: whether waiting helps", err)
			}
		})
	}
}

// behind is a stack whose app listens from the third look on.
type behind struct {
	urlStack
	looks *atomic.Int64
}

func (s behind) Listening(context.Context, string) (asked netip.AddrPort, listens []netip.AddrPort, err error) {
	asked = netip.MustParseAddrPort("10.0.0.2:8000")
	if s.looks.Add(1) > 2 {
		listens = append(listens, asked)
	}
	return asked, listens, nil
}

// TestReadyTCP: a connection to a proxy says nothing of the app behind it.
func TestReadyTCP(t *testing.T) {
	spec := Spec{Ready: ready.Probe{TCP: true, Timeout: time.Minute}, Services: []Service{{Name: "app"}, {Name: "nginx", Proxy: &Proxy{Upstreams: []string{"app"}}}}}
	stack := behind{urlStack{nil, answering(t, 500)}, new(atomic.Int64)}
	if err := WaitReady(t.Context(), spec, stack); err != nil || stack.looks.Load() < 3 {
		t.Errorf("ready at look %d: %v", stack.looks.Load(), err)
	}
	spec.Ready.Timeout = 100 * time.Millisecond
	stack = behind{urlStack{nil, "http://127.0.0.1:1"}, new(atomic.Int64)}
	if err := WaitReady(t.Context(), spec, stack); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody listens: %v", err)
	}
}

// TestProbedRequest: lines about a probe are told by what it asks.
func TestProbedRequest(t *testing.T) {
	spec := Spec{Path: "/predict", Ready: ready.Probe{Path: "/v2/health", Method: "POST"}}
	for line, want := range map[string]bool{
		`"POST /v2/health HTTP/1.1" 204`: true,
		`"GET /v2/health HTTP/1.1" 405`:  false,
		`"POST /predict HTTP/1.1" 200`:   false,
		"stackmeter-probe":               true,
	} {
		if spec.Probed(line) != want {
			t.Errorf("%s: %v", line, !want)
		}
	}
	spec.Ready = ready.Probe{TCP: true}
	if spec.Probed(`"GET / HTTP/1.1" 200`) || spec.Probed(`GET  HTTP/1.1`) {
		t.Error("a connection has no line")
	}
}

// failing is a stack whose service has ended, with a log.
type failing struct {
	urlStack
	log string
}

func (s failing) Check(context.Context) error { return fmt.Errorf("service app %w", ErrEnded) }
func (s failing) Logs(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, s.log)
	return err
}

// TestGivenUpProbe: a probe that is given up because a service ended does not say it again.
func TestGivenUpProbe(t *testing.T) {
	asked := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-asked }))
	defer app.Close()
	defer close(asked)
	var spec Spec
	spec.Ready.Path, spec.Ready.Timeout = "/healthz", time.Minute
	err := WaitReady(t.Context(), spec, failing{urlStack{placed{}, app.URL}, ""})
	if !errors.Is(err, ErrEnded) || strings.Count(err.Error(), ErrEnded.Error()) != 1 {
		t.Errorf("%v", err)
	}
}

// TestMissingModule: where the log shows that a service lacks what its command needs, the
// error says how to get it.
func TestMissingModule(t *testing.T) {
	spec := Spec{Services: []Service{{Name: "app", Needs: []Need{{Name: "uvicorn", Module: true, Sign: "No module named 'uvicorn'", Debian: "python3-uvicorn"}}}}}
	for log, said := range map[string]bool{"app | ModuleNotFoundError: No module named 'uvicorn'": true, "app | No module named 'torch'": false} {
		err := WaitReady(t.Context(), spec, failing{urlStack{placed{}, ""}, log})
		if !errors.Is(err, ErrEnded) || strings.Contains(err.Error(), "uvicorn is missing: apt-get install python3-uvicorn") != said {
			t.Errorf("%s: %v", log, err)
		}
	}
}
