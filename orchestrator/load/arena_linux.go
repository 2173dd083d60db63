package load

import (
	"os"

	"golang.org/x/sys/unix"
)

// memoryFile is a file in memory that has no name in any file system.
func memoryFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("stackmeter-load", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), "memfd:stackmeter-load"), nil
}

// diskFolders are where a large arena may be, the first that is on a disk.
func diskFolders() []string { return []string{os.TempDir(), "/var/tmp"} }

// inMemory reports whether a folder's files take memory instead of disk.
func inMemory(folder string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(folder, &fs) == nil && (fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC)
}
