//go:build linux

package native

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios/show"
)

// A conn is one client's connection, made anew or kept from request to
// request. Sockets are used by hand: package net makes seven system calls more
// for each connection, and its poller two more for each wait.
//
// A client that waits gives the thread to the engine's other clients by pause,
// and goes on when the engine says that the connection changed, or that the
// request's time-out has passed.
type conn struct {
	clock    clock
	poller   *poller
	arrivals *arrivals
	token    int // of its client
	family   int
	peer     unix.Sockaddr

	config *tls.Config // of connections that are encrypted; nil otherwise
	secure *tls.Conn   // over the socket; nil otherwise

	fd      int               // -1 while not connected
	closing bool              // no call waits any more
	pause   func() (end bool) // returns when something changed; end: the batch was stopped
	waiting bool              // inside pause, for the connection

	begun    instant          // when the request under way was sent
	deadline instant          // of the request under way
	expired  bool             // set by the engine: deadline has passed
	again    instant          // when to be resumed though nothing changed; 0: never
	look     func(at instant) // tells the engine of again

	// What the kernel said about the connection since it was last tried.
	readable, writable bool
	ended              bool // the other side sends no more: read until its end

	watchesRoom bool   // the poller watches for room to write
	reordered   uint32 // packets that had come before others that were sent earlier, when that was last asked
	unread      bool   // the other side threw away what was sent: it had closed the connection

	// Of the answer under way; 0 before.
	firstByte instant // when its first bytes had arrived
	arrived   instant // when all that was read had arrived
	taken     instant // when they were read, where it is known when they arrived; 0 otherwise

	sent, received int64 // bytes, over all connections, as they are on the wire: TLS's own included
}

func newConn(c clock, p *poller, a *arrivals, token int, peer unix.Sockaddr, family int, config *tls.Config) *conn {
	return &conn{clock: c, poller: p, arrivals: a, token: token, peer: peer, family: family, config: config, fd: -1}
}

// sockaddr is an address as system calls take it, and its family.
func sockaddr(peer netip.AddrPort) (unix.Sockaddr, int, error) {
	address := peer.Addr().Unmap()
	if address.Is4() {
		return &unix.SockaddrInet4{Port: int(peer.Port()), Addr: address.As4()}, unix.AF_INET, nil
	}
	to := &unix.SockaddrInet6{Port: int(peer.Port()), Addr: address.As16()}
	if zone := address.Zone(); zone != "" {
		device, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, 0, fmt.Errorf("zone of address %s: %w", address, err)
		}
		to.ZoneId = uint32(device.Index)
	}
	return to, unix.AF_INET6, nil
}

// open connects; with TLS the handshake is part of it. Its error is of kind
// connect, or timeout, or a localError.
func (k *conn) open() error {
	fd, err := newSocket(k.family)
	if err != nil {
		return &localError{err, "raise the limit of open files (ulimit -n), or take fewer connections"}
	}
	if k.family != unix.AF_UNIX {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			_ = unix.Close(fd)
			return load.Failed(load.ErrConnect, "set TCP_NODELAY: %v", err)
		}
		k.arrivals.watch(fd)
	}
	k.fd = fd
	k.readable, k.writable, k.ended, k.watchesRoom, k.closing, k.reordered = false, false, false, false, false, 0
	done, err := k.connect()
	if watched := k.poller.add(fd, k.token); watched != nil {
		return load.Failed(load.ErrConnect, "%v", watched)
	}
	for !done && (err == nil || err == unix.EAGAIN) {
		waited := k.awaitRoom
		if err == unix.EAGAIN {
			waited = k.awhile // a unix socket whose backlog is full: the kernel does not say when there is room
		}
		if err := waited(); err != nil {
			return timedOutOr(err, load.ErrConnect, "connecting")
		}
		done, err = k.connect()
	}
	if err == unix.EADDRNOTAVAIL {
		return &localError{os.NewSyscallError("connect", err),
			"closed connections keep their ports for a minute; keep connections alive, send fewer requests, or widen net.ipv4.ip_local_port_range"}
	}
	if err != nil {
		return load.Failed(load.ErrConnect, "%v", os.NewSyscallError("connect", err))
	}
	if k.config == nil {
		return nil
	}
	// No session is resumed: what a new connection costs a server is measured.
	k.secure = tls.Client(tlsSocket{k}, k.config)
	if err := k.secure.Handshake(); err != nil {
		return timedOutOr(err, load.ErrConnect, "the TLS handshake")
	}
	return nil
}

// connect begins to connect, or finds out how that went. On loopback the
// second call, made at once, already finds the connection made, which spares
// the wait.
func (k *conn) connect() (done bool, err error) {
	for range 2 {
		switch err := unix.Connect(k.fd, k.peer); err {
		case nil, unix.EISCONN:
			return true, nil
		case unix.EINPROGRESS, unix.EALREADY, unix.EINTR:
		default:
			return false, err
		}
	}
	return false, nil
}

// write sends all of b.
func (k *conn) write(b []byte) error {
	if k.secure != nil {
		_, err := k.secure.Write(b)
		return err
	}
	return k.writeSocket(b)
}

// writeSocket sends all of b as it is.
func (k *conn) writeSocket(b []byte) error {
	for len(b) > 0 {
		n, err := send(k.fd, b)
		b = b[n:]
		k.sent += int64(n)
		switch err {
		case nil, unix.EINTR:
		case unix.EAGAIN:
			if err := k.awaitRoom(); err != nil {
				return err
			}
			if k.answered() {
				return errAnswered
			}
		default:
			k.unread = gone(err)
			return err
		}
	}
	return nil
}

// writeFile sends a part of a file as write sends bytes.
func (k *conn) writeFile(file int, part span) error {
	for part.Length > 0 {
		n, err := sendFile(k.fd, file, part.Offset, part.Length)
		part.Offset += int64(n)
		part.Length -= n
		k.sent += int64(n)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if err := k.awaitRoom(); err != nil {
				return err
			}
			if k.answered() {
				return errAnswered
			}
		case err != nil:
			k.unread = gone(err)
			return err
		case n == 0:
			return io.ErrUnexpectedEOF // the file is shorter than its requests
		}
	}
	return nil
}

// awaitRoom returns when there may be room to write.
func (k *conn) awaitRoom() error {
	if !k.watchesRoom {
		k.watchesRoom = true
		if err := k.poller.addWriting(k.fd, k.token); err != nil {
			return err
		}
	}
	if !k.writable {
		// Whatever happened, the call is tried again.
		if err := k.wait(); err != nil {
			return err
		}
	}
	k.writable = false
	return nil
}

// read reads at least one byte, or gives an error: io.EOF at the end.
func (k *conn) read(b []byte) (n int, err error) {
	if k.secure != nil {
		n, err = k.secure.Read(b)
		if err == io.EOF {
			k.unread = true // TLS says that it ends; who dies says nothing
		}
	} else {
		n, err = k.readSocket(b)
	}
	if n > 0 && k.firstByte == 0 {
		if k.arrived == 0 { // it was read, and decrypted, together with the answer before
			return 0, load.Failed(load.ErrProtocol, "the server had sent an answer on an idle connection, which nobody asked for")
		}
		k.firstByte = k.arrived
	}
	return n, err
}

// readSocket reads what comes as it is. It waits before it tries, because an
// answer is hardly ever there when the request has just been sent.
func (k *conn) readSocket(b []byte) (int, error) {
	for {
		for !k.readable && !k.ended {
			if err := k.wait(); err != nil {
				return 0, err
			}
		}
		n, stamp, err := k.arrivals.receiver.receive(k.fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			k.readable, k.ended = false, false
		case err != nil:
			k.unread = gone(err)
			return 0, err
		case n == 0:
			k.unread = k.unread || gone(socketError(k.fd))
			k.arrived, k.taken = 0, 0 // nothing says when the end came
			return 0, io.EOF
		default:
			if n < len(b) {
				k.readable = false // all is read; the kernel tells of more
			}
			k.received += int64(n)
			k.took(stamp)
			return n, nil
		}
	}
}

// begin is for the start of a request.
func (k *conn) begin(at instant, timeout time.Duration) {
	k.begun, k.deadline, k.expired, k.again = at, at+instant(timeout), false, 0
	k.firstByte, k.arrived, k.taken, k.unread = 0, 0, 0, false
}

// recheckFrom is how long bytes may have lain here without a look at whether they
// came in order: it costs a call of the kernel.
const recheckFrom = instant(500 * time.Microsecond)

// took takes note of when bytes arrived, and of when they were read.
func (k *conn) took(stamp int64) {
	arrived, now, known := k.arrivals.at(stamp)
	if known && now-arrived > recheckFrom {
		// The stamp is of the last byte, which may have come before others did.
		if n, err := reordered(k.fd); err != nil || n != k.reordered {
			arrived, known, k.reordered = now, false, n
		}
	}
	k.arrived, k.taken = max(arrived, k.arrived, k.begun), 0
	if known {
		k.taken = now
	}
}

// errAnswered ends the sending of a request that is answered already.
var errAnswered = errors.New("the server answered before it had read the request")

// answered reports whether an answer came while there was no room for the rest
// of the request. It tells that to the one who sends: whoever encrypts reads
// other things too.
func (k *conn) answered() bool { return k.secure == nil && !k.writable && k.readable }

// idle looks at a kept connection before it is used again: whether the server
// has closed it meanwhile. What it sent without being asked is an error, but for
// a 408, with which a server says that it closes.
func (k *conn) idle() (closed bool, err error) {
	var early [64]byte
	n, err := peek(k.fd, early[:])
	switch {
	case err == unix.EAGAIN:
		k.readable, k.ended = false, false
		return false, nil
	case err != nil || n == 0 || k.secure != nil: // of TLS it is the end, in its own words
		return true, nil
	}
	if h, err := parseStatusLine(early[:min(n, len("HTTP/1.1 408"))]); err == nil && h.status == http.StatusRequestTimeout {
		return true, nil
	}
	return false, load.Failed(load.ErrProtocol, "the server had sent %s on an idle connection, which nobody asked for", show.Quote(early[:n]))
}

// peek gives what can be read, and leaves it there.
func peek(fd int, b []byte) (int, error) {
	n, _, err := unix.Recvfrom(fd, b, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return max(n, 0), err
}

// socketError is the pending error of a socket. Reading it clears it.
func socketError(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || code == 0 {
		return err
	}
	return unix.Errno(code)
}

// gone reports whether an error says that the other side had closed the
// connection before it took what was sent.
func gone(err error) bool { return err == unix.ECONNRESET || err == unix.EPIPE }

// A localError is why this machine cannot send: no measurement of a server
// can be made with it.
type localError struct {
	err    error
	remedy string
}

func (e *localError) Error() string {
	return "the client's machine: " + e.err.Error() + "; " + e.remedy
}
func (e *localError) Unwrap() error { return e.err }

// retryEvery is how often a connection is tried that the kernel says nothing about.
const retryEvery = instant(time.Millisecond)

// awhile returns after a moment.
func (k *conn) awhile() error {
	k.again = k.clock.now() + retryEvery
	k.look(k.again)
	err := k.wait()
	k.again = 0
	return err
}

// wait returns when the connection changed, or with an error when the
// request's time-out passed or the batch was stopped.
func (k *conn) wait() error {
	if k.expired {
		return os.ErrDeadlineExceeded
	}
	k.waiting = true
	end := k.pause()
	k.waiting = false
	switch {
	case end:
		return errInterrupted
	case k.expired:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// told takes note of an event.
func (k *conn) told(e pollEvent) {
	k.readable = k.readable || e.readable
	k.writable = k.writable || e.writable
	k.ended = k.ended || e.ended
}

// errInterrupted ends a request whose batch was stopped; it is no failure of
// the request and is not counted.
var errInterrupted = errors.New("the batch was stopped")

// connected reports whether there is a connection.
func (k *conn) connected() bool { return k.fd >= 0 }

// close ends the connection, if there is one. With abort it is reset instead
// of closed, which leaves no TIME_WAIT behind.
func (k *conn) close(abort bool) {
	if k.fd < 0 {
		return
	}
	if k.secure != nil {
		if !abort {
			k.closing = true
			_ = k.secure.Close() // says that nothing more comes
		}
		k.secure = nil
	}
	if abort {
		_ = unix.SetsockoptLinger(k.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(k.fd)
	k.fd = -1
}

// timedOutOr is err as a failure: of kind timeout when the deadline passed
// while doing something, otherwise of the given kind. An interruption stays
// what it is.
func timedOutOr(err error, kind, doing string) error {
	switch {
	case errors.Is(err, errInterrupted):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return load.Failed(load.ErrTimeout, "the time-out passed while %s", doing)
	}
	return load.Failed(kind, "%s: %v", doing, err)
}
