//go:build unix && !linux

package load

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A poller waits for connections, for a moment, and for being woken, all in
// one call of poll, to the millisecond.
type poller struct {
	wakeRead, wakeWrite *os.File
	watched             map[int]*watched // by file descriptor
	due                 instant          // 0: no moment is asked for
	clock               clock
	found               []pollEvent
}

type watched struct {
	token   int
	writing bool
}

// newPoller makes a poller; close gives it back.
func newPoller() (*poller, error) {
	clock, err := newClock()
	if err != nil {
		return nil, err
	}
	p := &poller{watched: map[int]*watched{}, clock: clock}
	if p.wakeRead, p.wakeWrite, err = os.Pipe(); err != nil {
		return nil, fmt.Errorf("make a pipe: %w", err)
	}
	return p, nil
}

// add begins to watch a connection for what can be read from it.
func (p *poller) add(fd, token int) error {
	p.watched[fd] = &watched{token: token}
	return nil
}

// addWriting also watches for room to write.
func (p *poller) addWriting(fd, token int) error {
	p.watched[fd] = &watched{token: token, writing: true}
	return nil
}

// remove ends the watch over a connection that is about to be closed.
func (p *poller) remove(fd int) { delete(p.watched, fd) }

// wait gives how many events there are, after at most the limit. The runtime
// is always told of it.
func (p *poller) wait(limit time.Duration, _ bool) (int, error) {
	if p.due != 0 {
		limit = max(min(limit, p.due.sub(p.clock.now())), 0)
	}
	fds := []unix.PollFd{{Fd: int32(p.wakeRead.Fd()), Events: unix.POLLIN}}
	for fd, w := range p.watched {
		events := int16(unix.POLLIN)
		if w.writing {
			events |= unix.POLLOUT
		}
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: events})
	}
	_, err := unix.Poll(fds, int((limit+time.Millisecond-1)/time.Millisecond))
	if err != nil && err != unix.EINTR {
		return 0, os.NewSyscallError("poll", err)
	}
	p.found = p.found[:0]
	if fds[0].Revents != 0 {
		p.found = append(p.found, pollEvent{token: tokenWake})
	}
	if p.due != 0 && p.clock.now() >= p.due {
		p.due = 0
		p.found = append(p.found, pollEvent{token: tokenTimer})
	}
	for _, f := range fds[1:] {
		if w := p.watched[int(f.Fd)]; f.Revents != 0 && w != nil {
			// Room to write is nearly always there: it is told once.
			w.writing = w.writing && f.Revents&unix.POLLOUT == 0
			p.found = append(p.found, pollEvent{
				token: w.token, readable: f.Revents&unix.POLLIN != 0, writable: f.Revents&unix.POLLOUT != 0,
				ended: f.Revents&(unix.POLLHUP|unix.POLLERR) != 0,
			})
		}
	}
	return len(p.found), nil
}

// event is the i-th of those that wait counted.
func (p *poller) event(i int) pollEvent { return p.found[i] }

// arm asks for an event of tokenTimer at a moment, instead of the one asked
// for before.
func (p *poller) arm(at instant) error {
	p.due = max(at, 1)
	return nil
}

// wake gives an event of tokenWake, from any goroutine.
func (p *poller) wake() { _, _ = p.wakeWrite.Write([]byte{1}) }

// close gives everything back.
func (p *poller) close() {
	p.wakeRead.Close()
	p.wakeWrite.Close()
}
