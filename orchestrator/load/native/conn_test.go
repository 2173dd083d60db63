//go:build linux

package native

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// A server that reads a request on a kept connection and dies over it causes an error.
// Only a request that was never read is sent again.
func TestDeathOnKeptConnection(t *testing.T) {
	s := startRaw(t, "tcp", "127.0.0.1:0", func(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
		if readRequest(r) {
			_, _ = io.WriteString(c, ok)
		}
		readRequest(r)
	})
	for name, l := range modes(20, true) {
		t.Run(name, func(t *testing.T) {
			r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: get("/"), Load: l})
			if r.Replies+r.Errors != 20 || r.ErrorKinds[load.ErrReset] != r.Errors || r.Errors < 5 || r.Retries != 0 {
				t.Errorf("%d replies, errors %v, %d retries; want as many resets as connections, and no retries", r.Replies, r.ErrorKinds, r.Retries)
			}
		})
	}
}

// The client looks at an idle connection before it uses it again. If the server has
// closed it, with a 408 or without, it makes a new one. An answer that nobody asked
// for is not taken for the next request's.
func TestIdleConnection(t *testing.T) {
	spaced := scenarios.LoadSpec{
		Requests: 4, Client: scenarios.ClientOpen, Pool: 1, KeepAlive: true, Rate: 20, Arrivals: scenarios.ArrivalsConstant,
	}
	cases := map[string]struct {
		after           string // sent soon after each answer
		closes          bool
		replies, errors int
		retries         int
	}{
		"stays":           {"", false, 4, 0, 0},
		"closes":          {"", true, 4, 0, 3},
		"408":             {"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", true, 4, 0, 3},
		"one answer more": {ok, false, 2, 2, 0}, // an error closes, and the next request has a new connection
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := startRaw(t, "tcp", "127.0.0.1:0", func(_ *rawServer, conn *net.TCPConn, r *bufio.Reader) {
				for readRequest(r) {
					_, _ = io.WriteString(conn, ok)
					time.Sleep(5 * time.Millisecond)
					_, _ = io.WriteString(conn, c.after)
					if c.closes {
						return
					}
				}
			})
			r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: get("/"), Load: spaced})
			if r.Replies != c.replies || r.Errors != c.errors || r.ErrorKinds[load.ErrProtocol] != c.errors || r.Retries != c.retries {
				t.Errorf("%d replies, errors %v, %d retries; want %d, %d of protocol, %d",
					r.Replies, r.FirstErrors, r.Retries, c.replies, c.errors, c.retries)
			}
		})
	}
}

// A kept connection that the server closed while it was idle costs a retry and no
// error.
func TestRetryOnIdleClose(t *testing.T) {
	s := startRaw(t, "tcp", "127.0.0.1:0", always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false))
	r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: get("/"), Load: modes(10, true)["single"]})
	if r.Replies != 10 || r.Errors != 0 || r.Retries != 9 || s.connections.Load() != 10 {
		t.Errorf("%d replies, errors %v, %d retries, %d connections; want 10, none, 9, 10", r.Replies, r.FirstErrors, r.Retries, s.connections.Load())
	}
}

// An answer counts that comes before the whole request was read, when the server then
// closes the connection.
func TestEarlyAnswer(t *testing.T) {
	file := t.TempDir() + "/large.bin"
	if err := os.WriteFile(file, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startRaw(t, "tcp", "127.0.0.1:0", func(_ *rawServer, c *net.TCPConn, _ *bufio.Reader) {
		_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		_, _ = io.CopyN(io.Discard, c, 1<<20)
	})
	request := get("/")
	request.Method, request.Body = "POST", &wire.Body{Files: []string{file}}
	r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: request, Load: modes(1, false)["single"]})
	if r.ErrorKinds[load.ErrStatus] != 1 {
		t.Errorf("kinds %v (%v), want a status", r.ErrorKinds, r.FirstErrors)
	}
}

// An answer counts that comes before the whole request was read, when the server then
// reads no more and keeps the connection.
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
	request.Method, request.Body = "POST", &wire.Body{Files: []string{file}}
	for name, l := range modes(4, true) {
		t.Run(name, func(t *testing.T) {
			r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: request, Load: l})
			if r.ErrorKinds[load.ErrStatus] != 4 {
				t.Errorf("kinds %v (%v), want a status of each", r.ErrorKinds, r.FirstErrors)
			}
		})
	}
}

// Clients wait for a unix socket whose queue is full, as they do for a port.
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
