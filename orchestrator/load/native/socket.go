//go:build linux

package native

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newSocket makes a stream socket that does not block and is not inherited.
func newSocket(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return fd, os.NewSyscallError("socket", err)
}

// send and receive are the calls that every request makes. They do not tell Go's
// runtime, because they cannot block.

func send(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// A receiver is what a call that reads a socket needs beside the buffer.
type receiver struct {
	header  unix.Msghdr
	bytes   unix.Iovec
	control [8]uint64 // for what the kernel says beside the bytes, and aligned for it
}

// receive reads what there is. stamp is when the last byte of it reached this
// machine, in nanoseconds since 1970; 0: the kernel does not say.
func (r *receiver) receive(fd int, b []byte) (n int, stamp int64, err error) {
	r.bytes.Base = unsafe.SliceData(b)
	r.bytes.SetLen(len(b))
	r.header.Iov, r.header.Iovlen = &r.bytes, 1
	r.header.Control = (*byte)(unsafe.Pointer(&r.control))
	r.header.SetControllen(int(unsafe.Sizeof(r.control)))
	got, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.header)), 0)
	if errno != 0 {
		return 0, 0, errno
	}
	const size = int(unsafe.Sizeof(unix.Timespec{}))
	if said := (*unix.Cmsghdr)(unsafe.Pointer(&r.control)); int(r.header.Controllen) >= unix.CmsgLen(size) &&
		said.Level == unix.SOL_SOCKET && said.Type == unix.SCM_TIMESTAMPNS {
		stamp = (*unix.Timespec)(unsafe.Add(unsafe.Pointer(&r.control), unix.CmsgLen(0))).Nano()
	}
	return int(got), stamp, nil
}

// reordered is how many packets of a connection have come before others that were
// sent earlier. Most of those others were lost and sent again.
func reordered(fd int) (uint32, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, err
	}
	return info.Rcv_ooopack, nil
}

// stamp makes the kernel say when the bytes read from a socket arrived. For TCP it is
// the moment at which the packet with the last byte came from the network driver
// (Linux, Documentation/networking/timestamping.rst). Packets with earlier bytes may
// have come after it: see reordered.
func stamp(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
}

// stampingSocket is a socket that asks for stamps and is never connected; -1: the
// kernel cannot stamp.
func stampingSocket() int {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		fd, err := newSocket(family)
		if err != nil {
			continue
		}
		if stamp(fd) == nil {
			return fd
		}
		_ = unix.Close(fd)
	}
	return -1
}

// sendFileFrom is the length from which on a request is sent from the arena's file
// instead of from memory, in bytes. Not copying 100 KB saves a sixth of what such a
// request costs the client, and its bytes need not be in this process's memory. For
// a short request the call costs more than the copy.
const sendFileFrom = 32 << 10

// sendFile sends a part of a file. The socket refers to the file's own pages, and
// only the receiver copies them. They must not change before they have arrived.
func sendFile(fd, file int, offset int64, length int) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDFILE, uintptr(fd), uintptr(file), uintptr(unsafe.Pointer(&offset)), uintptr(length), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
