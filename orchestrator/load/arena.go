package load

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An arena is one piece of memory that the orchestrator and its client
// processes share: a counter for each process, then every request's bytes,
// once, however many processes there are. It has no name in any file system
// (where memory files exist) or loses it at once, so nothing has to be removed.
type arena struct {
	file     *os.File
	counters []byte
	requests []byte // read-only once mapped
	spans    []span
	next     int64 // where the next request goes
}

// A span is one request's place in an arena's file.
type span struct {
	Offset int64
	Length int
}

// counterSize keeps each process's counter in a cache line of its own.
const counterSize = 64

// countersSize is how many bytes of a file the counters take: the gun's and
// one for each process, in whole pages, so that what follows can be mapped.
func countersSize(processes int) int64 {
	page := int64(os.Getpagesize())
	return (int64(1+processes)*counterSize + page - 1) / page * page
}

// newArena makes an arena for a number of processes, with its counters mapped.
func newArena(processes int) (*arena, error) {
	file, err := anonymousFile()
	if err != nil {
		return nil, fmt.Errorf("make shared memory: %w", err)
	}
	a := &arena{file: file, next: countersSize(processes)}
	if err := file.Truncate(a.next); err != nil {
		file.Close()
		return nil, fmt.Errorf("make shared memory: %w", err)
	}
	if err := a.mapCounters(processes); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// add appends one request, given in parts.
func (a *arena) add(parts ...[]byte) error {
	begin := a.next
	for _, part := range parts {
		n, err := a.file.WriteAt(part, a.next)
		a.next += int64(n)
		if err != nil {
			return fmt.Errorf("store a request of the batch: %w", err)
		}
	}
	a.spans = append(a.spans, span{Offset: begin, Length: int(a.next - begin)})
	return nil
}

// openArena maps an arena that another process made.
func openArena(file *os.File, processes int, spans []span) (*arena, error) {
	a := &arena{file: file, spans: spans, next: countersSize(processes)}
	for _, s := range spans {
		a.next = max(a.next, s.Offset+int64(s.Length))
	}
	if err := a.mapCounters(processes); err != nil {
		a.close()
		return nil, err
	}
	if err := a.mapRequests(); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (a *arena) mapCounters(processes int) error {
	var err error
	a.counters, err = unix.Mmap(int(a.file.Fd()), 0, int(countersSize(processes)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
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
	a.requests, err = unix.Mmap(int(a.file.Fd()), begin, int(a.next-begin), unix.PROT_READ, unix.MAP_SHARED|mapPopulate)
	if err != nil {
		return fmt.Errorf("map the batch's requests: %w", err)
	}
	return nil
}

// request is the bytes of the i-th request; they must not be written to.
func (a *arena) request(i int) []byte {
	s := a.spans[i]
	from := s.Offset - int64(len(a.counters))
	return a.requests[from : from+int64(s.Length)]
}

// gun is 1 once the batch has been fired. Processes wait for the end of a
// pipe, which also comes when their parent dies: then this is still 0.
func (a *arena) gun() *atomic.Int64 { return a.word(0) }

// counter is the i-th process's count of finished requests.
func (a *arena) counter(i int) *atomic.Int64 { return a.word(1 + i) }

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
