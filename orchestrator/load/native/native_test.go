//go:build linux

package native

import (
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
	"stackmeter/scenarios/expect"
	"stackmeter/scenarios/wire"
)

// TestMain makes the test binary its own client process: started with
// load-worker, it is one.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == WorkerArgument {
		if err := Worker(os.Stdin, os.Stdout); err != nil {
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

// modes are one load of each kind, for tests that hold for all of them.
func modes(requests int, keepAlive bool) map[string]scenarios.LoadSpec {
	return map[string]scenarios.LoadSpec{
		"single": {Requests: requests, Client: scenarios.ClientSingle, Pool: 1, KeepAlive: keepAlive},
		"mt":     {Requests: requests, Client: scenarios.ClientMT, Pool: 4, KeepAlive: keepAlive},
		"mp":     {Requests: requests, Client: scenarios.ClientMP, Pool: 3, KeepAlive: keepAlive},
	}
}

// mustFire runs one batch to its end.
func mustFire(t testing.TB, c *Client, job load.Job) load.Result {
	t.Helper()
	b, err := c.prepareBatch(t.Context(), job)
	if err != nil {
		t.Fatalf("Prepare: %v", err)
	}
	defer b.Close()
	r, err := b.Fire(t.Context())
	if err != nil {
		t.Fatalf("Fire: %v", err)
	}
	if got := b.Done(); got != r.Replies+r.Errors {
		t.Errorf("Done is %d after %d replies and %d errors", got, r.Replies, r.Errors)
	}
	return r
}

// get is a small request that expects 200.
func get(path string) wire.Request {
	return wire.Request{Method: "GET", Path: path, Timeout: 10 * time.Second, Expect: expect.Answer{Status: 200}}
}

// closeLater closes files that otherwise live as long as a client process.
func closeLater(t *testing.T, fds ...int) {
	t.Cleanup(func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	})
}
