//go:build linux

package native

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// The time-out holds while bytes keep coming, too.
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

// Latency ends with the last byte: to check an answer takes the client's time.
func TestLatencyWithoutChecking(t *testing.T) {
	body, err := json.Marshal(map[string]any{"label": "cat", "scores": make([]float64, 1_000_000)})
	if err != nil {
		t.Fatal(err)
	}
	url, _ := startHTTP(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	request := get("/")
	request.Expect.JSON = map[string]string{"label": `"cat"`}
	r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: scenarios.LoadSpec{Requests: 5, Client: scenarios.ClientMP, Pool: 1}})
	if r.Replies != 5 {
		t.Fatalf("%d replies, errors %v", r.Replies, r.FirstErrors)
	}
	// Nearly all the CPU time of this client is spent on reading JSON.
	if cpu := r.CPU / 5; r.Latency.Mean() >= cpu {
		t.Errorf("a mean latency of %v, where a request took %v of CPU time: checking is in it", r.Latency.Mean(), cpu)
	}
}

// An answer that comes before the whole request was read is an answer, though
// the server reads no more and keeps the connection.
func TestAnswerWhileSending(t *testing.T) {
	file := filepath.Join(t.TempDir(), "large.bin")
	if err := os.WriteFile(file, make([]byte, 32<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startRaw(t, "tcp", "127.0.0.1:0", func(s *rawServer, c *net.TCPConn, _ *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		<-s.done
	})
	request := get("/")
	request.Method, request.Body = "POST", &scenarios.Body{Files: []string{file}}
	for name, l := range modes(4, true) {
		t.Run(name, func(t *testing.T) {
			r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: request, Load: l})
			if r.ErrorKinds[load.ErrStatus] != 4 {
				t.Errorf("kinds %v (%v), want a status of each", r.ErrorKinds, r.FirstErrors)
			}
		})
	}
}

// A unix socket whose queue is full makes clients wait, as a port does.
func TestUnixSocketWithFullQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	listener, err := net.FileListener(file)
	if err = errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			time.Sleep(time.Millisecond)
			readRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, ok)
			c.Close()
		}
	}()
	r := mustFire(t, &Client{}, load.Job{
		URL: "http+unix://" + path, Request: get("/"), Load: scenarios.LoadSpec{Requests: 60, Client: scenarios.ClientMT, Pool: 20},
	})
	if r.Replies != 60 {
		t.Errorf("%d replies of 60, errors %v", r.Replies, r.FirstErrors)
	}
}

// Where this machine has no more files for connections, the batch fails and
// says so: it is no error of the server.
func TestNoMoreFiles(t *testing.T) {
	url, _ := startHTTP(t, discard)
	program := filepath.Join(t.TempDir(), "few-files")
	script := "#!/bin/sh\nulimit -n 32\nexec '" + os.Args[0] + "' \"$@\"\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	c := &Client{command: []string{program, WorkerArgument}}
	b, err := c.prepareBatch(t.Context(), load.Job{URL: url, Request: get("/"), Load: fifty(100)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Fire(t.Context()); err == nil || !strings.Contains(err.Error(), "the client's machine: socket: too many open files") {
		t.Errorf("got %v; want too many open files on the client's machine", err)
	}
}

// A timer that comes early does not stop an open loop.
func TestTimerThatComesEarly(t *testing.T) {
	a, err := newArena(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	if err := errors.Join(a.add("", 10, strings.NewReader("xxxxxxxxxx")), a.mapRequests()); err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(task{
		Job: load.Job{Load: openLoad(2, 1, 20)}, Socket: "/nobody", Clients: 1, Last: 2, Processes: 1, Requests: a.spans,
	}, a)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, e.poller.epoll, e.poller.timer, e.poller.wakeup, e.arrivals.stamping)
	e.next, e.base = 1, e.clock.now() // the second request is due in 50 ms
	if err := e.dispatch(); err != nil {
		t.Fatal(err)
	}
	if err := e.poller.arm(1); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the early one, then the right one
		n, err := e.poller.wait(10*time.Second, false)
		if err != nil || n != 1 || e.poller.event(0).token != tokenTimer {
			t.Fatalf("%d events, %v; want the timer's", n, err)
		}
		if e.clock.now() >= e.due(1) {
			return
		}
		if err := e.handle(e.poller.event(0)); err != nil {
			t.Fatal(err)
		}
	}
}
