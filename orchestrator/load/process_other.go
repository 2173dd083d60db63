//go:build unix && !linux

package load

import "syscall"

// workerAttributes puts a client process into a group of its own, so that
// Ctrl-C in a terminal reaches only the one who decides. When its parent is
// gone it ends because its standard input does.
func workerAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
