//go:build linux

package native

import (
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// A tlsSocket is a conn's socket as crypto/tls uses it. Reads and writes wait
// as the conn's own do: by giving the thread to the other clients. Deadlines
// are the request's, which the engine looks after.
type tlsSocket struct{ conn *conn }

func (s tlsSocket) Read(b []byte) (int, error) {
	n, err := s.conn.readSocket(b)
	if err == io.EOF {
		// crypto/tls takes this for the end that the server has to announce: a
		// body that was cut off would pass for a whole one (RFC 8446, section 6.1).
		err = errCutOff
	}
	return n, err
}

// errCutOff is the end of a connection that TLS did not announce.
var errCutOff = errors.New("the connection was cut off")

func (s tlsSocket) Write(b []byte) (int, error) {
	if s.conn.closing {
		// The goodbye of a connection: nobody has to hear it.
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

func (tlsSocket) Close() error                     { return nil } // the conn closes the socket
func (tlsSocket) LocalAddr() net.Addr              { return noAddress{} }
func (tlsSocket) RemoteAddr() net.Addr             { return noAddress{} }
func (tlsSocket) SetDeadline(time.Time) error      { return nil }
func (tlsSocket) SetReadDeadline(time.Time) error  { return nil }
func (tlsSocket) SetWriteDeadline(time.Time) error { return nil }

// noAddress is the address of a tlsSocket. Nothing reads it.
type noAddress struct{}

func (noAddress) Network() string { return "tls" }
func (noAddress) String() string  { return "" }
