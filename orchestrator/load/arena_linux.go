package load

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapPopulate makes the pages present when they are mapped, so that no page
// fault falls into the measured time.
const mapPopulate = unix.MAP_POPULATE

// anonymousFile is a file in memory that has no name in any file system.
func anonymousFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("stackmeter-load", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "memfd:stackmeter-load"), nil
}
