package remote

import (
	"context"
	"io"
	"net"
	"time"
)

// connectFor is how long a connection may take to be made.
const connectFor = 10 * time.Second

// Connect connects an address to a stream: for the other side, which may not reach it. It
// writes one byte once the connection is there. It returns when either of the two ends.
func Connect(ctx context.Context, address string, from io.Reader, to io.Writer) error {
	dialer := net.Dialer{Timeout: connectFor}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := to.Write([]byte{0}); err != nil {
		return err
	}
	go func() {
		// Whoever closes the stream reads no answer any more.
		defer conn.Close()
		_, _ = io.Copy(conn, from)
	}()
	_, err = io.Copy(to, conn)
	return err
}
