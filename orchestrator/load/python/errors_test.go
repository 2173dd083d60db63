package python

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/wire"
)

func TestErrorKinds(t *testing.T) {
	c := local(t)
	reset := func(conn *net.TCPConn, _ <-chan struct{}) { _ = conn.SetLinger(0) }
	drip := func(conn *net.TCPConn, done <-chan struct{}) {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond): // the server's own pace: well below the time-out
				if _, err := io.WriteString(conn, "X"); err != nil {
					return
				}
			}
		}
	}
	tests := []struct {
		name   string
		answer string
		end    func(*net.TCPConn, <-chan struct{})
		kind   string
		says   string
	}{
		{"closed without an answer", "", nil, load.ErrReset, "closed"},
		{"reset without an answer", "", reset, load.ErrReset, "reset"},
		{"no answer in time", "", hang, load.ErrTimeout, "time-out"},
		{"half an answer in time", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", hang, load.ErrTimeout, "time-out"},
		{"a head that drips", "HTTP/1.1 200 OK\r\nX-Flood: ", drip, load.ErrTimeout, "time-out"},
		{"a body that drips", "HTTP/1.1 200 OK\r\n\r\n", drip, load.ErrTimeout, "time-out"},
		{"too short a body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", nil, load.ErrTruncated, ""},
		{"reset within the body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", reset, load.ErrTruncated, ""},
		{"cut within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf", nil, load.ErrTruncated, ""},
		{"cut between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", nil, load.ErrTruncated, ""},
		{"a wrong chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", nil, load.ErrProtocol, ""},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n", nil, load.ErrProtocol, "SSH-2.0"},
		{"a status that is none", "HTTP/1.1 abc\r\n\r\n", nil, load.ErrProtocol, "abc"},
		{"a body that is no gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf", nil, load.ErrProtocol, ""},
		{"too large a body", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("x", load.MaxBody+1), nil, load.ErrProtocol, fmt.Sprint(load.MaxBody)},
		{"another status", "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", nil, load.ErrStatus, "status 503 instead of 200"},
		{"a redirect", "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", nil, load.ErrStatus, "302"},
	}
	for _, test := range tests {
		for _, spec := range modes(3, false) {
			t.Run(test.name+"/"+spec.Client, func(t *testing.T) {
				t.Parallel()
				request := get("/")
				request.Timeout = 300 * time.Millisecond
				if test.kind != load.ErrTimeout {
					request.Timeout = 20 * time.Second
				}
				r := mustFire(t, c, load.Job{URL: serveRaw(t, test.answer, test.end), Request: request, Load: spec})
				if r.Replies != 0 || r.Errors != 3 || r.ErrorKinds[test.kind] != 3 || r.Latency != nil {
					t.Errorf("%d replies, errors %v: %v; want 3 of kind %s", r.Replies, r.ErrorKinds, r.FirstErrors, test.kind)
				}
				if message := r.FirstErrors[test.kind]; message == "" || !strings.Contains(message, test.says) {
					t.Errorf("message %q does not say %q", message, test.says)
				}
			})
		}
	}
	t.Run("nobody listens", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + listener.Addr().String()
		listener.Close()
		r := mustFire(t, c, load.Job{URL: url, Request: get("/"), Load: modes(3, false)[1]})
		if r.ErrorKinds[load.ErrConnect] != 3 || !strings.Contains(r.FirstErrors[load.ErrConnect], "refused") {
			t.Errorf("errors %v: %v", r.ErrorKinds, r.FirstErrors)
		}
	})
}

// TestErrorsBesideReplies has both in one batch.
func TestErrorsBesideReplies(t *testing.T) {
	c := local(t)
	var n atomic.Int64
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%3 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	r := mustFire(t, c, load.Job{URL: url, Request: get("/"), Load: modes(30, false)[2]})
	if r.Replies != 20 || r.ErrorKinds[load.ErrStatus] != 10 || r.Latency.Count() != 20 {
		t.Errorf("%d replies, errors %v, %d latencies", r.Replies, r.ErrorKinds, r.Latency.Count())
	}
}

func TestGiveUp(t *testing.T) {
	c := local(t)
	for _, spec := range modes(60, false) {
		t.Run(spec.Client, func(t *testing.T) {
			url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
			r := mustFire(t, c, load.Job{URL: url, Request: get("/"), Load: spec, GiveUp: 5})
			// Those under way when it becomes hopeless still end.
			processes, clients := 1, spec.Pool
			if spec.Client == scenarios.ClientMP {
				processes, clients = spec.Pool, 1
			}
			if r.Requests != 60 || r.Errors < 5 || r.Errors > processes*(max(5, clients)+clients) {
				t.Errorf("%d of %d requests were sent", r.Errors, r.Requests)
			}
		})
	}
}

// TestFault25TooManyErrorsStopTheLoad: a batch ends as with the native engine, whatever
// is wrong with the answers.
func TestFault25TooManyErrorsStopTheLoad(t *testing.T) {
	const requests, allowed = 200, 6
	c := local(t)
	for kind, expect := range map[string]expect.Answer{
		load.ErrStatus:   {Status: 200},
		load.ErrMismatch: {Status: 200, Match: "^right [0-9]+$"}, // no two answers are the same
	} {
		var mu sync.Mutex
		n := 0
		url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			n++
			wrong := n%3 == 0
			if wrong && kind == load.ErrStatus {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			fmt.Fprintf(w, "%s %d", map[bool]string{true: "wrong", false: "right"}[wrong], n)
		})
		request := get("/")
		request.Expect, request.MaxErrors = expect, &wire.ErrorLimit{Percent: 3}
		for _, l := range modes(requests, true) {
			r := mustFire(t, c, load.Job{URL: url, Request: request, Load: l})
			// Each client may have one request under way, and one answer unjudged.
			if r.Errors <= allowed || r.Errors > allowed+2*l.Pool || r.ErrorKinds[kind] != r.Errors {
				t.Errorf("%s, %s: %d errors, with a limit of %d: %v", kind, l.Client, r.Errors, allowed, r.ErrorKinds)
			}
			if r.Replies == 0 || r.Replies+r.Errors > 5*allowed {
				t.Errorf("%s, %s: %d replies beside %d errors", kind, l.Client, r.Replies, r.Errors)
			}
		}
	}
}
