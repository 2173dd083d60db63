package python

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator/load"
)

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

// nothingLeft fails the test if processes of the batch's group stay. Orphans that have
// ended count as gone, even if nobody has waited for them yet.
func nothingLeft(t *testing.T, b *batch) {
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

func group(b *batch) int { return b.process.(*localProcess).cmd.Process.Pid }

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

// children are the processes that the batch's process has started.
func children(t *testing.T, b *batch) []int {
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
	if !errors.Is(err, load.ErrDisturbed) || !strings.Contains(err.Error(), fmt.Sprintf("process %d of the pool ended with status -9", pool[1])) {
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
	if _, err := b.Fire(t.Context()); !errors.Is(err, load.ErrDisturbed) || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("Fire: %v", err)
	}
	nothingLeft(t, b)
}

// TestAttackStoppedClient: a signal stops the program or a process of its pool, for a
// moment or for good. Whoever was measured then, it was not the server.
func TestAttackStoppedClient(t *testing.T) {
	for _, test := range []struct {
		name   string
		mode   int  // of modes
		of     int  // of the program and its pool's processes
		goesOn bool // if not, it stays stopped
		says   string
	}{
		{"the only process", 0, 0, true, "a signal stopped it"},
		{"the program of threads", 1, 0, true, "a signal stopped it"},
		{"the program of a pool", 2, 0, true, "a signal stopped it"},
		{"a process of the pool", 2, 1, true, "of the pool"},
		{"a process of the pool, for good", 2, 1, false, "of the pool"},
		{"the only process, for good", 0, 0, false, "said nothing for"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := local(t)
			url, first := waitingServer(t, 4)
			c.silence = 2 * time.Second
			if test.goesOn { // the requests go on too
				c.silence = time.Minute
				url, _ = serve(t, func(http.ResponseWriter, *http.Request) { time.Sleep(50 * time.Millisecond) })
			}
			b := mustPrepare(t, c, load.Job{URL: url, Request: get("/"), Load: modes(40, false)[test.mode]})
			process := append([]int{group(b)}, children(t, b)...)[test.of]
			go func() {
				if !test.goesOn {
					<-first
				}
				eventually(t, "the first replies are not counted", func() bool { return b.Done() >= 4 })
				_ = syscall.Kill(process, syscall.SIGSTOP)
				if test.goesOn {
					time.Sleep(100 * time.Millisecond)
					_ = syscall.Kill(process, syscall.SIGCONT)
				}
			}()
			if _, err := b.Fire(t.Context()); !errors.Is(err, load.ErrDisturbed) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Fire: %v", err)
			}
			nothingLeft(t, b)
		})
	}
}
