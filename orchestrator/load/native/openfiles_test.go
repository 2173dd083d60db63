//go:build linux

package native

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"stackmeter/orchestrator/load"
	"stackmeter/scenarios"
)

// Of TestTooFewFiles.
const (
	filesMark  = "STACKMETER_TEST_FILES" // set in the process with the limit: the server's URL
	filesLimit = 200
)

// TestTooFewFiles: clients that need more open files than a process may have are
// refused, with what to do. Those that do not need more send without an error.
func TestTooFewFiles(t *testing.T) {
	if url := os.Getenv(filesMark); url != "" {
		withTooFewFiles(t, url)
		return
	}
	url, _ := startHTTP(t, func(http.ResponseWriter, *http.Request) {})
	limited := exec.Command("sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" -test.run '^TestTooFewFiles$'`, filesLimit), os.Args[0])
	limited.Env = append(os.Environ(), filesMark+"="+url)
	if out, err := limited.CombinedOutput(); err != nil {
		t.Errorf("under the limit: %v\n%s", err, out)
	}
}

func withTooFewFiles(t *testing.T, url string) {
	most := filesLimit - filesBeside
	for _, test := range []struct {
		mode string
		pool int
		fits bool
	}{
		{scenarios.ClientMT, most, true},
		{scenarios.ClientMT, most + 1, false},
		{scenarios.ClientOpen, most + 1, false},
		{scenarios.ClientMP, most / filesOfProcess, true},
		{scenarios.ClientMP, most/filesOfProcess + 1, false},
	} {
		c := &Client{}
		job := load.Job{URL: url, Request: get("/"), Load: scenarios.LoadSpec{Requests: 2 * test.pool, Client: test.mode, Pool: test.pool, KeepAlive: true}}
		if test.fits {
			if r := mustFire(t, c, job); r.Errors > 0 {
				t.Errorf("%s of %d: %v", test.mode, test.pool, r.FirstErrors)
			}
			continue
		}
		b, err := c.prepareBatch(t.Context(), job)
		if err == nil {
			b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("its hard limit is %d; raise it (ulimit -Hn ", filesLimit)) {
			t.Errorf("%s of %d: %v", test.mode, test.pool, err)
		}
	}
}

// If this machine allows no more files for connections, the batch fails and says so.
// It is no error of the server.
func TestNoMoreFiles(t *testing.T) {
	url, _ := startHTTP(t, discard)
	program := filepath.Join(t.TempDir(), "few-files")
	script := "#!/bin/sh\nulimit -n 32\nexec '" + os.Args[0] + "' \"$@\"\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	c := &Client{command: []string{program, WorkerArgument}}
	b, err := c.prepareBatch(t.Context(), load.Job{URL: url, Request: get("/"), Load: fifty(100)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Fire(t.Context()); err == nil || !strings.Contains(err.Error(), "the client's machine: too many open files") {
		t.Errorf("got %v; want too many open files on the client's machine", err)
	}
}
