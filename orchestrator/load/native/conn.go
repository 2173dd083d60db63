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
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios/show"
)

// A conn is one client's connection, made for each request or kept. It makes the
// socket's system calls itself: package net makes seven more for each connection,
// and its poller two more for each wait.
//
// A client that waits gives the thread to the engine's other clients by pause. It
// goes on when the engine says that the connection has changed or that the request
// has timed out.
type conn struct {
	engine *engine
	token  int // of its client

	fd      int               // -1 while not connected
	secure  *tls.Conn         // over the socket; nil: plain
	closing bool              // no call waits any more
	pause   func() (end bool) // returns when something has changed; end: the batch was stopped
	waiting bool              // inside pause, for the connection

	begun    instant // when the request under way was sent
	deadline instant // of the request under way
	expired  bool    // set by the engine: deadline has passed
	again    instant // when to be resumed though nothing has changed; 0: never

	// What the kernel said about the connection since it was last tried.
	readable, writable bool
	ended              bool // the other side sends no more, or the connection broke: read until its end

	watchesRoom bool   // the poller watches for room to write
	reordered   uint32 // what reordered said when it was last asked
	unread      bool   // the other side had closed the connection before it took what was sent

	// Of the answer under way; 0: not known yet.
	firstByte instant // when its first bytes had arrived
	arrived   instant // when all bytes read so far had arrived
	taken     instant // when they were read, if their arrival is known; otherwise 0

	sent, received int64 // bytes on the wire over all connections, TLS's own included
	before         int64 // what sent was when the request under way began
}

// sockaddr is an address as system calls take it, and its family.
func sockaddr(peer netip.AddrPort) (unix.Sockaddr, int, error) {
	address := peer.Addr().Unmap()
	if address.Is4() {
		return &unix.SockaddrInet4{Port: int(peer.Port()), Addr: address.As4()}, unix.AF_INET, nil
	}
	to := &unix.SockaddrInet6{Port: int(peer.Port()), Addr: address.As16()}
	if zone := address.Zone(); zone != "" { // an interface's number or name
		number, err := strconv.ParseUint(zone, 10, 32)
		if err != nil {
			device, err := net.InterfaceByName(zone)
			if err != nil {
				return nil, 0, fmt.Errorf("zone of address %s: %w", address, err)
			}
			number = uint64(device.Index)
		}
		to.ZoneId = uint32(number)
	}
	return to, unix.AF_INET6, nil
}

// open connects. The TLS handshake is part of it. Its error is a Failure of kind
// connect or timeout, or a load.LocalError.
func (k *conn) open() error {
	e := k.engine
	fd, err := newSocket(e.family)
	if err != nil {
		return newFailure(err)
	}
	if e.family != unix.AF_UNIX {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			_ = unix.Close(fd)
			return load.Failed(load.ErrConnect, "set TCP_NODELAY: %v", err)
		}
		e.arrivals.watch(fd)
	}
	k.fd = fd
	k.readable, k.writable, k.ended, k.watchesRoom, k.closing, k.reordered = false, false, false, false, false, 0
	done, err := k.connect()
	if watched := e.poller.add(fd, k.token); watched != nil {
		return load.Failed(load.ErrConnect, "%v", watched)
	}
	for !done && (err == nil || err == unix.EAGAIN) {
		waited := k.awaitRoom
		if err == unix.EAGAIN {
			waited = k.awhile // the backlog of a unix socket is full, and the kernel does not say when there is room
		}
		if err := waited(); err != nil {
			return timedOutOr(err, load.ErrConnect, "connecting")
		}
		done, err = k.connect()
	}
	if err != nil {
		return newFailure(os.NewSyscallError("connect", err))
	}
	if e.secure == nil {
		return nil
	}
	// No session is resumed: a new connection costs the server a whole handshake.
	k.secure = tls.Client(tlsSocket{conn: k}, e.secure)
	if err := k.secure.Handshake(); err != nil {
		return timedOutOr(err, load.ErrConnect, "the TLS handshake")
	}
	return nil
}

// newFailure is why there is no connection: this machine's fault, or a Failure.
func newFailure(err error) error {
	if local := load.LocalErrorOf(err); local != nil {
		return local
	}
	return load.Failed(load.ErrConnect, "%v", err)
}

// connect begins to connect, or finds out how that went. On loopback a second call
// at once finds the connection made, and there is no need to wait.
func (k *conn) connect() (done bool, err error) {
	for range 2 {
		switch err := unix.Connect(k.fd, k.engine.peer); err {
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
	return k.sendAll(len(b), func(from int) (int, error) { return send(k.fd, b[from:]) })
}

// writeFile sends a part of a file, as write sends bytes.
func (k *conn) writeFile(file int, part span) error {
	return k.sendAll(part.Length, func(from int) (int, error) {
		return sendFile(k.fd, file, part.Offset+int64(from), part.Length-from)
	})
}

// sendAll calls some until it has sent all bytes. some sends at least one from a place
// on, or returns an error.
func (k *conn) sendAll(length int, some func(from int) (int, error)) error {
	for sent := 0; sent < length; {
		n, err := some(sent)
		sent += n
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
		if err := k.engine.poller.addWriting(k.fd, k.token); err != nil {
			return err
		}
	}
	var err error
	if !k.writable {
		err = k.wait() // whatever has changed, the caller tries again
	}
	k.writable = false
	return err
}

// read reads at least one byte or returns an error, io.EOF at the end.
func (k *conn) read(b []byte) (n int, err error) {
	if k.secure != nil {
		n, err = k.secure.Read(b)
		if err == io.EOF && k.arrived == 0 {
			k.unread = true // the end was announced together with the last answer
		} else if err == io.EOF {
			err = k.announced()
		}
	} else {
		n, err = k.readSocket(b)
	}
	if n > 0 && k.firstByte == 0 {
		if k.arrived == 0 { // it was read and decrypted together with the last answer
			return 0, load.Failed(load.ErrProtocol, "the server had sent an answer on an idle connection, which nobody asked for")
		}
		k.firstByte = k.arrived
	}
	return n, err
}

// readSocket reads the socket's bytes as they are. It waits before it tries, because
// an answer is hardly ever there when the request has just been sent.
func (k *conn) readSocket(b []byte) (int, error) {
	for {
		for !k.readable && !k.ended {
			if err := k.wait(); err != nil {
				return 0, err
			}
		}
		n, stamp, err := k.engine.arrivals.receiver.receive(k.fd, b)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			k.readable, k.ended = false, false
		case err != nil:
			k.unread = gone(err)
			return 0, err
		case n == 0:
			k.unread = k.unread || k.refused()
			k.arrived, k.taken = 0, 0 // the kernel does not say when the end came
			return 0, io.EOF
		default:
			if n < len(b) {
				k.readable = false // all is read, and the kernel reports more
			}
			k.received += int64(n)
			k.took(stamp)
			return n, nil
		}
	}
}

// begin resets what is known of the request and answer under way.
func (k *conn) begin(at instant, timeout time.Duration) {
	k.begun, k.deadline, k.expired, k.again = at, at+instant(timeout), false, 0
	k.before = k.sent
	k.firstByte, k.arrived, k.taken, k.unread = 0, 0, 0, false
}

// unacknowledged reports whether the other side has acknowledged nothing of the
// request. At the end of its stream that means that it closed before the request came:
// the end and the request have met on the way. The end's packet would acknowledge a
// request that was read.
func (k *conn) unacknowledged() bool {
	waiting, err := unix.IoctlGetInt(k.fd, unix.SIOCOUTQ)
	return err == nil && waiting > 0 && int64(waiting) >= k.sent-k.before
}

// endTries is how often to look, retryEvery apart, for the end that TLS has announced.
const endTries = 100

// announced is called when TLS has announced the end, which acknowledges a request that
// was read, or that was only in the server's kernel. Of the latter, the kernel resets
// the connection a moment later. It returns io.EOF, or why it could not wait.
func (k *conn) announced() error {
	for try := 0; try < endTries && !k.unacknowledged(); try++ {
		if info, err := unix.GetsockoptTCPInfo(k.fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil || info.State != unix.BPF_TCP_ESTABLISHED {
			break
		}
		if err := k.awhile(); err != nil {
			return err
		}
	}
	k.unread = k.refused()
	return io.EOF
}

// refused reports, at the end of the other side's stream, whether that had closed the
// connection before it took the request.
func (k *conn) refused() bool {
	code, _ := unix.GetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_ERROR) // reading it clears it
	return gone(unix.Errno(code)) || k.unacknowledged()
}

// recheckFrom is how long bytes may lie in the kernel before took asks whether they
// came in order, which costs a system call.
const recheckFrom = instant(500 * time.Microsecond)

// took records when bytes arrived and when they were read. stamp is the kernel's.
func (k *conn) took(stamp int64) {
	arrived, now, known := k.engine.arrivals.at(stamp)
	if known && now-arrived > recheckFrom {
		// The stamp is the last byte's, and earlier bytes may have come after it.
		if n, err := reordered(k.fd); err != nil || n != k.reordered {
			arrived, known, k.reordered = now, false, n
		}
	}
	k.arrived, k.taken = max(arrived, k.arrived, k.begun), 0
	if known {
		k.taken = now
	}
}

// errAnswered ends the sending of a request that has been answered.
var errAnswered = errors.New("the server answered before it had read the request")

// answered reports whether an answer came while there was no room for the rest of
// the request. With TLS it is never known: what can be read may be no answer.
func (k *conn) answered() bool { return k.secure == nil && !k.writable && k.readable }

// idle reports whether the server has closed a kept connection. It is an error if
// the server sent something that nobody asked for, except for a 408, with which a
// server says that it closes.
func (k *conn) idle() (closed bool, err error) {
	var early [64]byte
	n, err := peek(k.fd, early[:])
	switch {
	case err == unix.EAGAIN:
		k.readable, k.ended = false, false
		return false, nil
	case err != nil || n == 0 || k.secure != nil: // over TLS the server announces the end
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

// gone reports whether an error means that the other side had closed the connection
// before it took what was sent.
func gone(err error) bool { return err == unix.ECONNRESET || err == unix.EPIPE }

// retryEvery is how often to try again while the kernel does not report a change.
const retryEvery = instant(time.Millisecond)

// awhile waits for a moment.
func (k *conn) awhile() error {
	k.again = k.engine.clock.now() + retryEvery
	k.engine.look(k.again)
	err := k.wait()
	k.again = 0
	return err
}

// wait returns when the connection has changed, or with an error when the request
// has timed out or the batch was stopped.
func (k *conn) wait() error {
	if !k.expired {
		k.waiting = true
		end := k.pause()
		k.waiting = false
		if end {
			return errInterrupted
		}
	}
	if k.expired {
		return os.ErrDeadlineExceeded
	}
	return nil
}

// told records events of the poller's.
func (k *conn) told(events uint32) {
	k.readable = k.readable || events&unix.EPOLLIN != 0
	k.writable = k.writable || events&unix.EPOLLOUT != 0
	k.ended = k.ended || events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
}

// errInterrupted ends a request whose batch was stopped. The request did not fail
// and is not counted.
var errInterrupted = errors.New("the batch was stopped")

// connected reports whether there is a connection.
func (k *conn) connected() bool { return k.fd >= 0 }

// close ends the connection, if there is one. With abort it is reset, which leaves
// no TIME_WAIT behind.
func (k *conn) close(abort bool) {
	if k.fd < 0 {
		return
	}
	if k.secure != nil {
		if !abort {
			k.closing = true
			_ = k.secure.Close() // announces the end
		}
		k.secure = nil
	}
	if abort {
		_ = unix.SetsockoptLinger(k.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(k.fd)
	k.fd = -1
}

// timedOutOr is err as a Failure: of kind timeout if the deadline passed while doing
// something, otherwise of the given kind. An interruption stays as it is.
func timedOutOr(err error, kind, doing string) error {
	switch {
	case errors.Is(err, errInterrupted):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return load.Failed(load.ErrTimeout, "the time-out passed while %s", doing)
	}
	return load.Failed(kind, "%s: %v", doing, err)
}
