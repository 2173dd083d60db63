//go:build linux

package native

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

// A receiver is what a call that reads a socket needs beside the bytes.
type receiver struct {
	header  unix.Msghdr
	bytes   unix.Iovec
	control [8]uint64 // what the kernel says beside the bytes; aligned as it has to be
}

// receive reads what there is. stamp is when the last of it reached this machine,
// in nanoseconds since 1970, or 0 where the kernel does not say.
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

// reordered is how many packets a connection has got before others that had been
// sent earlier: lost ones, mostly, which were sent again.
func reordered(fd int) (uint32, error) {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, err
	}
	return info.Rcv_ooopack, nil
}

// stamp has the kernel say when the bytes read from a socket arrived. For TCP it is
// the moment at which the packet with the last byte of it came from the network's
// driver (Documentation/networking/timestamping.rst of Linux), though packets with
// others may have come after that: see reordered.
func stamp(fd int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
}

// stampingSocket is a socket, never connected, that asks for stamps; -1 where the
// kernel has none.
func stampingSocket() int {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		fd, err := newSocket(family)
		if err != nil {
			continue
		}
		if stamp(fd) == nil {
			return fd
		}
		closeSocket(fd)
	}
	return -1
}

func closeSocket(fd int) { _ = unix.Close(fd) }

// sendFileFrom is from which length on a request is sent from the arena's file
// instead of from memory, in bytes: sparing the copy of 100 KB spares a sixth
// of what such a request costs the client, and its bytes need not be mapped.
// For a short request the call costs more than the copy.
const sendFileFrom = 32 << 10

// sendFile sends a part of a file. The socket refers to the file's own pages,
// which are copied only once, by the receiver. They must not change
// before they have arrived.
func sendFile(fd, file int, offset int64, length int) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDFILE, uintptr(fd), uintptr(file), uintptr(unsafe.Pointer(&offset)), uintptr(length), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
