package load

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newSocket is a stream socket that does not block and is not inherited.
func newSocket(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return fd, os.NewSyscallError("socket", err)
}

// send and receive are the calls that every request makes. The runtime is not
// told of them, because they cannot block.

func send(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func receive(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sendFileFrom is from which length on a request is sent from the arena's file
// instead of from memory, in bytes: sparing the copy of 100 KB spares a sixth
// of what such a request costs the client, and its bytes need not be mapped.
// What a short one would spare is less than what the call costs more.
const sendFileFrom = 32 << 10

// sendFile sends a part of a file. The socket refers to the file's own pages,
// which are copied only once, by the receiver. What is sent must not change
// before it has arrived.
func sendFile(fd, file int, offset int64, length int) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDFILE, uintptr(fd), uintptr(file), uintptr(unsafe.Pointer(&offset)), uintptr(length), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
