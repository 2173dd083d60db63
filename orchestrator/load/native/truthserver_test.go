//go:build linux

package native

import (
	"bytes"
	"cmp"
	"errors"
	"maps"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A behaviour is how a truthServer delays its answers. The truth that clients are
// compared with follows from it.
type behaviour struct {
	delay     time.Duration // of an answer
	slow      time.Duration // of every slowEvery-th answer instead
	slowEvery int           // 0: none
	serial    bool          // one answer after the other, each taking delay
	stall     time.Duration // nothing is done for so long …
	every     time.Duration // … at the end of each such time, counted from the first request
}

// A timeline is the moments at which a behaviour answers.
type timeline struct {
	behaviour
	first    instant // the first request
	n        int     // requests so far
	finished instant // serial: the last answer
}

// answer is when a request that came at a moment is answered. Call it for requests in
// the order in which they came.
func (t *timeline) answer(at instant) instant {
	if t.n == 0 {
		t.first = at
	}
	t.n++
	delay := t.delay
	if t.slowEvery > 0 && t.n%t.slowEvery == 0 {
		delay = t.slow
	}
	if !t.serial {
		return at + instant(delay)
	}
	begin := max(at, t.finished)
	if t.every > 0 {
		round := instant(t.every)
		stalls := t.first + ((begin-t.first)/round+1)*round - instant(t.stall)
		if begin >= stalls || begin+instant(delay) > stalls {
			begin = stalls + instant(t.stall) // work that would not be finished waits
		}
	}
	t.finished = begin + instant(delay)
	return t.finished
}

// A served is what the server knows of one request.
type served struct {
	id              int // the number in the request's body; -1 without one
	begin, answered instant
}

// A truthServer answers at moments that follow from a behaviour, to a few dozen
// microseconds, and logs when it really did. It is an event loop of its own, because
// the runtime's timers are late by a millisecond.
type truthServer struct {
	url  string
	stop func() // may be called again

	exact    bool // it has a core to itself and never sleeps: a core that has to wake up is late
	clock    clock
	poller   *poller
	listener int
	timeline timeline
	buffers  map[int][]byte // what was read of a request that is not whole yet, by connection
	pending  []served       // by the moment of their answers
	where    []int          // the connections of pending

	mu  sync.Mutex
	log []served
}

// startTruth serves until it is stopped, or the test ends.
func startTruth(t testing.TB, b behaviour) *truthServer {
	t.Helper()
	_, benchmark := t.(*testing.B)
	s := &truthServer{exact: benchmark, timeline: timeline{behaviour: b}, buffers: map[int][]byte{}}
	s.clock = newClock()
	var err error
	if s.listener, err = newSocket(unix.AF_INET); err != nil {
		t.Fatal(err)
	}
	loopback := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := errors.Join(unix.Bind(s.listener, loopback), unix.Listen(s.listener, 1024)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(s.listener)
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port)).String()
	if s.poller, err = newPoller(); err != nil {
		t.Fatal(err)
	}
	if err := s.poller.add(s.listener, s.listener); err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		if benchmark {
			runtime.LockOSThread() // never given back: the thread ends with the goroutine
			pinProcess(t, unix.Gettid(), serverCore)
		}
		s.run(end)
	})
	s.stop = sync.OnceFunc(func() {
		close(end)
		s.poller.wake()
		running.Wait()
		files := slices.Collect(maps.Keys(s.buffers))
		for _, fd := range append(files, s.listener, s.poller.epoll, s.poller.timer, s.poller.wakeup) {
			_ = unix.Close(fd)
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *truthServer) run(end chan struct{}) {
	for {
		limit := time.Second
		if s.exact {
			limit = 0
		}
		n, err := s.poller.wait(limit, false)
		if err != nil {
			panic(err)
		}
		select {
		case <-end:
			return
		default:
		}
		for i := range n {
			switch token := int(s.poller.events[i].Fd); token {
			case tokenTimer, tokenWake:
			case s.listener:
				s.accept()
			default:
				s.read(token)
			}
		}
		s.answer()
	}
}

func (s *truthServer) accept() {
	for {
		fd, _, err := unix.Accept(s.listener)
		if err != nil {
			return
		}
		_ = unix.SetNonblock(fd, true)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		s.buffers[fd] = nil
		if s.poller.add(fd, fd) != nil {
			return
		}
	}
}

// read reads what there is of a connection's request, and plans its answer
// when it is whole.
func (s *truthServer) read(fd int) {
	var block [4096]byte
	for {
		n, err := unix.Read(fd, block[:])
		if err != nil && err != unix.EAGAIN || err == nil && n == 0 {
			delete(s.buffers, fd)
			_ = unix.Close(fd)
			return
		}
		if err != nil {
			return
		}
		s.buffers[fd] = append(s.buffers[fd], block[:n]...)
		id, whole := wholeRequest(s.buffers[fd])
		if !whole {
			continue
		}
		s.buffers[fd] = s.buffers[fd][:0]
		now := s.clock.now()
		request := served{id: id, begin: now, answered: s.timeline.answer(now)}
		at, _ := slices.BinarySearchFunc(s.pending, request, func(a, b served) int { return cmp.Compare(a.answered, b.answered) })
		for at < len(s.pending) && s.pending[at].answered == request.answered {
			at++
		}
		s.pending, s.where = slices.Insert(s.pending, at, request), slices.Insert(s.where, at, fd)
	}
}

// wholeRequest reports whether a request is complete, and the number in its body.
func wholeRequest(b []byte) (id int, whole bool) {
	head, body, found := bytes.Cut(b, []byte("\r\n\r\n"))
	if !found {
		return 0, false
	}
	_, length, found := bytes.Cut(head, []byte("Content-Length: "))
	if !found {
		return -1, true
	}
	length, _, _ = bytes.Cut(length, []byte("\r\n"))
	if n, _ := parseNumber(length, 10); int64(len(body)) < n {
		return 0, false
	}
	id, err := strconv.Atoi(string(body))
	if err != nil {
		id = -1
	}
	return id, true
}

// answer sends the answers that are due, and sets the timer for the next one.
func (s *truthServer) answer() {
	text := []byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	for len(s.pending) > 0 {
		now := s.clock.now()
		due := s.pending[0].answered
		if due > now {
			if !s.exact { // setting a timer that is not needed takes a virtual machine 20 µs
				_ = s.poller.arm(due)
			}
			return
		}
		done := s.pending[0]
		done.answered = now
		if _, there := s.buffers[s.where[0]]; there {
			_, _ = send(s.where[0], text)
		}
		s.mu.Lock()
		s.log = append(s.log, done)
		s.mu.Unlock()
		s.pending, s.where = slices.Delete(s.pending, 0, 1), slices.Delete(s.where, 0, 1)
	}
}

// all is the log so far.
func (s *truthServer) all() []served {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// nearestRank is a percentile of samples by the rule of Latency.Percentile.
func nearestRank(samples []time.Duration, p float64) time.Duration {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[max(int(math.Ceil(p/100*float64(len(sorted))-1e-9*float64(len(sorted)))), 1)-1]
}
