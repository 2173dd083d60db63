package gpu

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// sleep sleeps in the kernel, on the caller's own thread: a timer of Go's
// would wake another thread, of usual priority, that has to hand over first.
func sleep(d time.Duration) {
	left := unix.NsecToTimespec(d.Nanoseconds())
	for {
		rest := unix.Timespec{}
		if err := unix.Nanosleep(&left, &rest); !errors.Is(err, unix.EINTR) {
			return
		}
		left = rest
	}
}

// samplerNice is the priority of the sampling thread: above a stack that
// saturates the machine, which is what it measures. The thread runs for
// microseconds at a time.
const samplerNice = -10

// preferThread raises the priority of the calling thread, which has to be
// locked. It needs CAP_SYS_NICE; without it the sampler takes its turn like
// everybody, and the gaps that it reports show what that costs.
func preferThread() {
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), samplerNice)
}
