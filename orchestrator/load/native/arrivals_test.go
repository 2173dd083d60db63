//go:build linux

package native

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// A request ends when its answer arrives, however long the client takes to read it:
// here its process is stopped meanwhile.
func TestLatencyEndsWithTheArrival(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says when bytes arrived")
	}
	const pause = time.Second
	var client atomic.Int64
	handler := func(w http.ResponseWriter, _ *http.Request) {
		process := int(client.Load())
		if err := unix.Kill(process, unix.SIGSTOP); err != nil {
			t.Error(err)
		}
		awaitStopped(t, process)
		w.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(w, "ok")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(pause)
		if err := unix.Kill(process, unix.SIGCONT); err != nil {
			t.Error(err)
		}
	}
	plain, _ := startHTTP(t, handler)
	encrypted, verify, _ := startTLS(t, handler)
	for name, url := range map[string]string{"plain": plain, "TLS": encrypted} {
		t.Run(name, func(t *testing.T) {
			request := get("/")
			request.TLS = verify
			b, err := (&Client{}).prepareBatch(t.Context(), load.Job{
				URL: url, Request: request, Load: scenarios.LoadSpec{Requests: 2, Client: scenarios.ClientMT, Pool: 1, KeepAlive: true},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			client.Store(int64(b.workers[0].process))
			r, err := b.Fire(t.Context())
			if err != nil && !errors.Is(err, load.ErrDisturbed) || r.Replies != 2 || r.Pickup == nil {
				t.Fatalf("%d replies, pickup %v, errors %v, %v", r.Replies, r.Pickup, r.FirstErrors, err)
			}
			if r.Latency.Max() >= pause || r.Pickup.Min() < pause {
				t.Errorf("latency up to %v, read %v later; the answer lay there for %v", r.Latency.Max(), r.Pickup.Min(), pause)
			}
			if r.Little < 0.95 || r.Little > 1.05 {
				t.Errorf("Little's law is at %v, want 1", r.Little)
			}
		})
	}
}

// awaitStopped returns when all threads of a process are stopped. Each one stops when
// it next wakes up.
func awaitStopped(t *testing.T, process int) {
	running := func() bool {
		files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", process))
		if err != nil || len(files) == 0 {
			t.Errorf("threads of process %d: %v, %v", process, files, err)
			return false
		}
		for _, file := range files {
			if stat, err := os.ReadFile(file); err == nil && !bytes.Contains(stat, []byte(") T ")) {
				return true
			}
		}
		return false
	}
	for begin := time.Now(); running() && time.Since(begin) < 10*time.Second; {
		time.Sleep(time.Millisecond)
	}
}

// A unix socket does not say when bytes arrived, and nothing is invented.
func TestArrivalUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(discard)}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	r := mustFire(t, &Client{}, load.Job{URL: "http+unix://" + path, Request: get("/"), Load: scenarios.LoadSpec{Requests: 3, Client: scenarios.ClientMT, Pool: 1}})
	if r.Replies != 3 || r.Pickup != nil {
		t.Errorf("%d replies (%v), pickup %v; want 3 and none", r.Replies, r.FirstErrors, r.Pickup)
	}
}

// Stamps are the wall clock's. If that was set, they do not count.
func TestFault23StampsOfAClockThatWasSet(t *testing.T) {
	c := newClock()
	const lay = 3 * time.Millisecond
	for name, test := range map[string]struct {
		stamp func() int64
		set   time.Duration // the wall clock, since it was last read
		known bool
	}{
		"known":                  {stamp: func() int64 { return time.Now().Add(-lay).UnixNano() }, known: true},
		"none":                   {stamp: func() int64 { return 0 }},
		"from a clock set back":  {stamp: func() int64 { return time.Now().Add(time.Hour).UnixNano() }},
		"after it was set":       {stamp: func() int64 { return time.Now().Add(-lay).UnixNano() }, set: time.Second},
		"after it was set a bit": {stamp: func() int64 { return time.Now().Add(-lay).UnixNano() }, set: -time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArrivals(c)
			closeLater(t, a.stamping)
			_, _ = a.read() // a thread that was interrupted in the first reading has read the clocks again
			a.apart -= test.set
			before := c.now()
			arrived, now, known := a.at(test.stamp())
			if now < before || now > c.now() {
				t.Errorf("now is %v, from %v on", now, before)
			}
			if known != test.known {
				t.Fatalf("known is %v, want %v", known, test.known)
			}
			if !known && arrived != now {
				t.Errorf("arrived at %v, want now, %v", arrived, now)
			}
			if lain := now.sub(arrived); known && (lain < lay || lain > lay+time.Second) {
				t.Errorf("arrived %v ago, want %v", lain, lay)
			}
		})
	}
}

// The kernel stamps the last byte. If packets before it were lost, the answer had not
// arrived by then. They came later, when they were sent again, and that is the
// network's time, not the client's.
func TestArrivalOfALostPacket(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := newClock()
	a := newArrivals(c)
	closeLater(t, a.stamping)
	peer, family, err := sockaddr(listener.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		t.Fatal(err)
	}
	fd, err := newSocket(family)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	a.watch(fd)
	if err := unix.Connect(fd, peer); err != nil && err != unix.EINPROGRESS {
		t.Fatal(err)
	}
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	k := &conn{engine: &engine{clock: c, arrivals: a}, fd: fd}
	const long, short = 1000, 100
	read := func(want int) (stamp int64) {
		t.Helper()
		var b [long + short + 1]byte
		for begin := time.Now(); ; time.Sleep(100 * time.Microsecond) {
			if n, _ := peek(fd, b[:]); n == want {
				break
			}
			if time.Since(begin) > 30*time.Second {
				t.Fatal("nothing came")
			}
		}
		time.Sleep(2 * time.Duration(recheckFrom))
		n, stamp, err := a.receiver.receive(fd, b[:])
		if n != want || err != nil {
			t.Fatalf("%d bytes of %d, %v", n, want, err)
		}
		k.took(stamp)
		return stamp
	}
	write := func(n int) {
		t.Helper()
		if _, err := server.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}

	for try := 0; try == 0 || read(short) == 0; try++ { // the kernel begins to stamp a moment after it was asked
		if try == 1000 {
			t.Fatal("no stamps")
		}
		write(short)
	}
	if k.taken == 0 || k.taken-k.arrived < recheckFrom {
		t.Errorf("read at %v, arrived at %v: it lay there for longer than %v", k.taken, k.arrived, time.Duration(recheckFrom))
	}

	// What is longer than 500 bytes is lost.
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: 500, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		t.Fatal(err)
	}
	write(long)
	write(short)
	time.Sleep(50 * time.Millisecond)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
		t.Fatal(err)
	}
	healed := c.now()
	read(long + short)
	if k.arrived < healed || k.taken != 0 {
		t.Errorf("arrived %v before its first packet", healed.sub(k.arrived))
	}

	k.begin(c.now(), time.Minute) // the next one is known again
	write(short)
	read(short)
	if k.taken == 0 {
		t.Error("after a lost packet no arrival is known any more")
	}
}

// An answer that nobody asked for is an error. Over TLS it may have been read and
// decrypted together with the answer before it.
func TestUnaskedAnswerOverTLS(t *testing.T) {
	url, verify, _ := startTLS(t, func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		cork := func(on int) { // two records in one packet
			raw, err := c.(*tls.Conn).NetConn().(*net.TCPConn).SyscallConn()
			if err == nil {
				err = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, on) })
			}
			if err != nil {
				t.Error(err)
			}
		}
		cork(1)
		for range 2 {
			_, _ = io.WriteString(c, ok)
		}
		cork(0)
		_, _ = io.Copy(io.Discard, c)
	})
	request := get("/")
	request.TLS = verify
	r := mustFire(t, &Client{}, load.Job{
		URL: url, Request: request, Load: scenarios.LoadSpec{Requests: 2, Client: scenarios.ClientSingle, Pool: 1, KeepAlive: true},
	})
	if r.Replies != 1 || r.ErrorKinds[load.ErrProtocol] != 1 {
		t.Errorf("%d replies, errors %v; want one that nobody asked for", r.Replies, r.FirstErrors)
	}
}
