package python

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// serve answers with net/http and counts connections.
func serve(t testing.TB, handler http.HandlerFunc) (url string, connections *atomic.Int64) {
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

// serveRaw answers a request with the same bytes, calls end if there is one, and
// closes.
func serveRaw(t testing.TB, answer string, end func(*net.TCPConn, <-chan struct{})) (url string) {
	t.Helper()
	done := make(chan struct{})
	url = serveConnections(t, func(c net.Conn, r *bufio.Reader) {
		if _, ok := readBody(r); !ok {
			return
		}
		if _, err := io.WriteString(c, answer); err == nil && end != nil {
			end(c.(*net.TCPConn), done)
		}
	})
	t.Cleanup(func() { close(done) }) // before the server waits for its connections
	return url
}

// serveConnections serves each connection with handle, and closes it when that returns.
func serveConnections(t testing.TB, handle func(net.Conn, *bufio.Reader)) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			handlers.Go(func() {
				defer c.Close()
				handle(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		handlers.Wait()
	})
	return "http://" + listener.Addr().String()
}

// readBody reads one whole request, by its Content-Length, and returns its body.
func readBody(r *bufio.Reader) (body string, ok bool) {
	p := textproto.NewReader(r)
	if _, err := p.ReadLine(); err != nil {
		return "", false
	}
	header, err := p.ReadMIMEHeader()
	if err != nil {
		return "", false
	}
	length, _ := strconv.Atoi(header.Get("Content-Length"))
	data := make([]byte, length)
	_, err = io.ReadFull(r, data)
	return string(data), err == nil
}

// hang keeps a connection open until the other side or the test ends.
func hang(c *net.TCPConn, done <-chan struct{}) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c)
	}()
	select {
	case <-gone:
	case <-done:
	}
	c.Close()
	<-gone
}

// waitingServer answers some requests and holds all others. first closes with the first
// that it holds.
func waitingServer(t *testing.T, answered int64) (url string, first <-chan struct{}) {
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var n atomic.Int64
	url, _ = serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if n.Add(1) <= answered {
			return
		}
		once.Do(func() { close(arrived) })
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	return url, arrived
}
