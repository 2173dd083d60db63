//go:build linux

package native

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A rawServer answers over plain sockets in ways that no library would.
type rawServer struct {
	url         string
	connections atomic.Int64
	listener    net.Listener
	handlers    sync.WaitGroup
	done        chan struct{} // closed when the test ends, for handlers that hang
}

// startRaw serves each connection with handle until the test ends. The
// connection is closed when handle returns.
func startRaw(t testing.TB, network, address string, handle func(s *rawServer, c *net.TCPConn, r *bufio.Reader)) *rawServer {
	t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Skipf("cannot listen on %s: %v", address, err)
	}
	s := &rawServer{url: "http://" + listener.Addr().String(), listener: listener, done: make(chan struct{})}
	s.handlers.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			s.connections.Add(1)
			s.handlers.Go(func() {
				defer c.Close()
				handle(s, c.(*net.TCPConn), bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		close(s.done)
		listener.Close()
		s.handlers.Wait()
	})
	return s
}

// readRequest reads one whole request, by its Content-Length, and reports
// whether there was one.
func readRequest(r *bufio.Reader) bool {
	p := textproto.NewReader(r)
	if _, err := p.ReadLine(); err != nil {
		return false
	}
	header, err := p.ReadMIMEHeader()
	if err != nil {
		return false
	}
	length, _ := parseNumber([]byte(header.Get("Content-Length")), 10)
	_, err = io.CopyN(io.Discard, r, length)
	return err == nil
}

// always answers every request with the same bytes, then closes unless keep is set.
func always(answer string, keep bool) func(*rawServer, *net.TCPConn, *bufio.Reader) {
	return func(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
		for readRequest(r) {
			if _, err := io.WriteString(c, answer); err != nil || !keep {
				return
			}
		}
	}
}

// startHTTP serves a handler with net/http and counts its connections.
func startHTTP(t testing.TB, handler http.HandlerFunc) (url string, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Close()
		<-stopped
	})
	return "http://" + listener.Addr().String(), connections
}

// hang keeps a connection open until the other side or the test ends.
func hang(s *rawServer, c *net.TCPConn) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c)
	}()
	select {
	case <-gone:
	case <-s.done:
	}
	c.Close()
	<-gone
}

// longHeaders is a head that never ends within the limits.
var longHeaders = "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Flood: "+strings.Repeat("a", 1000)+"\r\n", 200)

// startSockets is startRaw for handlers that do their own reading.
func startSockets(t testing.TB, handle func(*rawServer, *net.TCPConn)) *rawServer {
	t.Helper()
	return startRaw(t, "tcp", "127.0.0.1:0", func(s *rawServer, c *net.TCPConn, _ *bufio.Reader) { handle(s, c) })
}
