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

// An arena is what the orchestrator and its client processes share: a counter
// for each process, a digest for each distinct request, then every request's
// bytes, once, however many processes there are.
//
// It is memory as long as the requests are small. Beyond largeArena it is a
// file on disk, of which the kernel keeps in memory what is used and what there
// is room for. Neither has a name for long, so there is nothing to
// remove.
type arena struct {
	file     *os.File
	onDisk   bool
	counters []byte // the digests included
	digests  int    // where they begin
	requests []byte // read-only once mapped
	spans    []span
	next     int64 // where the next request goes
	touched  byte  // keeps touch from being optimised away
}

// A span is one request's place in an arena's file.
type span struct {
	Offset  int64
	Length  int
	Payload string `json:",omitempty"` // the name of what it sends
}

// counterSize keeps each process's counter in a cache line of its own.
const counterSize = 64

// Where the number of errors and that of the processes that have begun stand,
// after the gun.
const (
	errorsAt = 8
	begunAt  = 16
)

// digestSize is the size of a distinct request's digest, in bytes.
const digestSize = 8

// largeArena is from which size on an arena is on disk, in bytes: half of what
// a small machine can spare, and more than most payloads take.
const largeArena = 64 << 20

// countersSize is how many bytes of a file the counters take: the gun's and
// one for each process, and the digests, in whole pages, so that what follows
// can be mapped.
func countersSize(processes, requests int) int64 {
	page := int64(os.Getpagesize())
	return (int64(1+processes)*counterSize + int64(requests)*digestSize + page - 1) / page * page
}

// newArena makes an arena for a number of processes and distinct requests,
// with its counters mapped.
func newArena(processes, requests int) (*arena, error) {
	file, err := memoryFile()
	if err != nil {
		return nil, fmt.Errorf("make shared memory: %w", err)
	}
	a := &arena{file: file, next: countersSize(processes, requests)}
	if err := file.Truncate(a.next); err != nil {
		file.Close()
		return nil, fmt.Errorf("make shared memory: %w", err)
	}
	if err := a.mapCounters(processes, requests); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// toDisk moves an arena that nobody else has opened yet to a file on disk.
func (a *arena) toDisk() error {
	file, err := diskFile()
	if err != nil {
		return fmt.Errorf("store the batch's requests on disk: %w", err)
	}
	if _, err := io.Copy(file, io.NewSectionReader(a.file, 0, a.next)); err != nil {
		file.Close()
		return fmt.Errorf("store the batch's requests on disk: %w; TMPDIR can name a folder with more room", err)
	}
	counters, err := unix.Mmap(int(file.Fd()), 0, len(a.counters), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		file.Close()
		return fmt.Errorf("map shared memory: %w", err)
	}
	_ = unix.Munmap(a.counters)
	a.file.Close()
	a.file, a.counters, a.onDisk = file, counters, true
	return nil
}

// settle ends the filling: it writes what belongs on disk, so that
// the batch is not measured while the kernel writes.
func (a *arena) settle() error {
	if !a.onDisk {
		return nil
	}
	if err := a.file.Sync(); err != nil {
		return fmt.Errorf("store the batch's requests on disk: %w", err)
	}
	return nil
}

// add appends one request of a size that sends a payload of that name.
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

// openArena maps an arena that another process made.
func openArena(file *os.File, processes int, spans []span) (*arena, error) {
	a := &arena{file: file, spans: spans, next: countersSize(processes, len(spans))}
	for _, s := range spans {
		a.next = max(a.next, s.Offset+int64(s.Length))
	}
	a.onDisk = a.next > largeArena
	if err := a.mapCounters(processes, len(spans)); err != nil {
		a.close()
		return nil, err
	}
	if err := a.mapRequests(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *arena) mapCounters(processes, requests int) error {
	a.digests = (1 + processes) * counterSize
	var err error
	a.counters, err = unix.Mmap(int(a.file.Fd()), 0, int(countersSize(processes, requests)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map shared memory: %w", err)
	}
	return nil
}

// mapRequests makes the requests' bytes accessible in this process. All of
// them have to have been added.
func (a *arena) mapRequests() error {
	begin := int64(len(a.counters))
	var err error
	a.requests, err = unix.Mmap(int(a.file.Fd()), begin, int(a.next-begin), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map the batch's requests: %w", err)
	}
	return nil
}

// touch makes the requests shorter than a limit present in this process, so
// that no page fault falls into the measured time. Those on disk are left there.
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

// fd is the file's descriptor.
func (a *arena) fd() int { return int(a.file.Fd()) }

// request is the bytes of the i-th request; they must not be written to.
func (a *arena) request(i int) []byte {
	s := a.spans[i]
	from := s.Offset - int64(len(a.counters))
	return a.requests[from : from+int64(s.Length)]
}

// gun is the moment at which the batch was fired. Processes wait for the end of a
// pipe, which also comes when their parent dies: then it is still 0.
func (a *arena) gun() *atomic.Int64 { return a.word(0) }

// errors is the batch's number of errors, over all its processes.
func (a *arena) errors() *atomic.Int64 {
	return (*atomic.Int64)(unsafe.Pointer(&a.counters[errorsAt]))
}

// begun is how many processes have heard the gun.
func (a *arena) begun() *atomic.Int64 {
	return (*atomic.Int64)(unsafe.Pointer(&a.counters[begunAt]))
}

// digest is that of the first answer to the i-th distinct request, 0 before, and
// the name of what the request sends.
func (a *arena) digest(i int) (first *atomic.Uint64, payload string) {
	return (*atomic.Uint64)(unsafe.Pointer(&a.counters[a.digests+i*digestSize])), a.spans[i].Payload
}

// counter is the i-th process's count of finished requests.
func (a *arena) counter(i int) *atomic.Int64 { return a.word(1 + i) }

// done is how many requests all of some processes have finished.
func (a *arena) done(processes int) int64 {
	var done int64
	for i := range processes {
		done += a.counter(i).Load()
	}
	return done
}

func (a *arena) word(i int) *atomic.Int64 {
	return (*atomic.Int64)(unsafe.Pointer(&a.counters[i*counterSize]))
}

// close gives the memory back. Nothing of the arena may be used afterwards.
func (a *arena) close() {
	if a.counters != nil {
		_ = unix.Munmap(a.counters)
	}
	if a.requests != nil {
		_ = unix.Munmap(a.requests)
	}
	a.counters, a.requests = nil, nil
	a.file.Close()
}

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

// diskFile is a file on disk that lost its name at once.
func diskFile() (*os.File, error) {
	folders := diskFolders()
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
