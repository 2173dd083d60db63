package python

import (
	"bufio"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
)

// TestBytes compares the client's count with what the sockets carried.
func TestBytes(t *testing.T) {
	c := local(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Name: value\r\n\r\nhello"
	counted := make(chan int64)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		n := &counter{Reader: conn}
		readBody(bufio.NewReader(n))
		_, _ = io.WriteString(conn, answer)
		_, _ = io.Copy(io.Discard, n)
		conn.Close()
		counted <- n.n
	}()
	t.Cleanup(func() { listener.Close() })
	request := get("/path?q=1")
	request.Method, request.JSON = "POST", []byte(`{"a":1}`)
	request.Headers = map[string]string{"X-Own": "yes"}
	r := mustFire(t, c, load.Job{URL: "http://" + listener.Addr().String(), Request: request,
		Load: scenarios.LoadSpec{Requests: 1, Client: scenarios.ClientSingle}})
	if sent := <-counted; r.BytesSent != sent || r.BytesRead != int64(len(answer)) {
		t.Errorf("sent %d, read %d; the server saw %d and sent %d", r.BytesSent, r.BytesRead, sent, len(answer))
	}
}

type counter struct {
	io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

func TestPayloads(t *testing.T) {
	c := local(t)
	dir := t.TempDir()
	var files []string
	for i, text := range []string{"first\x00\xff", "second", "third"} {
		name := filepath.Join(dir, fmt.Sprintf("%d.jpg", i))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	tests := []struct {
		name    string
		request wire.Request
		want    []string // content type and body of each distinct request
	}{
		{"multipart", wire.Request{Multipart: &wire.Multipart{Field: "image", Files: files}},
			[]string{"image/jpeg 0.jpg first\x00\xff", "image/jpeg 1.jpg second", "image/jpeg 2.jpg third"}},
		{"body", wire.Request{Body: &wire.Body{Files: files}},
			[]string{"image/jpeg first\x00\xff", "image/jpeg second", "image/jpeg third"}},
		{"json", wire.Request{JSON: []byte(`{"b": 1, "a": "ü"}`)}, []string{`application/json {"b": 1, "a": "ü"}`}},
		{"type given", wire.Request{JSON: []byte(`1`), Headers: map[string]string{"content-type": "text/x"}}, []string{"text/x 1"}},
		{"nothing", wire.Request{}, []string{" "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var mu sync.Mutex
			got := map[string]int{}
			url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				what := ""
				if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType == "multipart/form-data" {
					file, head, err := r.FormFile("image")
					if err != nil {
						http.Error(w, err.Error(), http.StatusBadRequest)
						return
					}
					data, _ := io.ReadAll(file)
					what = head.Header.Get("Content-Type") + " " + head.Filename + " " + string(data)
				} else {
					data, _ := io.ReadAll(r.Body)
					what = r.Header.Get("Content-Type") + " " + string(data)
				}
				mu.Lock()
				defer mu.Unlock()
				got[what]++
			})
			test.request.Method = "POST"
			r := mustFire(t, c, load.Job{URL: url, Request: test.request,
				Load: scenarios.LoadSpec{Requests: 2 * len(test.want), Client: scenarios.ClientMT, Pool: 2}})
			if r.Errors != 0 {
				t.Fatalf("errors: %v", r.FirstErrors)
			}
			for _, want := range test.want {
				if got[want] != 2 {
					t.Errorf("%q came %d times, want 2; all: %v", want, got[want], got)
				}
			}
		})
	}
}

// TestDrawnPayloads: the engine draws what the native engine draws.
func TestDrawnPayloads(t *testing.T) {
	c := local(t)
	request := wire.Request{
		Method: "POST", Path: "/", Pick: wire.PickRandom, Timeout: 10 * time.Second,
		Body: &wire.Body{Generate: &wire.Generate{Kind: "jpeg", Width: 16, Height: 16, Count: 7, Seed: 1}},
	}
	payloads, err := load.ReadPayloads(request, new(load.Images))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var got []int
	url, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, slices.IndexFunc(payloads, func(p load.Content) bool { return string(p.Data) == string(body) }))
	})
	const seed = 1<<63 + 5 // more than a signed number holds
	for _, l := range modes(40, true) {
		got = nil
		mustFire(t, c, load.Job{URL: url, Request: request, Load: l, Seed: seed})
		var want []int
		for i := range l.Requests {
			want = append(want, load.Drawn(seed, i, 7))
		}
		if l.Client != scenarios.ClientSingle { // there the order is known as well
			slices.Sort(got)
			slices.Sort(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: drawn %v, want %v", l.Client, got, want)
		}
	}
}

// letters are files whose texts are a, b and c.
func letters(t *testing.T) (files []string) {
	t.Helper()
	dir := t.TempDir()
	for _, letter := range []string{"a", "b", "c"} {
		name := filepath.Join(dir, letter+".txt")
		if err := os.WriteFile(name, []byte(letter), 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	return files
}
