//go:build linux

package native

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pollerEvents is how many events one call can bring.
const pollerEvents = 128

// Tokens of events that are no client's; a client's token is its index.
const (
	tokenWake  = -1
	tokenTimer = -2
)

// A pollEvent is what happened to the connection of a client.
type pollEvent struct {
	token    int
	readable bool
	writable bool
	ended    bool // the other side sends no more, or the connection broke
}

// A poller waits for connections, for a moment, and for being woken, all in
// one call. The moment is a timerfd, because the runtime's timers and epoll's
// own time-out are whole milliseconds (golang/go#53824).
//
// The kernel tells changes only (edge-triggered), so each of them needs
// one call for its whole life: the kernel forgets it when it is closed.
type poller struct {
	epoll, timer, wakeup int
	events               [pollerEvents]unix.EpollEvent
}

// newPoller makes a poller; close gives it back.
func newPoller() (*poller, error) {
	p := &poller{epoll: -1, timer: -1, wakeup: -1}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		p.close()
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	if p.wakeup, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		p.close()
		return nil, os.NewSyscallError("eventfd", err)
	}
	for token, fd := range map[int]int{tokenTimer: p.timer, tokenWake: p.wakeup} {
		if err := p.control(unix.EPOLL_CTL_ADD, fd, token, unix.EPOLLIN); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

func (p *poller) control(operation, fd, token int, events uint32) error {
	event := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(token)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.epoll, operation, fd, &event))
}

// add begins to watch a connection for what can be read from it.
func (p *poller) add(fd, token int) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, token, unix.EPOLLIN|unix.EPOLLRDHUP)
}

// addWriting also watches for room to write. Few connections ever need it.
func (p *poller) addWriting(fd, token int) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, token, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLOUT)
}

// wait gives how many events there are, after at most the limit.
//
// With held the runtime is not told that this thread waits, which costs less
// than telling it but keeps everything else in the process from running when
// there is one P: it is for short limits.
func (p *poller) wait(limit time.Duration, held bool) (int, error) {
	milliseconds := int(max((limit+time.Millisecond-1)/time.Millisecond, 0))
	if !held {
		n, err := unix.EpollWait(p.epoll, p.events[:], milliseconds)
		if err == unix.EINTR {
			return 0, nil
		}
		return max(n, 0), os.NewSyscallError("epoll_wait", err)
	}
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events)),
		pollerEvents, uintptr(milliseconds), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("epoll_pwait", errno)
}

// event is the i-th of those that wait counted.
func (p *poller) event(i int) pollEvent {
	e := &p.events[i]
	const gone = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	return pollEvent{
		token: int(e.Fd), readable: e.Events&unix.EPOLLIN != 0, writable: e.Events&unix.EPOLLOUT != 0,
		ended: e.Events&gone != 0,
	}
}

// arm asks for an event of tokenTimer at a moment, instead of the one asked
// for before.
func (p *poller) arm(at instant) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(at, 1)))}
	return os.NewSyscallError("timerfd_settime", unix.TimerfdSettime(p.timer, unix.TFD_TIMER_ABSTIME, &spec, nil))
}

// wake gives an event of tokenWake, from any goroutine.
func (p *poller) wake() {
	one := [8]byte{7: 1}
	_, _ = unix.Write(p.wakeup, one[:])
}

// close gives everything back.
func (p *poller) close() {
	for _, fd := range []int{p.epoll, p.timer, p.wakeup} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
