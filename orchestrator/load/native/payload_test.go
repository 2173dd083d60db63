//go:build linux

package native

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

// TestFilesAreNotHeld: what Prepare takes of the heap does not grow with the
// size of a file, sent as it is or in a form.
func TestFilesAreNotHeld(t *testing.T) {
	const size, most = 32 << 20, 4 << 20 // bytes
	file := filepath.Join(t.TempDir(), "large.bin")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	for name, request := range map[string]wire.Request{
		"body": {Body: &wire.Body{Files: []string{file}}},
		"form": {Multipart: &wire.Multipart{Field: "f", Files: []string{file}}},
	} {
		request.Method, request.Path = "POST", "/"
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b, err := new(Client).prepareBatch(t.Context(), load.Job{URL: "http://127.0.0.1:1", Request: request, Load: scenarios.LoadSpec{Requests: 1, Client: "single", Pool: 1}})
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.arena.spans[0].Length; got <= size {
			t.Errorf("%s: the request has %d bytes", name, got)
		}
		b.Close()
		if taken := after.TotalAlloc - before.TotalAlloc; taken > most {
			t.Errorf("%s: %d bytes of the heap for a file of %d", name, taken, size)
		}
	}
}

// TestFileThatChanges: it is an error if a file is no longer as long as it was. No
// request says another length than it has.
func TestFileThatChanges(t *testing.T) {
	a, err := newArena(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for _, size := range []int64{3, 5} {
		if err := a.add("", size, strings.NewReader("1234")); err == nil || !strings.Contains(err.Error(), "4 bytes instead of") || len(a.spans) != 0 {
			t.Errorf("%d bytes expected of 4: %v", size, err)
		}
	}
}

// drawing is a request that draws one of seven small images.
func drawing() wire.Request {
	return wire.Request{
		Method: "POST", Path: "/", Pick: wire.PickRandom, Timeout: 10 * time.Second,
		Body: &wire.Body{Generate: &wire.Generate{Kind: "jpeg", Width: 16, Height: 16, Count: 7, Seed: 1}},
	}
}

func TestDrawnPayloads(t *testing.T) {
	payloads, err := load.ReadPayloads(drawing(), new(load.Images))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []int
	url, _ := startHTTP(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, slices.IndexFunc(payloads, func(p load.Content) bool { return sha256.Sum256(p.Data) == sha256.Sum256(body) }))
	})
	// Fewer requests than payloads are drawn from all of them, too.
	for _, n := range []int{5, 100} {
		var want []int
		for i := range n {
			want = append(want, load.Drawn(9, i, 7))
		}
		for name, l := range modes(n, true) {
			got = nil
			if r := mustFire(t, &Client{}, load.Job{URL: url, Request: drawing(), Load: l, Seed: 9}); r.Replies != n {
				t.Fatalf("%s: %d replies: %v", name, r.Replies, r.FirstErrors)
			}
			expected := slices.Clone(want)
			if name != "single" { // there the order is known as well
				slices.Sort(got)
				slices.Sort(expected)
			}
			if !slices.Equal(got, expected) {
				t.Errorf("%s of %d: drawn %v, want %v", name, n, got, expected)
			}
		}
	}
}

// Each payload arrives whole and is cycled through, as a multipart form that
// the standard library understands.
func TestMultipart(t *testing.T) {
	var mu sync.Mutex
	got := map[string]int{}
	url, _ := startHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil {
			t.Error(err)
			return
		}
		form := multipart.NewReader(r.Body, params["boundary"])
		part, err := form.NextPart()
		if err != nil {
			t.Error(err)
			return
		}
		data, err := io.ReadAll(part)
		if err != nil {
			t.Error(err)
		}
		if _, err := form.NextPart(); !errors.Is(err, io.EOF) {
			t.Errorf("after the only part: %v", err)
		}
		if part.FormName() != "the file" || part.Header.Get("Content-Type") != "image/jpeg" || part.FileName() == "" {
			t.Errorf("part %v", part.Header)
		}
		mu.Lock()
		defer mu.Unlock()
		got[string(data)]++
	})
	request := wire.Request{
		Method: "POST", Path: "/", Timeout: 10 * time.Second,
		Multipart: &wire.Multipart{Field: "the file",
			Generate: &wire.Generate{Kind: "jpeg", Width: 64, Height: 48, Count: 4, Seed: 3}},
	}
	payloads, err := load.ReadPayloads(request, new(load.Images))
	if err != nil {
		t.Fatal(err)
	}
	for name, l := range modes(12, false) {
		t.Run(name, func(t *testing.T) {
			clear(got)
			r := mustFire(t, &Client{}, load.Job{URL: url, Request: request, Load: l})
			if r.Replies != 12 {
				t.Errorf("%d replies (%v), want 12", r.Replies, r.FirstErrors)
			}
			for _, p := range payloads {
				if got[string(p.Data)] != 3 {
					t.Errorf("%s arrived %d times, want 3", p.Name, got[string(p.Data)])
				}
			}
		})
	}
}

// A body larger than all the socket's buffers arrives whole, on IPv4 and IPv6.
func TestLargeBody(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	file := t.TempDir() + "/large.bin"
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			var right atomic.Int64
			s := startRaw(t, "tcp", address, func(_ *rawServer, c *net.TCPConn, r *bufio.Reader) {
				request, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				if data, err := io.ReadAll(request.Body); err == nil && bytes.Equal(data, body) {
					right.Add(1)
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			})
			request := get("/")
			request.Method, request.Body = "PUT", &wire.Body{Files: []string{file}}
			r := mustFire(t, &Client{}, load.Job{URL: s.url, Request: request, Load: modes(4, false)["mp"]})
			if r.Replies != 4 || right.Load() != 4 {
				t.Errorf("%d replies, %d right, errors %v; want 4", r.Replies, right.Load(), r.FirstErrors)
			}
			if want := int64(4 * len(body)); r.BytesSent < want {
				t.Errorf("%d bytes sent, want at least %d", r.BytesSent, want)
			}
		})
	}
}
