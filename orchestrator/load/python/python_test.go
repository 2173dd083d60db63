package python

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/native"
	"stackmeter/scenarios"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/wire"
)

// local is a client that uses this machine's Python, if that has requests. Otherwise
// the test is skipped.
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
func get(path string) wire.Request {
	return wire.Request{Method: "GET", Path: path, Timeout: 10 * time.Second, Expect: expect.Answer{Status: 200}}
}

func mustPrepare(t testing.TB, c *Client, job load.Job) *batch {
	t.Helper()
	b, err := c.Prepare(t.Context(), job)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	t.Cleanup(func() { b.Close() })
	return b.(*batch)
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

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
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

// TestMain makes the test binary a client process of the native engine, with which
// Python's is compared.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == native.WorkerArgument {
		if err := native.Worker(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// With the race detector a process sleeps for a second before it ends.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}
