//go:build linux

package native

import (
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pollerEvents is how many events one call can return.
const pollerEvents = 128

// Tokens of events that are not a client's. A client's token is its index.
const (
	tokenWake  = -1
	tokenTimer = -2
)

// A poller waits for connections, for its timer and for wake, all in one call. The
// timer is a timerfd, because the runtime's timers and epoll's own time-out are whole
// milliseconds (golang/go#53824). A poller lives as long as its process.
//
// The kernel reports changes only (edge-triggered). So a connection is added once,
// and the kernel forgets it when it is closed.
type poller struct {
	epoll, timer, wakeup int
	events               [pollerEvents]unix.EpollEvent // those that wait counted; Fd is the token
}

func newPoller() (*poller, error) {
	p := new(poller)
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	if p.wakeup, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	for token, fd := range map[int]int{tokenTimer: p.timer, tokenWake: p.wakeup} {
		if err := p.control(unix.EPOLL_CTL_ADD, fd, token, unix.EPOLLIN); err != nil {
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

// addWriting watches for room to write too. Few connections ever need it.
func (p *poller) addWriting(fd, token int) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, token, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLOUT)
}

// wait returns how many events there are, after the limit at the latest.
//
// With held, it does not tell the runtime that this thread waits. That costs less,
// but with one P nothing else in the process can run, so it is for short limits.
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

// arm sets the timer, whose event has tokenTimer.
func (p *poller) arm(at instant) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(at, 1)))}
	return os.NewSyscallError("timerfd_settime", unix.TimerfdSettime(p.timer, unix.TFD_TIMER_ABSTIME, &spec, nil))
}

// wake causes an event of tokenWake. It is safe for concurrent use.
func (p *poller) wake() {
	one := [8]byte{7: 1}
	_, _ = unix.Write(p.wakeup, one[:])
}
