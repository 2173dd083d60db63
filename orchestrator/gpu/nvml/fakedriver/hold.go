//go:build unix

package fakedriver

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Memory is the memory that this process holds on a device of the fake driver.
type Memory struct {
	file   *os.File
	device string
	peak   int64
}

// Hold begins to hold memory on a device, given by UUID or index, of the state in
// folder. It is for test applications, which are processes of their own.
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

// Allocate sets how many bytes the process holds.
func (m *Memory) Allocate(total int64) error {
	m.peak = max(m.peak, total)
	// One write of fixed width, so that a reader never sees half of it.
	_, err := fmt.Fprintf(io.NewOffsetWriter(m.file, 0), "%s %20d %20d\n", m.device, total, m.peak)
	return err
}
