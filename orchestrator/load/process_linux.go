package load

import "syscall"

// workerAttributes puts a client process into a group of its own, so that
// Ctrl-C in a terminal reaches only the one who decides, and has the kernel
// kill it when its parent is gone.
func workerAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
