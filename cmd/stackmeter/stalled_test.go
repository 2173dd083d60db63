package main

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/results"
)

// stalled is the end to write to of a pipe that is full, and that nobody reads.
func stalled(t *testing.T) *os.File {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { read.Close(); write.Close() })
	fd := int(write.Fd()) // waits from now on, as a shell's pipe does
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = unix.Write(fd, make([]byte, 4096))
	}
	if err != unix.EAGAIN {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
	return write
}

// awaitRecord waits until the session's store holds a finished cell.
func (s *session) awaitRecord(ctx context.Context) {
	s.t.Helper()
	for ctx.Err() == nil {
		store, err := openStore(ctx, filepath.Join(s.dir, defaultStore))
		if err == nil {
			_, records, err := store.Run(ctx, "")
			store.Close()
			if err == nil && len(records) > 0 {
				return
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Fatal("no cell was measured")
}

// TestFault04TerminatedWhileOutputStalls sends SIGTERM when standard error, or
// both outputs, take nothing any more. What is promised is promised then too.
func TestFault04TerminatedWhileOutputStalls(t *testing.T) {
	const promised = 10 * time.Second
	for _, test := range []struct {
		name     string
		progress string
		stdout   bool // stalls too
	}{
		{"no progress", console.ProgressNone, false},
		{"plain progress", console.ProgressPlain, false},
		{"both outputs", console.ProgressJSON, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSessionAlone(t)
			ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
			defer stop()
			cmd := s.exec(ctx, "run", "session.yaml", "--allow-path", s.app, "--progress", test.progress, "--set", "matrix.requests=[3, 3000]")
			cmd.Stderr = stalled(t)
			if test.stdout {
				cmd.Stdout = stalled(t)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			s.awaitRecord(ctx)
			sent := time.Now()
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its status says it
			if took, status := time.Since(sent), cmd.ProcessState.ExitCode(); status != exitInterrupted || took > promised {
				t.Errorf("exit status %d after %v; want %d within %v", status, took, exitInterrupted, promised)
			}
			run, records := s.stored()
			if run.Outcome != results.OutcomeInterrupted || len(records) == 0 || len(records) == sessionCells {
				t.Errorf("outcome %q, %d cells", run.Outcome, len(records))
			}
			s.nothingLeft(run.ID)
		})
	}
}
