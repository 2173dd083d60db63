//go:build !linux

package stacks

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// here names this host. Only Linux has boot ids and PID namespaces.
func here() (machine, boot, namespace string, err error) {
	host, err := os.Hostname()
	return word(host), word(host), runtime.GOOS, err
}

// StartTime returns 0 for every process that exists. A process that took over
// the PID of a killed owner is mistaken for it, and the owner's leftovers stay
// until clean --run.
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

// ReadProcess fails: only Linux has /proc.
func ReadProcess(int) (Process, error) { return Process{}, errors.ErrUnsupported }

// Halted returns nothing: only Linux says so.
func Halted([]int) string { return "" }
