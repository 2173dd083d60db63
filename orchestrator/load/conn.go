package load

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A conn is one client's connection, made anew or kept from request to
// request. The socket is made by hand because package net asks the kernel for
// the socket's names and sets options that nobody needs here, seven system
// calls for each connection; waiting and deadlines are the runtime's.
//
// It is used by one goroutine; only interrupt may come from another.
type conn struct {
	clock  clock
	family int
	peer   unix.Sockaddr

	mu          sync.Mutex // guards file and interrupted
	file        *os.File   // nil while not connected
	interrupted bool

	raw      syscall.RawConn
	deadline instant // of the request under way
	armed    instant // when the runtime's timer ends a wait; 0 when there is none

	// One system call each, told to the runtime as a function. They are made
	// once, so that a request allocates none.
	connectCall, writeCall, readCall func(fd uintptr) bool

	out     []byte // what writeCall has still to send
	in      []byte // where readCall reads to
	n       int    // what readCall read
	callErr error  // of the last call

	sent, received int64 // bytes, over all connections
}

func newConn(c clock, peer netip.AddrPort) (*conn, error) {
	k := &conn{clock: c}
	address := peer.Addr().Unmap()
	if address.Is4() {
		k.family, k.peer = unix.AF_INET, &unix.SockaddrInet4{Port: int(peer.Port()), Addr: address.As4()}
	} else {
		to := &unix.SockaddrInet6{Port: int(peer.Port()), Addr: address.As16()}
		if zone := address.Zone(); zone != "" {
			device, err := net.InterfaceByName(zone)
			if err != nil {
				return nil, fmt.Errorf("zone of address %s: %w", address, err)
			}
			to.ZoneId = uint32(device.Index)
		}
		k.family, k.peer = unix.AF_INET6, to
	}
	k.connectCall, k.writeCall, k.readCall = k.tryConnect, k.tryWrite, k.tryRead
	return k, nil
}

// open connects. Its error is of kind connect, or timeout.
func (k *conn) open() error {
	fd, err := newSocket(k.family)
	if err != nil {
		return failed(ErrConnect, "%v", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		_ = unix.Close(fd)
		return failed(ErrConnect, "set TCP_NODELAY: %v", err)
	}
	done := k.tryConnect(uintptr(fd))
	file := os.NewFile(uintptr(fd), "connection")
	k.mu.Lock()
	k.file, k.armed = file, 0
	k.mu.Unlock()
	if k.raw, err = file.SyscallConn(); err != nil {
		return failed(ErrConnect, "%v", err)
	}
	if !done {
		if err := k.wait(k.raw.Write, k.connectCall); err != nil {
			return timedOutOr(err, ErrConnect, "connecting")
		}
	}
	if k.callErr != nil {
		return failed(ErrConnect, "%v", os.NewSyscallError("connect", k.callErr))
	}
	return nil
}

// tryConnect begins to connect, or finds out how that went. On loopback the
// second call, made at once, already finds the connection made, which spares
// the wait.
func (k *conn) tryConnect(fd uintptr) bool {
	for range 2 {
		k.callErr = unix.Connect(int(fd), k.peer)
		switch k.callErr {
		case unix.EISCONN:
			k.callErr = nil
			return true
		case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
			continue
		}
		return true
	}
	return false
}

// write sends all of b.
func (k *conn) write(b []byte) error {
	k.out = b
	if err := k.wait(k.raw.Write, k.writeCall); err != nil {
		return err
	}
	return k.callErr
}

func (k *conn) tryWrite(fd uintptr) bool {
	for len(k.out) > 0 {
		n, err := unix.Write(int(fd), k.out)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return false
		case err != nil:
			k.callErr = err
			return true
		}
		k.out = k.out[n:]
		k.sent += int64(n)
	}
	k.callErr = nil
	return true
}

// read reads at least one byte, or gives an error: io.EOF at the end.
func (k *conn) read(b []byte) (int, error) {
	k.in = b
	if err := k.wait(k.raw.Read, k.readCall); err != nil {
		return 0, err
	}
	if k.callErr != nil {
		return 0, k.callErr
	}
	return k.n, nil
}

func (k *conn) tryRead(fd uintptr) bool {
	for {
		k.n, k.callErr = unix.Read(int(fd), k.in)
		switch {
		case k.callErr == unix.EINTR:
			continue
		case k.callErr == unix.EAGAIN:
			return false
		case k.callErr == nil && k.n == 0:
			k.callErr = io.EOF
		case k.callErr == nil:
			k.received += int64(k.n)
		}
		return true
	}
}

// wait lets the runtime repeat a call until it is done or the request's
// deadline has passed. The runtime's timer is moved only when it is missing or
// has gone off too early: on a kept connection that is once for each time-out's
// length, instead of once for each request.
func (k *conn) wait(until func(func(uintptr) bool) error, call func(uintptr) bool) error {
	for {
		now := k.clock.now()
		if now >= k.deadline {
			return os.ErrDeadlineExceeded
		}
		if k.armed <= now || k.armed > k.deadline {
			if err := k.arm(now); err != nil {
				return err
			}
		}
		err := until(call)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		k.armed = 0
		k.mu.Lock()
		interrupted := k.interrupted
		k.mu.Unlock()
		if interrupted {
			return errInterrupted
		}
	}
}

// errInterrupted ends a request whose batch was stopped; it is no failure of
// the request and is not counted.
var errInterrupted = errors.New("the batch was stopped")

// arm sets the runtime's timer to the request's deadline.
func (k *conn) arm(now instant) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.interrupted {
		return errInterrupted
	}
	k.armed = k.deadline
	return k.file.SetDeadline(time.Now().Add(k.deadline.sub(now)))
}

// interrupt ends what the connection waits for, and every wait to come.
func (k *conn) interrupt() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.interrupted = true
	if k.file != nil {
		_ = k.file.SetDeadline(time.Unix(1, 0))
	}
}

// connected reports whether there is a connection.
func (k *conn) connected() bool { return k.file != nil }

// close ends the connection, if there is one. With abort it is reset instead
// of closed, which leaves no TIME_WAIT behind.
func (k *conn) close(abort bool) {
	if k.file == nil {
		return
	}
	if abort {
		_ = k.raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		})
	}
	k.mu.Lock()
	file := k.file
	k.file = nil
	k.mu.Unlock()
	_ = file.Close()
}

// timedOutOr is err as a failure: of kind timeout when the deadline passed
// while doing something, otherwise of the given kind. An interruption stays
// what it is.
func timedOutOr(err error, kind, doing string) error {
	switch {
	case errors.Is(err, errInterrupted):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return failed(ErrTimeout, "the time-out passed while %s", doing)
	}
	return failed(kind, "%s: %v", doing, err)
}
