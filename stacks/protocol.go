package stacks

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// firstBytes are those that a probe's connections received first. nginx passes on
// what is not HTTP as it came.
type firstBytes struct {
	mu    sync.Mutex
	bytes []byte
}

const firstSize = 24 // enough to know a protocol by

// A heardConn notes the first bytes that it receives.
type heardConn struct {
	net.Conn
	first *firstBytes
}

func (c heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.first.mu.Lock()
	defer c.first.mu.Unlock()
	c.first.bytes = append(c.first.bytes, p[:min(n, firstSize-len(c.first.bytes))]...)
	return n, err
}

// otherProtocol says that what answered a probe of the stack does not speak HTTP as
// the spec asks for; nil if it may. failed is the probe's error.
func (f *firstBytes) otherProtocol(ctx context.Context, spec Spec, stack Stack, failed error) error {
	f.mu.Lock()
	first := bytes.Clone(f.bytes)
	f.mu.Unlock()
	speaks, remedy := "", "let the service's command serve HTTP/1.1 there, or set app.port, or the service's port, to the one where it does"
	switch {
	case spec.TLS != nil && bytes.HasPrefix(first, []byte("HTTP/")):
		speaks, remedy = "HTTP without TLS", "remove tls from the topology, or let its command have a certificate"
	case spec.TLS != nil || bytes.HasPrefix(first, []byte("HTTP/")) && !asksForTLS(failed):
	case asksForTLS(failed), len(first) > 2 && (first[0] == 0x15 || first[0] == 0x16) && first[1] == 3, len(first) == 0 && closedUnanswered(failed) && shakesHands(ctx, stack):
		speaks, remedy = "TLS", "write tls: true into the topology, whose command has to be of its own then, or start the server without its certificate"
	case len(first) >= 9 && first[3] == 4 && bytes.Equal(first[5:9], make([]byte, 4)): // a frame SETTINGS: RFC 9113, 4.1 and 6.5
		speaks = "HTTP/2 alone, as gRPC does"
	case len(first) >= len("HTTP/"):
		speaks = "no HTTP"
	}
	if speaks == "" {
		return nil
	}
	if len(first) > 0 {
		speaks += fmt.Sprintf(" (its answer begins with %q)", first)
	}
	return fmt.Errorf("%w: what answers at %s speaks %s: %s", ErrElsewhere, stack.URL(), speaks, remedy)
}

// asksForTLS reports whether an answer says that it was asked without TLS, in the
// words of Go, nginx or Apache.
func asksForTLS(failed error) bool {
	text := fmt.Sprint(failed)
	return strings.Contains(text, "HTTP request to an HTTPS server") || strings.Contains(text, "HTTP request was sent to HTTPS port") || strings.Contains(text, "plain HTTP to an SSL-enabled")
}

func closedUnanswered(failed error) bool {
	return errors.Is(failed, io.EOF) || errors.Is(failed, syscall.ECONNRESET)
}

// shakesHands reports whether a server begins a TLS handshake, whatever becomes of it.
func shakesHands(ctx context.Context, stack Stack) bool {
	u, err := url.Parse(stack.URL())
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	conn, err := dialEntry(ctx, stack, u.Host)
	if err != nil {
		return false
	}
	defer conn.Close()
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) // nothing is sent or believed
	var alert tls.AlertError
	var remote *net.OpError // of an alert that the server sent
	return err == nil || errors.As(err, &alert) || errors.As(err, &remote) && remote.Op == "remote error"
}
