package remote

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/native"
	"stackmeter/scenarios"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/wire"
)

const (
	otherSide = "other-side" // of this test, as a program
	version   = "1.2.3"
)

func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == native.WorkerArgument:
		err = native.Worker(os.Stdin, os.Stdout)
	case len(os.Args) > 1 && os.Args[1] == otherSide:
		err = Serve(context.Background(), os.Stdin, os.Stdout, &native.Client{}, nil, version)
	default:
		// With the race detector a process sleeps for a second before it ends.
		if err := os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A program is the other side as a process. Closing it closes its stream.
type program struct {
	io.Writer
	io.Reader
	cmd   *exec.Cmd
	close func() error
	ended chan struct{}
}

func (p *program) Close() error { return p.close() }

// opened is a Client whose other sides are processes, and those that it opened.
func opened(t *testing.T) (*Client, func() *program) {
	t.Helper()
	var last atomic.Pointer[program]
	return &Client{Version: version, Open: func(context.Context, string) (io.ReadWriteCloser, error) {
		cmd := exec.Command(os.Args[0], otherSide)
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		cmd.Stderr = os.Stderr
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		p := &program{Writer: stdin, Reader: stdout, cmd: cmd, ended: make(chan struct{})}
		p.close = sync.OnceValue(func() error {
			err := errors.Join(stdin.Close(), stdout.Close())
			go func() {
				_ = cmd.Wait()
				close(p.ended)
			}()
			return err
		})
		t.Cleanup(func() {
			p.Close()
			select {
			case <-p.ended:
			case <-time.After(20 * time.Second):
				t.Errorf("process %d goes on though its stream was closed", cmd.Process.Pid)
				_ = cmd.Process.Kill()
			}
		})
		last.Store(p)
		return p, nil
	}}, last.Load
}

func job(url string, l scenarios.LoadSpec) load.Job {
	return load.Job{URL: url, Load: l, Request: wire.Request{Method: "GET", Path: "/", Timeout: 10 * time.Second, Expect: expect.Answer{Status: 200}}}
}

func fire(ctx context.Context, c *Client, j load.Job) (load.Result, error) {
	b, err := c.Prepare(ctx, j)
	if err != nil {
		return load.Result{}, err
	}
	defer b.Close()
	return b.Fire(ctx)
}

// TestRemoteLoads: every kind of load is sent by the other process, whole, and its
// result is what the client made.
func TestRemoteLoads(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if served.Add(1)%10 == 0 {
			w.WriteHeader(500)
		}
	}))
	defer server.Close()
	c, _ := opened(t)
	for _, l := range []scenarios.LoadSpec{
		{Client: scenarios.ClientSingle, Pool: 1, Requests: 40},
		{Client: scenarios.ClientMT, Pool: 4, Requests: 40, KeepAlive: true},
		{Client: scenarios.ClientMP, Pool: 2, Requests: 40},
		{Client: scenarios.ClientOpen, Pool: 8, Requests: 40, Rate: 200, Arrivals: scenarios.ArrivalsPoisson},
	} {
		t.Run(l.Name(), func(t *testing.T) {
			served.Store(0)
			result, err := fire(t.Context(), c, job(server.URL, l))
			if err != nil {
				t.Fatal(err)
			}
			if served.Load() != 40 || result.Requests != 40 || result.Replies != 36 || result.Errors != 4 || result.ErrorKinds[load.ErrStatus] != 4 ||
				!strings.Contains(result.FirstErrors[load.ErrStatus], "500") {
				t.Errorf("%d were served, and the result is %+v", served.Load(), result)
			}
			if trips := result.RoundTrips; trips == nil || trips.Count() < 1 || trips.Count() > mostTrips || trips.Min() <= 0 || trips.Min() > result.Latency.Max() {
				t.Errorf("round trips: %+v", trips)
			}
			if result.Latency.Count() != 36 || result.Latency.Min() <= 0 || result.Duration <= 0 || result.CPU <= 0 || result.BytesSent == 0 {
				t.Errorf("latencies %d from %v, duration %v, CPU %v, sent %d", result.Latency.Count(), result.Latency.Min(), result.Duration, result.CPU, result.BytesSent)
			}
		})
	}
}

// TestRemoteFiles: the other side sends the very files that are here, by their names,
// though two of them have the same, one is empty and one is longer than a message.
func TestRemoteFiles(t *testing.T) {
	dir := t.TempDir()
	want := map[string]int{}
	var files []string
	for i, data := range [][]byte{[]byte("first"), []byte("second"), nil, bytes.Repeat([]byte("long "), pieceSize/3)} {
		name := filepath.Join(dir, fmt.Sprint(i), []string{"a.jpg", "a.jpg", "empty.png", "long.bin"}[i])
		if err := errors.Join(os.Mkdir(filepath.Dir(name), 0o755), os.WriteFile(name, data, 0o600)); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
		want[filepath.Base(name)+" "+string(data)] = 2
	}
	var mu sync.Mutex
	got := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, header, err := r.FormFile("file")
		if err != nil {
			http.Error(w, err.Error(), 400)
			return
		}
		data, _ := io.ReadAll(f)
		mu.Lock()
		got[header.Filename+" "+string(data)]++
		mu.Unlock()
	}))
	defer server.Close()
	c, _ := opened(t)
	j := job(server.URL, scenarios.LoadSpec{Client: scenarios.ClientSingle, Pool: 1, Requests: 8})
	j.Request.Method, j.Request.Multipart = "POST", &wire.Multipart{Field: "file", Files: files}
	result, err := fire(t.Context(), c, j)
	if err != nil || result.Replies != 8 {
		t.Fatalf("%+v, %v", result, err)
	}
	if !reflect.DeepEqual(got, want) {
		for name, n := range got {
			t.Errorf("%d × %.40q", n, name)
		}
	}
	if !reflect.DeepEqual(j.Request.Multipart.Files, files) {
		t.Errorf("the job was changed: %v", j.Request.Multipart.Files)
	}
	j.Request.Multipart.Files = append(files, filepath.Join(dir, "none.jpg"))
	if _, err := c.Prepare(t.Context(), j); err == nil || !strings.Contains(err.Error(), "none.jpg") {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestRemoteStops: a batch that is given up returns what was finished until then, and
// nothing of it goes on.
func TestRemoteStops(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) }))
	defer server.Close()
	c, last := opened(t)
	b, err := c.Prepare(t.Context(), job(server.URL, scenarios.LoadSpec{Client: scenarios.ClientMP, Pool: 2, Requests: 100_000}))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for b.Done() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		cancel()
	}()
	result, err := b.Fire(ctx)
	if !errors.Is(err, context.Canceled) || result.Replies == 0 || result.Replies == 100_000 || result.Latency.Count() != int64(result.Replies) {
		t.Errorf("%d replies, %v", result.Replies, err)
	}
	if b.Done() != result.Replies+result.Errors {
		t.Errorf("done %d of %d", b.Done(), result.Replies)
	}
	b.Close()
	<-last().ended
	if left, err := filepath.Glob(filepath.Join(strings.TrimPrefix(envOf(last().cmd, "TMPDIR"), "TMPDIR="), "*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

func envOf(cmd *exec.Cmd, name string) string {
	found := ""
	for _, pair := range cmd.Env {
		if strings.HasPrefix(pair, name+"=") {
			found = pair
		}
	}
	return found
}

// TestRemoteIsKilled: the server is not to blame where the other side is killed, or
// never was the right one.
func TestRemoteIsKilled(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) }))
	defer server.Close()
	c, last := opened(t)
	b, err := c.Prepare(t.Context(), job(server.URL, scenarios.LoadSpec{Client: scenarios.ClientMT, Pool: 2, Requests: 100_000}))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	go func() {
		for b.Done() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		_ = last().cmd.Process.Signal(syscall.SIGKILL)
	}()
	if result, err := b.Fire(t.Context()); !errors.Is(err, load.ErrDisturbed) {
		t.Errorf("%+v, %v", result, err)
	}
	other := *c
	other.Version = "1.2.4"
	if _, err := other.Prepare(t.Context(), job(server.URL, scenarios.LoadSpec{Client: scenarios.ClientSingle, Pool: 1, Requests: 1})); err == nil ||
		!strings.Contains(err.Error(), "1.2.3") || !strings.Contains(err.Error(), "image anew") {
		t.Errorf("another version: %v", err)
	}
}

// TestRemoteRefuses: what the client refuses to prepare is told here.
func TestRemoteRefuses(t *testing.T) {
	c, _ := opened(t)
	_, err := c.Prepare(t.Context(), job("http://none.invalid:1/", scenarios.LoadSpec{Client: scenarios.ClientSingle, Pool: 1, Requests: 1}))
	if err == nil || !strings.Contains(err.Error(), "none.invalid") || errors.Is(err, load.ErrDisturbed) {
		t.Errorf("%v", err)
	}
}

// TestConnect: what is written to the stream reaches the address and comes back, the end of
// one is the end of the other, and an address where nobody listens is told so.
func TestConnect(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.CopyN(conn, conn, 4) // the server ends it after that
			}()
		}
	}()
	connect := func(address string) (in *io.PipeWriter, out *io.PipeReader, ended chan error) {
		from, in := io.Pipe()
		out, to := io.Pipe()
		ended = make(chan error, 1)
		go func() {
			ended <- Connect(t.Context(), address, from, to)
			to.Close()
		}()
		return in, out, ended
	}
	in, out, ended := connect(listener.Addr().String())
	got := make([]byte, 5)
	if _, err := io.ReadFull(out, got[:1]); err != nil || got[0] != 0 {
		t.Errorf("%v, %v", got, err)
	}
	go func() { _, _ = in.Write([]byte("ping")) }()
	if _, err := io.ReadFull(out, got[1:]); err != nil || string(got[1:]) != "ping" {
		t.Errorf("%q, %v", got, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	in, out, ended = connect(listener.Addr().String())
	if _, err := io.ReadFull(out, got[:1]); err != nil {
		t.Error(err)
	}
	in.Close()
	<-ended
	listener.Close()
	if _, _, ended = connect(listener.Addr().String()); !errors.Is(<-ended, syscall.ECONNREFUSED) {
		t.Error("nobody listens, and it is not told")
	}
}

// TestResultsAreWhole: every figure of a result comes over the stream as it was.
func TestResultsAreWhole(t *testing.T) {
	var sent load.Result
	fill(reflect.ValueOf(&sent).Elem())
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(answer{Result: &sent}); err != nil {
		t.Fatal(err)
	}
	var got answer
	if err := gob.NewDecoder(&b).Decode(&got); err != nil {
		t.Fatal(err)
	}
	was, is := reflect.ValueOf(sent), reflect.ValueOf(*got.Result)
	for i := range was.NumField() {
		name := was.Type().Field(i).Name
		if latency, ok := was.Field(i).Interface().(*load.Latency); ok {
			a, _ := latency.MarshalBinary()
			b, err := is.Field(i).Interface().(*load.Latency).MarshalBinary()
			if err != nil || !bytes.Equal(a, b) {
				t.Errorf("%s is another: %v", name, err)
			}
		} else if a, b := was.Field(i).Interface(), is.Field(i).Interface(); !reflect.DeepEqual(a, b) || was.Field(i).IsZero() {
			t.Errorf("%s was %v, and is %v", name, a, b)
		}
	}
}

// fill gives everything a value that is not its zero one.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(0.7)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("seven")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.SetMapIndex(key, value)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		if latency, ok := v.Interface().(*load.Latency); ok {
			latency.Record(7 * time.Millisecond)
			return
		}
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	default:
		panic(v.Kind())
	}
}
