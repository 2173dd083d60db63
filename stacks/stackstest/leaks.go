package stackstest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"
)

// leakPatience is how long what is ending anyway may take to be gone: a
// connection that was closed, a process that was killed.
const leakPatience = 10 * time.Second

// NoLeaks fails the test when, after all that was deferred to its end, this
// process has a goroutine, an open file or socket, or a child process that it
// did not have when NoLeaks was called. No other test may run at the same time.
func NoLeaks(t testing.TB) {
	t.Helper()
	// Go opens what it waits for sockets with once, and keeps it.
	if listener, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		listener.Close()
	}
	before := holdings(t)
	t.Cleanup(func() {
		if leaked := gained(t, before, leakPatience); len(leaked) > 0 {
			t.Errorf("this process still has %d things that it had not before:\n%s", len(leaked), strings.Join(leaked, "\n"))
		}
	})
}

// gained lists, in words, what this process has and had not before, once that
// is nothing or time is up.
func gained(t testing.TB, before map[string]string, patience time.Duration) []string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		var more []string
		for id, what := range holdings(t) {
			if _, known := before[id]; !known {
				more = append(more, what)
			}
		}
		if len(more) == 0 || time.Now().After(deadline) {
			slices.Sort(more)
			return more
		}
	}
}

// holdings are what this process has, in words, by what is never the same for
// two of them. Of a machine without /proc they are the goroutines alone.
func holdings(t testing.TB) map[string]string {
	t.Helper()
	have := map[string]string{}
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	for one := range strings.SplitSeq(stacks.String(), "\n\n") {
		// "goroutine 7 [chan receive]:", then its calls. That which reads the
		// process's signals stays once there was someone to tell of them.
		id, _, _ := strings.Cut(one, " [")
		if !strings.Contains(one, "os/signal.loop") {
			have[id] = one
		}
	}
	files, _ := filepath.Glob("/proc/self/fd/*")
	for _, file := range files {
		// The folder that was listed is closed by now.
		if target, err := os.Readlink(file); err == nil {
			have[file+" "+target] = "an open file: " + target
		}
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range processes {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// "PID (NAME) STATE PARENT …"; a name may hold anything.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		if len(fields) > 1 && fields[1] == fmt.Sprint(os.Getpid()) {
			have[file] = "a child process, in state " + fields[0] + ": " + string(text[:bytes.LastIndexByte(text, ')')+1])
		}
	}
	return have
}
