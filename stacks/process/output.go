//go:build linux

package process

import (
	"os"
	"sync"
	"syscall"

	"stackmeter/scenarios/show"
)

// An output is what a service writes, through a pipe. Who looks at it reads first what
// is in the pipe: a line that was written before an answer is there with the answer,
// however late the goroutine comes that follows the pipe.
type output struct {
	pipe *os.File

	reading sync.Mutex
	kept    show.Tail
}

// follow reads until all that could write have ended.
func (o *output) follow() {
	defer o.pipe.Close()
	if raw, err := o.pipe.SyscallConn(); err == nil {
		_ = raw.Read(o.read)
	}
}

// now is the end of what was written until now.
func (o *output) now() *show.Tail {
	if raw, err := o.pipe.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { o.read(fd) }) // which fails once all is read and the pipe closed
	}
	return &o.kept
}

// read keeps what is in the pipe, and reports whether that was the end of it.
func (o *output) read(fd uintptr) (ended bool) {
	o.reading.Lock()
	defer o.reading.Unlock()
	buffer := make([]byte, 32<<10)
	for {
		switch n, err := syscall.Read(int(fd), buffer); {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			return false
		case err != nil || n == 0:
			return true
		default:
			_, _ = o.kept.Write(buffer[:n])
		}
	}
}
