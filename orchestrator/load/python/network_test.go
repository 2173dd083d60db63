//go:build linux

package python

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/native"
	"stackmeter/scenarios/wire"
)

// deaf makes a connection lose all packets that come from now on, as if they were still
// on their way.
func deaf(t *testing.T, c net.Conn) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	if controlled := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
	}); controlled != nil || err != nil {
		t.Error(controlled, err)
	}
}

// TestAttackRequestNotRead: over a network with a delay, the server's closing of an
// idle connection and the next request meet on the way. The request was not read, so
// it is sent again and is no error.
func TestAttackRequestNotRead(t *testing.T) {
	for name, fire := range both(t) {
		for _, spec := range enginesLoads(6, true)[:2] {
			url := serveConnections(t, func(c net.Conn, r *bufio.Reader) {
				if _, ok := readBody(r); ok {
					deaf(t, c)
					_, _ = io.WriteString(c, text("ok"))
					time.Sleep(50 * time.Millisecond) // the next request is on its way
				}
			})
			r := fire(t, load.Job{URL: url, Request: get("/"), Load: spec})
			if r.Replies != 6 || r.Errors != 0 || r.Retries != 6-spec.Pool {
				t.Errorf("%s, %s: %d replies, %d retries, errors %v", name, spec.Client, r.Replies, r.Retries, r.FirstErrors)
			}
		}
	}
}

// TestAttackClosedOverTLS: over TLS too, a request on a kept connection is sent again if
// the server had closed that, and is an error if the server read it and closed then.
func TestAttackClosedOverTLS(t *testing.T) {
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS()
	defer certified.Close()
	python := trusting(t, certified.Certificate())
	engines := both(t)
	engines["python-requests"] = func(t *testing.T, job load.Job) load.Result {
		job.Request.TLS = nil
		return mustFire(t, python, job)
	}
	type handler = func(c *tls.Conn, r *bufio.Reader) // after the first answer
	const notRead, read = 5, 0                        // retries
	for name, test := range map[string]struct {
		after   handler
		retries int
	}{
		"closes":    {func(*tls.Conn, *bufio.Reader) {}, notRead},
		"announces": {func(c *tls.Conn, _ *bufio.Reader) { _ = c.CloseWrite(); time.Sleep(100 * time.Millisecond) }, notRead},
		"cuts off":  {func(c *tls.Conn, _ *bufio.Reader) { _ = c.NetConn().Close() }, notRead},
		"closes while the request is on its way": {func(c *tls.Conn, _ *bufio.Reader) {
			deaf(t, c.NetConn())
			_, _ = io.WriteString(c, text("ok"))
			time.Sleep(50 * time.Millisecond)
		}, notRead},
		"closes over what it does not read": {func(c *tls.Conn, _ *bufio.Reader) { awaitBytes(t, c.NetConn()) }, notRead},
		"closes over what it does not read, step by step": {func(c *tls.Conn, _ *bufio.Reader) {
			awaitBytes(t, c.NetConn())
			_ = c.CloseWrite()
			time.Sleep(10 * time.Millisecond)
		}, notRead},
		"reads and closes": {func(_ *tls.Conn, r *bufio.Reader) { readBody(r) }, read},
		"reads and announces": {func(c *tls.Conn, r *bufio.Reader) {
			readBody(r)
			_ = c.CloseWrite()
			hang(c.NetConn().(*net.TCPConn), t.Context().Done())
		}, read},
		"reads and cuts off": {func(c *tls.Conn, r *bufio.Reader) { readBody(r); _ = c.NetConn().Close() }, read},
	} {
		for engine, fire := range engines {
			url := serveConnections(t, func(c net.Conn, _ *bufio.Reader) {
				secure := tls.Server(c, certified.TLS)
				defer secure.Close()
				r := bufio.NewReader(secure)
				if _, ok := readBody(r); !ok {
					return
				}
				if !strings.HasSuffix(name, "on its way") {
					_, _ = io.WriteString(secure, text("ok"))
				}
				test.after(secure, r)
			})
			request := get("/")
			request.TLS = &wire.TLS{Insecure: true}
			r := fire(t, load.Job{URL: strings.Replace(url, "http:", "https:", 1), Request: request, Load: modes(6, true)[0]})
			replies := 6
			if test.retries == read {
				replies = 3
			}
			if r.Replies != replies || r.ErrorKinds[load.ErrReset] != 6-replies || r.Retries != test.retries {
				t.Errorf("%s %s: %d replies, %d retries, errors %v", engine, name, r.Replies, r.Retries, r.FirstErrors)
			}
		}
	}
}

// awaitBytes waits for bytes in the kernel, and leaves them there.
func awaitBytes(t *testing.T, c net.Conn) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = raw.Read(func(fd uintptr) bool {
			_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK)
			return err != unix.EAGAIN
		})
	}
	if err != nil {
		t.Error(err)
	}
}

// TestAttackUsedUpPorts: a machine without a free port for another connection cannot
// send. That is no error of the server with any engine.
func TestAttackUsedUpPorts(t *testing.T) {
	python := local(t)
	done := make(chan struct{})
	go func() { // its thread has a network of its own, and ends with it
		defer close(done)
		runtime.LockOSThread()
		if err := fewPorts(); err != nil {
			t.Logf("skipped: cannot make a network with few ports: %v", err)
			return
		}
		url := serveConnections(t, func(c net.Conn, r *bufio.Reader) {
			for {
				if _, ok := readBody(r); !ok {
					return
				}
				_, _ = io.WriteString(c, text("ok"))
			}
		})
		for name, engine := range map[string]load.Client{"native": &native.Client{}, "python-requests": python} {
			for _, spec := range modes(40, false) {
				if name == "native" && spec.Pool > 1 {
					continue // used up by the first one
				}
				b, err := engine.Prepare(t.Context(), load.Job{URL: url, Request: get("/"), Load: spec})
				if err != nil {
					t.Error(err)
					return
				}
				r, err := b.Fire(t.Context())
				b.Close()
				if err == nil || !strings.Contains(err.Error(), "the client's machine: cannot assign requested address") || r.Errors != 0 {
					t.Errorf("%s, %s: %v, %d replies, errors %v", name, spec.Client, err, r.Replies, r.FirstErrors)
				}
			}
		}
	}()
	<-done
}

// fewPorts gives this thread a network that has itself only, and ten ports.
func fewPorts() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, loopback); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40009"), 0)
}
