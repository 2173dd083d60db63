package python

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// local is a client over a Python of this machine that has requests; without
// one the test is skipped.
func local(t testing.TB) *Client {
	t.Helper()
	for _, candidate := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(candidate, "-I", "-c", "import requests").Run() == nil {
			return &Client{Launcher: Local{Python: candidate}}
		}
	}
	t.Skip("needs a python3 with requests: apt-get install python3-requests")
	return nil
}

// modes are one load of each kind.
func modes(requests int, keepAlive bool) []scenarios.LoadSpec {
	return []scenarios.LoadSpec{
		{Requests: requests, Client: scenarios.ClientSingle, Pool: 1, KeepAlive: keepAlive},
		{Requests: requests, Client: scenarios.ClientMT, Pool: 4, KeepAlive: keepAlive},
		{Requests: requests, Client: scenarios.ClientMP, Pool: 3, KeepAlive: keepAlive},
	}
}

// get is a small request that expects 200.
func get(path string) scenarios.Request {
	return scenarios.Request{Method: "GET", Path: path, Timeout: 10 * time.Second, Expect: scenarios.Expect{Status: 200}}
}

func mustPrepare(t testing.TB, c *Client, job load.Job) *Batch {
	t.Helper()
	b, err := c.Prepare(t.Context(), job)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func mustFire(t testing.TB, c *Client, job load.Job) load.Result {
	t.Helper()
	b := mustPrepare(t, c, job)
	r, err := b.Fire(t.Context())
	if err != nil {
		t.Fatalf("Fire: %v", err)
	}
	if got := b.Done(); got != r.Replies+r.Errors {
		t.Errorf("Done is %d after %d replies and %d errors", got, r.Replies, r.Errors)
	}
	return r
}

// serve answers with net/http and counts connections.
func serve(t testing.TB, handler http.HandlerFunc) (url string, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Close()
		<-stopped
	})
	return "http://" + listener.Addr().String(), connections
}

// serveRaw answers each request of a connection with the same bytes and then
// closes it, or, with no bytes, does what end does.
func serveRaw(t testing.TB, answer string, end func(*net.TCPConn, <-chan struct{})) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var handlers sync.WaitGroup
	handlers.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			handlers.Go(func() {
				defer c.Close()
				if !readRequest(bufio.NewReader(c)) {
					return
				}
				if _, err := io.WriteString(c, answer); err == nil && end != nil {
					end(c.(*net.TCPConn), done)
				}
			})
		}
	})
	t.Cleanup(func() {
		close(done)
		listener.Close()
		handlers.Wait()
	})
	return "http://" + listener.Addr().String()
}

func readRequest(r *bufio.Reader) bool {
	p := textproto.NewReader(r)
	if _, err := p.ReadLine(); err != nil {
		return false
	}
	header, err := p.ReadMIMEHeader()
	if err != nil {
		return false
	}
	length, _ := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	_, err = io.CopyN(io.Discard, r, length)
	return err == nil
}

// hang keeps a connection open until the other side or the test ends.
func hang(c *net.TCPConn, done <-chan struct{}) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c)
	}()
	select {
	case <-gone:
	case <-done:
	}
	c.Close()
	<-gone
}

func TestModes(t *testing.T) {
	c := local(t)
	for _, keepAlive := range []bool{false, true} {
		for _, spec := range modes(20, keepAlive) {
			t.Run(spec.Name(), func(t *testing.T) {
				var mu sync.Mutex
				agents := map[string]int{}
				url, connections := serve(t, func(w http.ResponseWriter, r *http.Request) {
					mu.Lock()
					defer mu.Unlock()
					agents[r.UserAgent()]++
					fmt.Fprint(w, "hello")
				})
				r := mustFire(t, c, load.Job{URL: url, Request: get("/a?b=c"), Load: spec})
				if r.Requests != 20 || r.Replies != 20 || r.Errors != 0 || len(r.ErrorKinds) != 0 {
					t.Errorf("%d requests, %d replies, errors %v", r.Requests, r.Replies, r.FirstErrors)
				}
				if len(agents) != 1 || !strings.HasPrefix(slices.Collect(keys(agents))[0], "python-requests/") {
					t.Errorf("user agents %v", agents)
				}
				clients := int64(spec.Pool)
				if n := connections.Load(); !keepAlive && n != 20 || keepAlive && (n < 1 || n > clients) {
					t.Errorf("%d connections", n)
				}
				hand := HandChunks
				if spec.Client == scenarios.ClientSingle {
					hand = load.HandNext
				}
				if r.Hand != hand {
					t.Errorf("hand %q, want %q", r.Hand, hand)
				}
				if r.Latency == nil || r.Latency.Count() != 20 || r.Latency.Min() <= 0 || r.Latency.Max() > r.Duration {
					t.Errorf("latency %+v within %v", r.Latency, r.Duration)
				}
				if r.Duration <= 0 || r.StartDelay <= 0 || r.StartDelay > r.Duration || r.CPU <= 0 || r.Little <= 0 || r.Little > 1+1e-9 {
					t.Errorf("duration %v, start delay %v, CPU %v, Little %v", r.Duration, r.StartDelay, r.CPU, r.Little)
				}
			})
		}
	}
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TestBytes holds the client's count against what the sockets carried.
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
		readRequest(bufio.NewReader(n))
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
		request scenarios.Request
		want    []string // content type and body of each distinct request
	}{
		{"multipart", scenarios.Request{Multipart: &scenarios.Multipart{Field: "image", Files: files}},
			[]string{"image/jpeg 0.jpg first\x00\xff", "image/jpeg 1.jpg second", "image/jpeg 2.jpg third"}},
		{"body", scenarios.Request{Body: &scenarios.Body{Files: files}},
			[]string{"image/jpeg first\x00\xff", "image/jpeg second", "image/jpeg third"}},
		{"json", scenarios.Request{JSON: []byte(`{"b": 1, "a": "ü"}`)}, []string{`application/json {"b": 1, "a": "ü"}`}},
		{"type given", scenarios.Request{JSON: []byte(`1`), Headers: map[string]string{"content-type": "text/x"}}, []string{"text/x 1"}},
		{"nothing", scenarios.Request{}, []string{" "}},
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

func TestErrorKinds(t *testing.T) {
	c := local(t)
	c.MaxBody = 1000
	reset := func(conn *net.TCPConn, _ <-chan struct{}) { _ = conn.SetLinger(0) }
	drip := func(conn *net.TCPConn, done <-chan struct{}) {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond): // the server's own pace: well below the time-out
				if _, err := io.WriteString(conn, "X"); err != nil {
					return
				}
			}
		}
	}
	tests := []struct {
		name   string
		answer string
		end    func(*net.TCPConn, <-chan struct{})
		kind   string
		says   string
	}{
		{"closed without an answer", "", nil, load.ErrReset, "closed"},
		{"reset without an answer", "", reset, load.ErrReset, "reset"},
		{"no answer in time", "", hang, load.ErrTimeout, "time-out"},
		{"half an answer in time", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", hang, load.ErrTimeout, "time-out"},
		{"a head that drips", "HTTP/1.1 200 OK\r\nX-Flood: ", drip, load.ErrTimeout, "time-out"},
		{"a body that drips", "HTTP/1.1 200 OK\r\n\r\n", drip, load.ErrTimeout, "time-out"},
		{"too short a body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", nil, load.ErrTruncated, ""},
		{"reset within the body", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", reset, load.ErrTruncated, ""},
		{"cut within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf", nil, load.ErrTruncated, ""},
		{"cut between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", nil, load.ErrTruncated, ""},
		{"a wrong chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", nil, load.ErrProtocol, ""},
		{"no HTTP", "SSH-2.0-OpenSSH\r\n", nil, load.ErrProtocol, "SSH-2.0"},
		{"a status that is none", "HTTP/1.1 abc\r\n\r\n", nil, load.ErrProtocol, "abc"},
		{"a body that is no gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf", nil, load.ErrProtocol, ""},
		{"too large a body", "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + strings.Repeat("x", 2000), nil, load.ErrProtocol, "1000"},
		{"another status", "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", nil, load.ErrStatus, "status 503 instead of 200"},
		{"a redirect", "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", nil, load.ErrStatus, "302"},
	}
	for _, test := range tests {
		for _, spec := range modes(3, false) {
			t.Run(test.name+"/"+spec.Client, func(t *testing.T) {
				t.Parallel()
				request := get("/")
				request.Timeout = 300 * time.Millisecond
				if test.kind != load.ErrTimeout {
					request.Timeout = 20 * time.Second
				}
				r := mustFire(t, c, load.Job{URL: serveRaw(t, test.answer, test.end), Request: request, Load: spec})
				if r.Replies != 0 || r.Errors != 3 || r.ErrorKinds[test.kind] != 3 || r.Latency != nil {
					t.Errorf("%d replies, errors %v: %v; want 3 of kind %s", r.Replies, r.ErrorKinds, r.FirstErrors, test.kind)
				}
				if message := r.FirstErrors[test.kind]; message == "" || !strings.Contains(message, test.says) {
					t.Errorf("message %q does not say %q", message, test.says)
				}
			})
		}
	}
	t.Run("nobody listens", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "http://" + listener.Addr().String()
		listener.Close()
		r := mustFire(t, c, load.Job{URL: url, Request: get("/"), Load: modes(3, false)[1]})
		if r.ErrorKinds[load.ErrConnect] != 3 || !strings.Contains(r.FirstErrors[load.ErrConnect], "refused") {
			t.Errorf("errors %v: %v", r.ErrorKinds, r.FirstErrors)
		}
	})
}

// TestErrorsBesideReplies has both in one batch.
func TestErrorsBesideReplies(t *testing.T) {
	c := local(t)
	var n atomic.Int64
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%3 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	r := mustFire(t, c, load.Job{URL: url, Request: get("/"), Load: modes(30, false)[2]})
	if r.Replies != 20 || r.ErrorKinds[load.ErrStatus] != 10 || r.Latency.Count() != 20 {
		t.Errorf("%d replies, errors %v, %d latencies", r.Replies, r.ErrorKinds, r.Latency.Count())
	}
}

func TestCores(t *testing.T) {
	c := local(t)
	url, _ := serve(t, func(http.ResponseWriter, *http.Request) {})
	b := mustPrepare(t, c, load.Job{URL: url, Request: get("/"), Load: modes(6, false)[2], Cores: []int{0}})
	for _, pid := range append(children(t, b), group(b)) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !strings.Contains(string(status), "Cpus_allowed_list:\t0\n") {
			t.Errorf("process %d is not held to core 0: %v", pid, err)
		}
	}
	if r, err := b.Fire(t.Context()); err != nil || !slices.Equal(r.Cores, []int{0}) {
		t.Errorf("cores %v, %v", r.Cores, err)
	}
	if _, err := c.Prepare(t.Context(), load.Job{URL: url, Request: get("/"), Load: modes(6, false)[0], Cores: []int{9999}}); err == nil {
		t.Error("held to a core that is not there")
	}
}

func TestAnySuccess(t *testing.T) {
	c := local(t)
	url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })
	request := get("/")
	request.Expect.Status = 0
	if r := mustFire(t, c, load.Job{URL: url, Request: request, Load: modes(2, false)[0]}); r.Replies != 2 {
		t.Errorf("status 202: %d replies, %v", r.Replies, r.FirstErrors)
	}
}

func TestGiveUp(t *testing.T) {
	c := local(t)
	for _, spec := range modes(60, false) {
		t.Run(spec.Client, func(t *testing.T) {
			url, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
			r := mustFire(t, c, load.Job{URL: url, Request: get("/"), Load: spec, GiveUp: 5})
			// Those under way when it becomes hopeless still end.
			processes, clients := 1, spec.Pool
			if spec.Client == scenarios.ClientMP {
				processes, clients = spec.Pool, 1
			}
			if r.Requests != 60 || r.Errors < 5 || r.Errors > processes*(max(5, clients)+clients) {
				t.Errorf("%d of %d requests were sent", r.Errors, r.Requests)
			}
		})
	}
}

// waitingServer holds every request and tells of the first one.
func waitingServer(t *testing.T, answered int64) (url string, first <-chan struct{}) {
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var n atomic.Int64
	url, _ = serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if n.Add(1) <= answered {
			return
		}
		once.Do(func() { close(arrived) })
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	return url, arrived
}

func TestCancel(t *testing.T) {
	c := local(t)
	for _, spec := range modes(40, false) {
		t.Run(spec.Client, func(t *testing.T) {
			url, first := waitingServer(t, 4)
			b := mustPrepare(t, c, load.Job{URL: url, Request: get("/"), Load: spec})
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("the test's reason")
			go func() {
				<-first
				eventually(t, "the first replies are not counted", func() bool { return b.Done() == 4 })
				cancel(why)
			}()
			r, err := b.Fire(ctx)
			if !errors.Is(err, why) {
				t.Errorf("Fire: %v", err)
			}
			if r.Replies != 4 || r.Errors != 0 || r.Latency.Count() != 4 {
				t.Errorf("%d replies and %d errors, want the 4 that were answered", r.Replies, r.Errors)
			}
			nothingLeft(t, b)
		})
	}
}

// eventually waits for what happens in another process.
func eventually(t *testing.T, otherwise string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Error(otherwise)
			return
		}
	}
}

// nothingLeft fails the test when processes of the batch's group stay. Orphans
// that have ended and that nobody has looked at yet are gone all the same.
func nothingLeft(t *testing.T, b *Batch) {
	t.Helper()
	eventually(t, "processes of the batch are left", func() bool {
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, name := range stats {
			stat, _ := os.ReadFile(name)
			_, rest, _ := strings.Cut(string(stat), ") ")
			var state string
			var parent, of int
			if n, _ := fmt.Sscan(rest, &state, &parent, &of); n == 3 && of == group(b) && state != "Z" {
				return false
			}
		}
		return true
	})
}

func group(b *Batch) int { return b.process.(*localProcess).cmd.Process.Pid }

func TestClose(t *testing.T) {
	c := local(t)
	for _, spec := range modes(10, false) {
		t.Run(spec.Client, func(t *testing.T) {
			url, first := waitingServer(t, 0)
			job := load.Job{URL: url, Request: get("/"), Load: spec}

			b := mustPrepare(t, c, job)
			if err := errors.Join(b.Close(), b.Close()); err != nil {
				t.Errorf("Close: %v", err)
			}
			nothingLeft(t, b)
			if _, err := b.Fire(t.Context()); err == nil {
				t.Error("a closed batch was fired")
			}

			b = mustPrepare(t, c, job)
			go func() {
				<-first
				b.Close()
			}()
			if _, err := b.Fire(t.Context()); err == nil {
				t.Error("Fire did not notice Close")
			}
			nothingLeft(t, b)
			if _, err := b.Fire(t.Context()); err == nil {
				t.Error("a batch was fired twice")
			}
		})
	}
}

// children are the processes that the batch's own has started.
func children(t *testing.T, b *Batch) []int {
	t.Helper()
	pid := group(b)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Skipf("needs /proc/PID/task/PID/children: %v", err)
	}
	var list []int
	for field := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, child)
	}
	return list
}

func TestWorkerDies(t *testing.T) {
	c := local(t)
	url, first := waitingServer(t, 4)
	b := mustPrepare(t, c, load.Job{URL: url, Request: get("/"), Load: modes(40, false)[2]})
	pool := children(t, b)
	if len(pool) != 3 {
		t.Fatalf("the pool's processes are %v", pool)
	}
	go func() {
		<-first
		eventually(t, "the first replies are not counted", func() bool { return b.Done() == 4 })
		_ = syscall.Kill(pool[1], syscall.SIGKILL)
	}()
	r, err := b.Fire(t.Context())
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d of the pool ended with status -9", pool[1])) {
		t.Errorf("Fire: %v", err)
	}
	if r.Replies != 4 {
		t.Errorf("%d replies, want the 4 that were answered", r.Replies)
	}
	nothingLeft(t, b)
}

func TestProgramDies(t *testing.T) {
	c := local(t)
	url, first := waitingServer(t, 0)
	b := mustPrepare(t, c, load.Job{URL: url, Request: get("/"), Load: modes(40, false)[2]})
	go func() {
		<-first
		// The process alone: its pool has to notice by itself.
		_ = syscall.Kill(group(b), syscall.SIGKILL)
	}()
	if _, err := b.Fire(t.Context()); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("Fire: %v", err)
	}
	nothingLeft(t, b)
}

func TestCannotStart(t *testing.T) {
	c := local(t)
	job := load.Job{URL: "http://127.0.0.1:9", Request: get("/"), Load: modes(1, false)[0]}
	script := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho 'No module named requests' >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	silent := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(silent, []byte("#!/bin/sh\nexec sleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	wrong := filepath.Join(t.TempDir(), "python")
	if err := os.WriteFile(wrong, []byte("#!/bin/sh\necho hello; exec sleep 600\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		python string
		change func(*load.Job)
		says   string
	}{
		{"no interpreter", "/nonexistent/python3", nil, "no such file"},
		{"no module", script, nil, "No module named requests"},
		{"no Python", wrong, nil, "what the Python client says"},
		{"a client of another engine", "", func(j *load.Job) { j.Load.Client = "open" }, `client "open" is not one of the engine`},
		{"no requests", "", func(j *load.Job) { j.Load.Requests = 0 }, "0 requests"},
		{"single with a pool", "", func(j *load.Job) { j.Load.Pool = 2 }, "pool of 1"},
		{"too large a pool", "", func(j *load.Job) { j.Load.Client, j.Load.Pool = "mp", 1001 }, "pool of 1001"},
		{"a body to check", "", func(j *load.Job) { j.Request.Expect.Match = "x" }, "status only"},
		{"no field", "", func(j *load.Job) { j.Request.Multipart = &scenarios.Multipart{Files: []string{script}} }, "field"},
		{"no file", "", func(j *load.Job) { j.Request.Body = &scenarios.Body{Files: []string{"/nonexistent"}} }, "no such file"},
		{"no URL", "", func(j *load.Job) { j.URL = "127.0.0.1:80" }, "URL"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			one, job := *c, job
			if test.python != "" {
				one.Launcher = Local{Python: test.python}
			}
			if test.change != nil {
				test.change(&job)
			}
			b, err := one.Prepare(t.Context(), job)
			if err == nil {
				b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Prepare: %v; want %q", err, test.says)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("the test's reason")
		cancel(why)
		if _, err := (&Client{Launcher: Local{Python: silent}}).Prepare(ctx, job); !errors.Is(err, why) {
			t.Errorf("Prepare: %v", err)
		}
	})
}
