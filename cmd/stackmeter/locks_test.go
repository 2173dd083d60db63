package main

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/lock"
	"stackmeter/results"
)

// second runs the same scenario into another store and returns its exit
// status and what it said on standard error.
func (s *session) second(args ...string) (status int, said string) {
	s.t.Helper()
	cmd := s.exec(s.t.Context(), append([]string{"run", "session.yaml", "--allow-path", s.app, "--db", "second.db", "--progress", "none"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run() // its status says it
	return cmd.ProcessState.ExitCode(), stderr.String()
}

// TestFault27TwoRuns starts runs while another one measures: one is refused,
// one waits, and the first notices neither.
func TestFault27TwoRuns(t *testing.T) {
	s := newSession(t)
	var waited sync.WaitGroup
	begun := false
	status, _ := s.run(func(e orchestrator.Event, _ *os.Process) {
		if e.Kind != orchestrator.EventCell || begun {
			return
		}
		begun = true
		status, said := s.second()
		if status != exitInfrastructure || !strings.Contains(said, "the machine is held by run ") || !strings.Contains(said, "of session (process ") || !strings.Contains(said, "--wait") {
			t.Errorf("the second run: exit status %d, %s", status, said)
		}
		if out, _ := s.exec(t.Context(), "doctor").Output(); !strings.Contains(string(out), "the machine is held by run ") {
			t.Errorf("doctor does not show the lock:\n%s", out)
		}
		waited.Go(func() {
			status, said := s.second("--wait")
			if status != exitOK || !strings.Contains(said, "waiting: the machine is held by run ") {
				t.Errorf("the run that waits: exit status %d, %s", status, said)
			}
		})
	})
	waited.Wait()
	run, records := s.stored()
	if status != exitOK || len(records) != sessionCells || run.Outcome != results.OutcomeOK {
		t.Errorf("the first run: exit status %d, %d cells, outcome %q", status, len(records), run.Outcome)
	}
	s.nothingLeft(run.ID)
}

// TestFault27KilledHolder kills a run: the next one takes its lock over, and
// removes what it left.
func TestFault27KilledHolder(t *testing.T) {
	s := newSession(t)
	s.run(once(syscall.SIGKILL, orchestrator.EventCell, "flask"))
	killed, _ := s.stored()
	if status, said := s.second(); status != exitOK {
		t.Errorf("exit status %d: %s", status, said)
	}
	s.nothingLeft(killed.ID)
}

// TestFault27NeitherRemovesTheOthers has two runs that do not see each other's
// locks, as in two containers on one engine.
func TestFault27NeitherRemovesTheOthers(t *testing.T) {
	s := newSession(t)
	elsewhere := t.TempDir()
	var beside sync.WaitGroup
	begun := false
	status, _ := s.run(func(e orchestrator.Event, _ *os.Process) {
		if e.Kind != orchestrator.EventCell || begun {
			return
		}
		begun = true
		beside.Go(func() {
			cmd := s.exec(t.Context(), "run", "session.yaml", "--allow-path", s.app, "--db", "second.db", "--progress", "none")
			cmd.Env = append(cmd.Env, lock.FolderVariable+"="+elsewhere)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("the run beside it: %v\n%s", err, out)
			}
		})
	})
	beside.Wait()
	if status != exitOK {
		t.Errorf("exit status %d", status)
	}
	run, _ := s.stored()
	s.nothingLeft(run.ID)
}
