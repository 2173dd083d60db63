package stacks

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"stackmeter/scenarios/ready"
	"stackmeter/scenarios/wire"
)

// TestAttackAnotherProtocol: a server that does not speak HTTP is told by the first
// bytes of its answer, or by its handshake, and does not cost the time-out.
func TestAttackAnotherProtocol(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for name, test := range map[string]struct {
		answer string // of a server that says it to each connection, and closes it
		url    string // of another server
		tls    bool
		want   string
	}{
		"TLS that refuses by an alert":  {answer: "\x15\x03\x01\x00\x02\x02\x46", want: "speaks TLS"},
		"TLS that says so":              {url: "http" + strings.TrimPrefix(secure.URL, "https"), want: "tls: true"},
		"h2c":                           {answer: "\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", want: "gRPC"},
		"a text protocol":               {answer: "-ERR unknown command 'GET'\r\n", want: `"-ERR unknown`},
		"HTTP where TLS was asked for":  {answer: "HTTP/1.1 400 Bad Request\r\n\r\n", tls: true, want: "remove tls"},
		"HTTP that is not ready":        {answer: "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"},
		"nothing, as of a port mapping": {answer: ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := test.url
			if address == "" {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { listener.Close() })
				go func() {
					for {
						conn, err := listener.Accept()
						if err != nil {
							return
						}
						_, _ = conn.Read(make([]byte, 4096))
						_, _ = conn.Write([]byte(test.answer))
						conn.Close()
					}
				}()
				address = "http://" + listener.Addr().String()
			}
			spec := Spec{Ready: ready.Probe{Path: "/healthz", Timeout: time.Minute}, Services: []Service{{Name: "app"}}}
			if test.tls {
				spec.TLS, address = &wire.TLS{}, strings.Replace(address, "http:", "https:", 1)
			}
			if test.want == "" {
				spec.Ready.Timeout = time.Second
			}
			err := WaitReady(t.Context(), spec, urlStack{placed{}, address})
			if errors.Is(err, ErrElsewhere) != (test.want != "") || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestAttackSilentTLS: OpenSSL closes a connection that does not speak TLS without a
// word.
func TestAttackSilentTLS(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer front.Close()
	go func() {
		for {
			conn, err := front.Accept()
			if err != nil {
				return
			}
			go silent(conn, secure.Listener.Addr().String())
		}
	}()
	spec := Spec{Ready: ready.Probe{Path: "/healthz", Timeout: time.Minute}, Services: []Service{{Name: "app"}}}
	err = WaitReady(t.Context(), spec, urlStack{placed{}, "http://" + front.Addr().String()})
	if !errors.Is(err, ErrElsewhere) || !strings.Contains(err.Error(), "speaks TLS") {
		t.Errorf("%v", err)
	}
}

// silent passes a handshake on, and closes what begins otherwise.
func silent(conn net.Conn, to string) {
	defer conn.Close()
	hello := make([]byte, 4096)
	n, err := conn.Read(hello)
	if err != nil || hello[0] != 0x16 {
		return
	}
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	_, _ = server.Write(hello[:n])
	go func() { _, _ = io.Copy(server, conn) }()
	_, _ = io.Copy(conn, server)
}
