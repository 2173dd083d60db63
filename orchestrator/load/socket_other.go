//go:build unix && !linux

package load

import (
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// newSocket is a stream socket that does not block and is not inherited. The
// fork lock keeps a process started at this moment from inheriting it.
func newSocket(family int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

func send(fd int, b []byte) (int, error) { return unix.Write(fd, b) }

// A receiver needs nothing here.
type receiver struct{}

// receive reads what there is. When it arrived is not known.
func (receiver) receive(fd int, b []byte) (n int, stamp int64, err error) {
	n, err = unix.Read(fd, b)
	return n, 0, err
}

func reordered(int) (uint32, error) { return 0, unix.ENOSYS }

func stamp(int) error { return unix.ENOSYS }

func stampingSocket() int { return -1 }

func closeSocket(fd int) { _ = unix.Close(fd) }

// sendFileFrom: every request is sent from memory.
const sendFileFrom = math.MaxInt

func sendFile(int, int, int64, int) (int, error) { return 0, unix.ENOSYS }
