package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/results"
)

// TestTimeout ends a run that takes longer than it may: like Ctrl-C, with
// another exit status, and resumable.
func TestTimeout(t *testing.T) {
	s := newSession(t)
	status, _ := s.run(nil, "--timeout", "2s", "--set", "matrix.requests=[1000]")
	if status != exitInfrastructure {
		t.Errorf("exit status %d, want %d", status, exitInfrastructure)
	}
	run, records := s.stored()
	if run.Outcome != results.OutcomeInfrastructure || run.Finished == nil || len(records) == sessionCells {
		t.Errorf("%d cells, outcome %q, finished %v", len(records), run.Outcome, run.Finished)
	}
	s.nothingLeft(run.ID)
}

func TestStuckRunWritesStacks(t *testing.T) {
	db := filepath.Join(t.TempDir(), "nightly.db")
	told := withStacks(orchestrator.Event{Kind: orchestrator.EventStuck, Time: time.Now(), Message: "stuck: start flask"}, db, "r1")
	file := db + ".r1.stuck.txt"
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "stuck: start flask") || !strings.Contains(string(text), "TestStuckRunWritesStacks") {
		t.Errorf("%v\n%s", err, text)
	}
	if !strings.Contains(told.Message, file) {
		t.Errorf("it does not name the file: %s", told.Message)
	}
}
