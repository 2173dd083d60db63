//go:build !linux

package stacks

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// here names this host; boots and PID namespaces are Linux's.
func here() (machine, boot, namespace string, err error) {
	host, err := os.Hostname()
	return word(host), word(host), runtime.GOOS, err
}

// StartTime is 0 for every process that exists: one that took over the PID of
// a killed owner is mistaken for it, and its leftovers stay until clean --run.
func StartTime(pid int) (uint64, error) {
	if err := unix.Kill(pid, 0); err != nil && err != unix.EPERM {
		return 0, err
	}
	return 0, nil
}

// runs reports whether the process exists, a zombie included.
func runs(pid int, since uint64) bool {
	start, err := StartTime(pid)
	return err == nil && start == since
}
