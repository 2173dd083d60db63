//go:build linux

package native

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An arena is a file that the orchestrator and the client processes of a batch
// share: counters, a digest for each distinct request, then the bytes of every
// distinct request, once, however many processes there are.
//
// The file is in memory as long as the requests are small, and beyond largeArena
// on disk, where the kernel keeps in memory what is used and what there is room
// for. It loses its name at once, so there is nothing to remove.
type arena struct {
	file     *os.File
	onDisk   bool
	spans    []span
	next     int64  // where the next request goes
	counted  []byte // the mapped counters; signals, counters and digests are parts of it
	requests []byte // the mapped requests, read-only
	touched  byte   // keeps the compiler from removing touch

	signals  *signals
	counters []counter       // of each process
	digests  []atomic.Uint64 // of the first answer to each distinct request; 0: none yet
}

// Signals are what all processes of a batch look at.
type signals struct {
	gun    atomic.Int64 // the instant at which the batch was fired; 0: it was not
	errors atomic.Int64 // of the batch, over all its processes
	begun  atomic.Int64 // how many processes have heard the gun
}

// A counter is how many requests a process has finished, in a cache line of its own.
type counter struct {
	atomic.Int64
	_ [counterSize - 8]byte
}

const counterSize = 64

// A span is one request's place in an arena's file.
type span struct {
	Offset  int64
	Length  int
	Payload string `json:",omitempty"` // the name of what it sends
}

// largeArena is the size from which on an arena is on disk, in bytes: half of what
// a small machine can spare, and more than most payloads take.
const largeArena = 64 << 20

// countersSize is how many bytes of the file come before the requests: whole
// pages, so that the requests can be mapped.
func countersSize(processes, requests int) int64 {
	page := int64(os.Getpagesize())
	return (int64(1+processes)*counterSize + int64(requests)*8 + page - 1) / page * page
}

// newArena makes an arena for a number of processes and distinct requests.
func newArena(processes, requests int) (*arena, error) {
	// It has no name in any file system.
	fd, err := unix.MemfdCreate("stackmeter-load", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make shared memory: memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "memfd:stackmeter-load")
	a := &arena{next: countersSize(processes, requests)}
	if err := file.Truncate(a.next); err != nil {
		file.Close()
		return nil, fmt.Errorf("make shared memory: %w", err)
	}
	if err := a.mapCounters(file, processes, requests); err != nil {
		return nil, err
	}
	return a, nil
}

// openArena maps an arena that another process made.
func openArena(file *os.File, processes int, spans []span) (*arena, error) {
	a := &arena{spans: spans, next: countersSize(processes, len(spans))}
	for _, s := range spans {
		a.next = max(a.next, s.Offset+int64(s.Length))
	}
	a.onDisk = a.next > largeArena
	if err := a.mapCounters(file, processes, len(spans)); err != nil {
		return nil, err
	}
	if err := a.mapRequests(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// mapCounters makes file the arena's file, instead of the one before, and maps its
// counters. On error it closes file.
func (a *arena) mapCounters(file *os.File, processes, requests int) error {
	counted, err := unix.Mmap(int(file.Fd()), 0, int(countersSize(processes, requests)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		file.Close()
		return fmt.Errorf("map shared memory: %w", err)
	}
	if a.file != nil {
		a.close()
	}
	a.file, a.counted = file, counted
	begin := unsafe.Pointer(unsafe.SliceData(counted))
	a.signals = (*signals)(begin)
	a.counters = unsafe.Slice((*counter)(unsafe.Add(begin, counterSize)), processes)
	a.digests = unsafe.Slice((*atomic.Uint64)(unsafe.Add(begin, (1+processes)*counterSize)), requests)
	return nil
}

// mapRequests makes the requests' bytes accessible in this process. All of them
// have to be in the file.
func (a *arena) mapRequests() error {
	begin := int64(len(a.counted))
	var err error
	a.requests, err = unix.Mmap(int(a.file.Fd()), begin, int(a.next-begin), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the batch's requests: %w", err)
	}
	return nil
}

// add appends a request of a size that sends a payload of that name.
func (a *arena) add(payload string, size int64, content io.Reader) error {
	if a.next+size > largeArena && !a.onDisk {
		if err := a.toDisk(); err != nil {
			return err
		}
	}
	n, err := io.Copy(io.NewOffsetWriter(a.file, a.next), content)
	switch {
	case err != nil:
		return fmt.Errorf("store a request of the batch: %w", err)
	case n != size:
		return fmt.Errorf("store a request of the batch: it has %d bytes instead of %d; did its file change meanwhile?", n, size)
	}
	a.spans = append(a.spans, span{Offset: a.next, Length: int(size), Payload: payload})
	a.next += size
	return nil
}

// toDisk moves an arena that no other process has opened yet to a file on disk.
func (a *arena) toDisk() error {
	file, err := diskFile()
	if err != nil {
		return fmt.Errorf("store the batch's requests on disk: %w", err)
	}
	if _, err := io.Copy(file, io.NewSectionReader(a.file, 0, a.next)); err != nil {
		file.Close()
		return fmt.Errorf("store the batch's requests on disk: %w; TMPDIR can name a folder with more room", err)
	}
	a.onDisk = true
	return a.mapCounters(file, len(a.counters), len(a.digests))
}

// touch makes the requests shorter than a limit present in this process, so that no
// page fault falls into the measured time. It leaves those on disk there.
func (a *arena) touch(shorter int) {
	if a.onDisk {
		return
	}
	page := os.Getpagesize()
	for i, s := range a.spans {
		if s.Length >= shorter {
			continue
		}
		for request := a.request(i); len(request) > 0; request = request[min(page, len(request)):] {
			a.touched += request[0]
		}
	}
}

// request is the bytes of the i-th request. Do not write to them.
func (a *arena) request(i int) []byte {
	s := a.spans[i]
	from := s.Offset - int64(len(a.counted))
	return a.requests[from : from+int64(s.Length)]
}

// done is how many requests the processes have finished.
func (a *arena) done() int {
	done := int64(0)
	for i := range a.counters {
		done += a.counters[i].Load()
	}
	return int(done)
}

// close releases the memory and the file. Nothing of the arena may be used
// afterwards.
func (a *arena) close() {
	_ = unix.Munmap(a.counted) // it refuses what is not mapped
	_ = unix.Munmap(a.requests)
	a.counted, a.requests = nil, nil
	a.file.Close()
}

// diskFile is a file on disk that has lost its name. It is in the first of the
// usual folders that is not in memory.
func diskFile() (*os.File, error) {
	folders := []string{os.TempDir(), "/var/tmp"}
	folder := folders[max(slices.IndexFunc(folders, func(f string) bool { return !inMemory(f) }), 0)]
	file, err := os.CreateTemp(folder, "stackmeter-load-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// inMemory reports whether a folder's files take memory instead of disk.
func inMemory(folder string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(folder, &fs) == nil && (fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC)
}
