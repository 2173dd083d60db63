//go:build linux

package native

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/wire"
)

// startTLS serves a handler over TLS and returns how to verify its certificate, which
// is for 127.0.0.1 and example.com.
func startTLS(t *testing.T, handler http.HandlerFunc) (url string, verify *wire.TLS, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes
	server.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return server.URL, &wire.TLS{CA: file}, connections
}

// Every mode works over TLS as it does without, and the handshake is part of connecting.
func TestTLS(t *testing.T) {
	const n = 12
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<14) // many records
	file := filepath.Join(t.TempDir(), "body.bin")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	var right atomic.Int64
	url, verify, connections := startTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if data, err := io.ReadAll(r.Body); err == nil && bytes.Equal(data, body) && r.ProtoMajor == 1 {
			right.Add(1)
		}
		_, _ = w.Write(body)
	})
	request := get("/")
	request.Method, request.Body, request.TLS = "POST", &wire.Body{Files: []string{file}}, verify
	request.Expect.BodyDigest = expect.DigestSame
	for _, keepAlive := range []bool{false, true} {
		for _, l := range modes(n, keepAlive) {
			t.Run(l.Name(), func(t *testing.T) {
				right.Store(0)
				connections.Store(0)
				r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: l})
				if r.Replies != n || r.Errors != 0 || right.Load() != n {
					t.Errorf("%d replies, %d right, errors %v; want %d", r.Replies, right.Load(), r.FirstErrors, n)
				}
				if r.Connect.Count() != connections.Load() || keepAlive && connections.Load() > int64(l.Pool) || !keepAlive && connections.Load() != n {
					t.Errorf("%d connections, %d connects timed", connections.Load(), r.Connect.Count())
				}
				if r.FirstByte.Count() != n || !keepAlive && r.FirstByte.Min() <= r.Connect.Min() {
					t.Errorf("first byte %d times from %v, connected from %v", r.FirstByte.Count(), r.FirstByte.Min(), r.Connect.Min())
				}
				if least := int64(n * len(body)); r.BytesSent <= least || r.BytesRead <= least {
					t.Errorf("%d bytes sent and %d read, of which %d are bodies", r.BytesSent, r.BytesRead, least)
				}
				if slices.Contains(r.Flags, load.FlagInsecure) {
					t.Errorf("flags %v", r.Flags)
				}
			})
		}
	}
}

// A certificate is verified unless the scenario says otherwise. Then every result says
// so.
func TestTLSVerifies(t *testing.T) {
	url, verify, _ := startTLS(t, func(http.ResponseWriter, *http.Request) {})
	_, other, _ := startTLS(t, func(http.ResponseWriter, *http.Request) {})
	if err := os.WriteFile(other.CA, []byte(strangersCertificate), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		verify *wire.TLS
		fails  string // a part of the message; empty: it does not
	}{
		"by the machine's authorities": {nil, "unknown authority"},
		"by its own":                   {verify, ""},
		"by another's":                 {other, "unknown authority"},
		"by another name of it":        {&wire.TLS{CA: verify.CA, ServerName: "example.com"}, ""},
		"by a name that is not its":    {&wire.TLS{CA: verify.CA, ServerName: "example.net"}, "example.net"},
		"not at all":                   {&wire.TLS{Insecure: true}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			request := get("/")
			request.TLS = test.verify
			r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: modes(3, false)["single"]})
			if test.fails == "" && r.Replies != 3 {
				t.Errorf("%d replies, errors %v", r.Replies, r.FirstErrors)
			}
			message := r.FirstErrors[load.ErrConnect]
			if test.fails != "" && (r.ErrorKinds[load.ErrConnect] != 3 || !strings.Contains(message, test.fails) || !strings.Contains(message, "TLS handshake")) {
				t.Errorf("%d replies, errors %v (%v); want %q", r.Replies, r.ErrorKinds, r.FirstErrors, test.fails)
			}
			if got := slices.Contains(r.Flags, load.FlagInsecure); got != (test.verify != nil && test.verify.Insecure) {
				t.Errorf("flags %v", r.Flags)
			}
		})
	}
}

// Errors over TLS are of the same kinds as without.
func TestTLSErrors(t *testing.T) {
	_, verify, _ := startTLS(t, func(http.ResponseWriter, *http.Request) {})
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	defer certificate.Close()
	server := func(handle func(*tls.Conn, *rawServer)) func(*rawServer, *net.TCPConn) {
		return func(s *rawServer, c *net.TCPConn) {
			secure := tls.Server(c, certificate.TLS)
			buffer := make([]byte, 4096)
			if n, _ := secure.Read(buffer); n > 0 {
				handle(secure, s)
			}
		}
	}
	tests := map[string]struct {
		handle func(*rawServer, *net.TCPConn)
		kind   string
	}{
		"no TLS":              {func(_ *rawServer, c *net.TCPConn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad\r\n\r\n") }, load.ErrConnect},
		"no handshake":        {func(s *rawServer, c *net.TCPConn) { hang(s, c) }, load.ErrTimeout},
		"closes":              {server(func(c *tls.Conn, _ *rawServer) { _ = c.Close() }), load.ErrReset},
		"cuts off the answer": {server(func(c *tls.Conn, _ *rawServer) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nhalf") }), load.ErrTruncated},
		"resets in the answer": {server(func(c *tls.Conn, _ *rawServer) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
			_ = c.NetConn().(*net.TCPConn).SetLinger(0)
		}), load.ErrTruncated},
		"an answer to its end": {server(func(c *tls.Conn, _ *rawServer) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nwhole")
			_ = c.Close()
		}), ""},
		"never answers": {server(func(c *tls.Conn, s *rawServer) { hang(s, c.NetConn().(*net.TCPConn)) }), load.ErrTimeout},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSockets(t, test.handle)
			request := get("/")
			request.TLS = verify
			if test.kind == load.ErrTimeout {
				request.Timeout = 100 * time.Millisecond
			}
			r := mustFire(t, &Client{}, load.Job{URL: strings.Replace(s.url, "http:", "https:", 1), Request: request, Load: modes(2, false)["mt"]})
			if test.kind == "" && r.Replies != 2 || test.kind != "" && (r.ErrorKinds[test.kind] != 2 || r.Latency != nil) {
				t.Errorf("%d replies, errors %v (%v); want 2 of %q", r.Replies, r.ErrorKinds, r.FirstErrors, test.kind)
			}
		})
	}
}

// A kept connection that the server closed while it was idle costs a retry, also if
// the server announced it over TLS.
func TestTLSRetryOnIdleClose(t *testing.T) {
	url, verify, connections := startTLS(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_ = c.Close()
	})
	request := get("/")
	request.TLS = verify
	r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: modes(5, true)["single"]})
	if r.Replies != 5 || r.Errors != 0 || r.Retries != 4 || connections.Load() != 5 {
		t.Errorf("%d replies, errors %v, %d retries, %d connections; want 5, none, 4, 5", r.Replies, r.FirstErrors, r.Retries, connections.Load())
	}
}

// strangersCertificate is an authority that signed nothing.
const strangersCertificate = `-----BEGIN CERTIFICATE-----
MIIBSDCB76ADAgECAgEBMAoGCCqGSM49BAMCMBMxETAPBgNVBAMTCHN0cmFuZ2Vy
MCAXDTcwMDEwMTAwMDAwMFoYDzIxMDAwMTAxMDAwMDAwWjATMREwDwYDVQQDEwhz
dHJhbmdlcjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCE4xr3yN2HJqiZXIjWy
Za4UTHyAq1xf/OoB7UsFUQ9jzzB5r3bowm8aODEjZBdX8t6whsnMfYx8YwEkvRXj
OhujMjAwMA8GA1UdEwEB/wQFMAMBAf8wHQYDVR0OBBYEFFNSZDiN4EWX1+IREeJK
WmDBcUbdMAoGCCqGSM49BAMCA0gAMEUCIGcQ0hQtDp/7fPy3dPvFuzZx+vJABxZG
QT/mOo1po+O2AiEA3Up8xEpM2A+wxpEg1J/yUOaB170zP2+0F0+30lMSfCM=
-----END CERTIFICATE-----
`
