//go:build linux

package native

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/show"
	"stackmeter/scenarios/wire"
)

// TestFault26MisbehavingServers: with a server that misbehaves in one way, every
// request is an error of one kind.
func TestFault26MisbehavingServers(t *testing.T) {
	type handler = func(*rawServer, *net.TCPConn, *bufio.Reader)
	cases := map[string]struct {
		handle  handler
		kind    string
		message string // a part of it
		timeout time.Duration
	}{
		"resets before the answer": {func(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
			readRequest(r)
			_ = c.SetLinger(0)
		}, load.ErrReset, "before an answer began", 0},
		"closes before the answer": {func(_ *rawServer, _ *net.TCPConn, r *bufio.Reader) {
			readRequest(r)
		}, load.ErrReset, "closed the connection", 0},
		"half a status line":     {always("HTTP/1.1 2", false), load.ErrTruncated, "after 10 bytes", 0},
		"half a head":            {always("HTTP/1.1 200 OK\r\nContent-Len", false), load.ErrTruncated, "closed", 0},
		"half a body":            {always("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", false), load.ErrTruncated, "closed", 0},
		"longer than its length": {always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhalf", true), load.ErrTruncated, "length is wrong", 0},
		"half a chunk":           {always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf", false), load.ErrTruncated, "closed", 0},
		"no last chunk":          {always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false), load.ErrTruncated, "closed", 0},
		"resets in the body": {func(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
			readRequest(r)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nbytes")
			_ = c.SetLinger(0)
		}, load.ErrTruncated, "reset", 0},
		"floods headers": {always(longHeaders, false), load.ErrProtocol, "head is longer", 0},
		"one endless line": {always("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("y", 40<<10), false),
			load.ErrProtocol, "line", 0},
		"an endless body": {func(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
			readRequest(r)
			_, err := io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\n")
			for block := make([]byte, 64<<10); err == nil; {
				_, err = c.Write(block)
			}
		}, load.ErrProtocol, "larger than allowed", 0},
		"announces too much": {always("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", false), load.ErrProtocol, "larger than allowed", 0},
		"speaks another protocol": {always("220 mail.example ESMTP\x1b[31m\r\n", false), load.ErrProtocol,
			"not an HTTP/1.x answer", 0},
		"contradicts its length": {always("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", false),
			load.ErrProtocol, "Content-Length", 0},
		"endless interim answers": {always(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 40), false), load.ErrProtocol, "interim", 0},
		"another status":          {always("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", true), load.ErrStatus, "503 instead of 200", 0},
		"never answers": {func(s *rawServer, c *net.TCPConn, _ *bufio.Reader) { hang(s, c) },
			load.ErrTimeout, "waiting for the answer", 50 * time.Millisecond},
		"stops in the answer": {func(s *rawServer, c *net.TCPConn, r *bufio.Reader) {
			readRequest(r)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
			hang(s, c)
		}, load.ErrTimeout, "reading the answer", 50 * time.Millisecond},
		"drips for ever": {func(s *rawServer, c *net.TCPConn, r *bufio.Reader) {
			readRequest(r)
			_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			for tick := time.NewTicker(5 * time.Millisecond); err == nil; <-tick.C {
				_, err = c.Write([]byte("."))
			}
		}, load.ErrTimeout, "reading the answer", 60 * time.Millisecond},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startRaw(t, "tcp", "127.0.0.1:0", tc.handle)
			request := get("/")
			if tc.timeout > 0 {
				request.Timeout = tc.timeout
			}
			const n = 3
			r := mustFire(t, &Client{},
				load.Job{URL: s.url, Request: request, Load: modes(n, false)["mt"]})
			if r.Errors != n || r.Replies != 0 || r.Latency != nil {
				t.Errorf("%d errors, %d replies, latency %v; want %d errors and nothing else", r.Errors, r.Replies, r.Latency, n)
			}
			if r.ErrorKinds[tc.kind] != n {
				t.Errorf("kinds %v (%v), want %d of %s", r.ErrorKinds, r.FirstErrors, n, tc.kind)
			}
			message := r.FirstErrors[tc.kind]
			if !strings.Contains(message, tc.message) {
				t.Errorf("message %q, want %q in it", message, tc.message)
			}
			if message != show.Columns(strings.TrimSpace(message)) || len([]rune(message)) > 300 {
				t.Errorf("message %q is not clean", message)
			}
		})
	}
}

func TestConnectRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	listener.Close()
	for name, l := range modes(5, false) {
		t.Run(name, func(t *testing.T) {
			r := mustFire(t, &Client{}, load.Job{URL: url, Request: get("/"), Load: l})
			if r.ErrorKinds[load.ErrConnect] != 5 || r.Errors != 5 {
				t.Errorf("kinds %v, want 5 of connect", r.ErrorKinds)
			}
			if !strings.Contains(r.FirstErrors[load.ErrConnect], "refused") {
				t.Errorf("message %q does not say refused", r.FirstErrors[load.ErrConnect])
			}
		})
	}
}

// A connection attempt that nobody answers ends with the request's time-out.
func TestConnectTimeout(t *testing.T) {
	r := mustFire(t, &Client{}, load.Job{
		URL:     "http://" + fullBacklog(t),
		Request: wire.Request{Timeout: 50 * time.Millisecond},
		Load:    modes(1, false)["single"],
	})
	if r.Errors != 1 || r.ErrorKinds[load.ErrTimeout] != 1 {
		t.Errorf("kinds %v (%v), want one timeout", r.ErrorKinds, r.FirstErrors)
	}
}

// fullBacklog is an address on this machine that answers no more attempts to connect:
// nobody accepts, and the queue is full.
func fullBacklog(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	for range 16 {
		c, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("sixteen connections waited in a queue for one")
	return ""
}

// A batch gives up when nothing works, and only then.
func TestGiveUp(t *testing.T) {
	url, _ := startHTTP(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	for name, l := range modes(100, false) {
		t.Run(name, func(t *testing.T) {
			r := mustFire(t, &Client{}, load.Job{URL: url, Request: get("/"), Load: l, GiveUp: 5})
			if r.Requests != 100 || r.Replies != 0 || r.Errors < 5 || r.Errors >= 100 {
				t.Errorf("%d errors of %d requests; it should have given up after a few", r.Errors, r.Requests)
			}
		})
	}
	var n requestCounter
	url, _ = startHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) > 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	r := mustFire(t, &Client{}, load.Job{URL: url, Request: get("/"), Load: modes(50, false)["single"], GiveUp: 5})
	if r.Replies != 1 || r.Errors != 49 {
		t.Errorf("%d replies, %d errors; one reply is reason to go on", r.Replies, r.Errors)
	}
}

// TestFault25ErrorsAreNoReplies: one batch has both, and only replies have latencies.
func TestFault25ErrorsAreNoReplies(t *testing.T) {
	var n requestCounter
	s := startRaw(t, "tcp", "127.0.0.1:0", func(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
		if !readRequest(r) {
			return
		}
		if n.Add(1)%3 == 0 {
			_, _ = io.WriteString(c, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: get("/"), Load: modes(30, false)["mp"]})
	if r.Replies != 20 || r.Errors != 10 || r.ErrorKinds[load.ErrStatus] != 10 {
		t.Errorf("%d replies, errors %v; want 20 and 10 of status", r.Replies, r.ErrorKinds)
	}
	if r.Latency.Count() != 20 {
		t.Errorf("%d latencies, want those of the 20 replies", r.Latency.Count())
	}
}

// TestFault25TooManyErrorsStopTheLoad: in every mode, no request is sent after more
// errors than the request allows, and what was finished is counted.
func TestFault25TooManyErrorsStopTheLoad(t *testing.T) {
	const requests, allowed = 300, 6
	url, _ := startHTTP(t, everyThirdFails())
	request := get("/")
	loads := modes(requests, false)
	loads["open"] = scenarios.LoadSpec{Requests: requests, Client: scenarios.ClientOpen, Pool: 4, Rate: 2000}
	loads["open-max"] = scenarios.LoadSpec{Requests: requests, Client: scenarios.ClientOpen, Pool: 4}
	for name, l := range loads {
		request.MaxErrors = &wire.ErrorLimit{Count: allowed}
		r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: l})
		// Those under way when the limit is passed are finished.
		if r.Errors <= allowed || r.Errors > allowed+l.Pool || r.ErrorKinds[load.ErrStatus] != r.Errors {
			t.Errorf("%s: %d errors, with a limit of %d: %v", name, r.Errors, allowed, r.ErrorKinds)
		}
		if r.Replies == 0 || r.Replies+r.Errors > 5*allowed || r.Latency.Count() != int64(r.Replies) {
			t.Errorf("%s: %d replies beside %d errors, %d latencies", name, r.Replies, r.Errors, r.Latency.Count())
		}
		request.MaxErrors = &wire.ErrorLimit{Percent: 50}
		if r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: l}); r.Replies+r.Errors != requests {
			t.Errorf("%s: %d replies and %d errors below the limit", name, r.Replies, r.Errors)
		}
	}
}

// everyThirdFails answers one request in three with a status that is not
// expected.
func everyThirdFails() http.HandlerFunc {
	var mu sync.Mutex
	n := 0
	return func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n%3 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
}

// TestDifferingAnswersNameTheFile: if two answers to one file differ, the message has
// the file's name.
func TestDifferingAnswersNameTheFile(t *testing.T) {
	var answers atomic.Int64
	url, _ := startHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) == "steady" {
			fmt.Fprint(w, "as ever")
			return
		}
		fmt.Fprint(w, answers.Add(1))
	})
	folder := t.TempDir()
	request := get("/")
	request.Method, request.Expect.BodyDigest, request.Body = "POST", expect.DigestSame, &wire.Body{}
	for _, name := range []string{"steady", "fickle"} {
		file := filepath.Join(folder, name+".txt")
		if err := os.WriteFile(file, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		request.Body.Files = append(request.Body.Files, file)
	}
	for mode, l := range modes(6, false) {
		r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: l})
		if r.Replies < 3 || !strings.HasPrefix(r.FirstErrors[load.ErrMismatch], "the answer to the same request (fickle.txt) differs from an earlier one") {
			t.Errorf("%s: %d replies, %v", mode, r.Replies, r.FirstErrors)
		}
	}
}

// The time-out holds even while bytes keep coming.
func TestTimeoutWhileBytesCome(t *testing.T) {
	s := startRaw(t, "tcp", "127.0.0.1:0", func(s *rawServer, c *net.TCPConn, r *bufio.Reader) {
		readRequest(r)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for begin := time.Now(); time.Since(begin) < 3*time.Second; {
			if _, err := io.WriteString(c, "1\r\nx\r\n"); err != nil {
				return
			}
		}
		_, _ = io.WriteString(c, "0\r\n\r\n")
	})
	request := get("/")
	request.Timeout = 300 * time.Millisecond
	r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: request, Load: modes(1, false)["single"]})
	if r.ErrorKinds[load.ErrTimeout] != 1 {
		t.Errorf("%d replies, errors %v after %v; want a time-out", r.Replies, r.FirstErrors, r.Duration)
	}
}
