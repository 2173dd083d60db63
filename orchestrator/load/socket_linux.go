package load

import (
	"os"

	"golang.org/x/sys/unix"
)

// newSocket is a TCP socket that does not block and is not inherited.
func newSocket(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	return fd, os.NewSyscallError("socket", err)
}
