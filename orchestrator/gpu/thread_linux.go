package gpu

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// sleep sleeps in the kernel, on the caller's thread. A Go timer would wake
// another thread, with normal priority, which then has to hand over.
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

// samplerNice is the priority of the sampling thread. It is above that of the
// stack, which may saturate the machine. The thread runs for microseconds at a
// time.
const samplerNice = -10

// preferThread raises the priority of the calling thread, which must be locked.
// It needs CAP_SYS_NICE. Without it the sampler takes its turn like everything
// else, and the gaps that it reports show what that costs.
func preferThread() {
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), samplerNice)
}
