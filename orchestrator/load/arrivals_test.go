package load

import (
	"bytes"
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

	"stackmeter/scenarios"
)

// An answer that is there ends its request, however long the client takes to
// look: here its process is stopped meanwhile.
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
			b, err := (&Client{}).Prepare(t.Context(), Job{
				URL: url, Request: request, Load: scenarios.LoadSpec{Requests: 2, Client: scenarios.ClientMT, Pool: 1, KeepAlive: true},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			client.Store(int64(b.workers[0].process))
			r, err := b.Fire(t.Context())
			if err != nil || r.Replies != 2 || r.Pickup == nil {
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

// awaitStopped returns when all threads of a process are stopped, which each of
// them is when it has woken up.
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

// A unix socket does not say when bytes arrived: nothing is made of that.
func TestArrivalUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(discard)}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	r := mustFire(t, &Client{}, Job{URL: "http+unix://" + path, Request: get("/"), Load: scenarios.LoadSpec{Requests: 3, Client: scenarios.ClientMT, Pool: 1}})
	if r.Replies != 3 || r.Pickup != nil {
		t.Errorf("%d replies (%v), pickup %v; want 3 and none", r.Replies, r.FirstErrors, r.Pickup)
	}
}

// Stamps are the wall clock's, which can be set.
func TestArrivals(t *testing.T) {
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
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
			defer a.close()
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
