//go:build linux

package process

import (
	"fmt"

	"golang.org/x/sys/unix"

	"stackmeter/stacks"
)

const loopback = "127.0.0.1"

// A reservation holds a free port by a socket that is bound and does not listen.
// The kernel then gives the port to nobody who asks for any port. A server that
// asks for this port with SO_REUSEADDR can listen on it, as the servers and
// proxies of package servers do, and no other process can be faster.
type reservation struct {
	fd   int
	port int
}

func reserve() (*reservation, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("reserve a port: %w", err)
	}
	r := &reservation{fd: fd}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(fd)
	}
	if at, ok := name.(*unix.SockaddrInet4); err == nil && ok {
		r.port = at.Port
		return r, nil
	}
	r.release()
	return nil, fmt.Errorf("reserve a port on %s: %w", loopback, err)
}

// release gives the port back. It may be called more than once.
func (r *reservation) release() {
	if r.fd >= 0 {
		_ = unix.Close(r.fd)
		r.fd = -1
	}
}

// shares reports whether a service is known to set SO_REUSEADDR: its port can then
// stay reserved while it listens. For any other program the reservation ends
// right before the start.
func shares(s stacks.Service) bool { return s.Proxy != nil || s.Module != "" }
