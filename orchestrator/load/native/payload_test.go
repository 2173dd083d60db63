//go:build linux

package native

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
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
	for name, request := range map[string]scenarios.Request{
		"body": {Body: &scenarios.Body{Files: []string{file}}},
		"form": {Multipart: &scenarios.Multipart{Field: "f", Files: []string{file}}},
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

// TestFileThatChanges: a file that is not as long as it was is an error, and no
// request that says another length than it has.
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
