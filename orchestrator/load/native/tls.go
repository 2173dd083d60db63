//go:build linux

package native

import (
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// A tlsSocket is a conn's socket as crypto/tls uses it. Reads and writes wait as the
// conn's own do, by giving the thread to the other clients. The engine looks after
// deadlines, and the conn closes the socket.
type tlsSocket struct {
	net.Conn // nil: crypto/tls calls none of its other methods here
	conn     *conn
}

func (s tlsSocket) Read(b []byte) (int, error) {
	n, err := s.conn.readSocket(b)
	if err == io.EOF {
		// crypto/tls would take this for an end that the server announced, and a body
		// that was cut off would pass for a whole one (RFC 8446, section 6.1).
		err = errCutOff
	}
	return n, err
}

// errCutOff is the end of a connection that TLS did not announce.
var errCutOff = errors.New("the connection was cut off")

func (s tlsSocket) Write(b []byte) (int, error) {
	if s.conn.closing {
		// This announces the end of a connection. Nobody has to hear it.
		if n, err := send(s.conn.fd, b); err != nil || n < len(b) {
			return n, errors.Join(err, unix.EAGAIN)
		}
		return len(b), nil
	}
	if err := s.conn.writeSocket(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (tlsSocket) Close() error                     { return nil }
func (tlsSocket) SetWriteDeadline(time.Time) error { return nil }
