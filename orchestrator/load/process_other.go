//go:build unix && !linux

package load

import (
	"errors"
	"syscall"
)

// workerAttributes puts a client process into a group of its own, so that
// Ctrl-C in a terminal reaches only the one who decides. When its parent is
// gone it ends because its standard input does.
func workerAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// pin is not known here.
func pin(cores []int) error {
	if len(cores) == 0 {
		return nil
	}
	return errors.New("client.cpuset: processes can be held to cores on Linux only; take it out")
}

// Cores are not known here.
func Cores() ([]int, error) { return nil, nil }

// peakMemory is not known here.
func peakMemory() (int64, error) { return 0, nil }

// leavePages does nothing here.
func leavePages() error { return nil }
