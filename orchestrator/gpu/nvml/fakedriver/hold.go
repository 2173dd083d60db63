//go:build unix

package fakedriver

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Memory is what this process holds on a device of the fake driver.
type Memory struct {
	file   *os.File
	device string
	peak   int64
}

// Hold begins to hold memory in the state in folder, on a device given by UUID
// or by its place. It is for a test application, a process of its own.
func Hold(folder, device string) (*Memory, error) {
	f, err := os.CreateTemp(filepath.Join(folder, "alloc"), "hold")
	if err != nil {
		return nil, err
	}
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &lock); err != nil {
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return &Memory{file: f, device: device}, nil
}

// Allocate says how many bytes the process holds now, all in all.
func (m *Memory) Allocate(total int64) error {
	m.peak = max(m.peak, total)
	// One write of a fixed width: a reader never sees half of it.
	_, err := fmt.Fprintf(io.NewOffsetWriter(m.file, 0), "%s %20d %20d\n", m.device, total, m.peak)
	return err
}
