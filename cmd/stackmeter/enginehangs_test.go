package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/results"
)

// TestFault04TerminatedWhileEngineHangs sends SIGTERM in the middle of a cell
// when the engine has just stopped answering. Ten seconds is what whoever
// cancels a job waits before killing it.
func TestFault04TerminatedWhileEngineHangs(t *testing.T) {
	const promised = 10 * time.Second
	const requests = "matrix.requests=[3, 200]"
	e := startOwnEngine(t)
	defer e.GoOn()
	var made []string
	var sent time.Time
	status, cells, said := e.run(0, func(event orchestrator.Event, p *os.Process) {
		switch {
		case event.Kind == orchestrator.EventReady:
			made = e.names()
		case sent.IsZero() && event.Kind == orchestrator.EventProgress && event.Requests == 200 && event.Done > 0:
			e.Hang()
			sent = time.Now()
			_ = p.Signal(syscall.SIGTERM)
		}
	}, "--set", requests)
	took := time.Since(sent)
	if sent.IsZero() || len(made) != 2 {
		t.Fatalf("the cell ended too soon, or its stack was %v\n%s", made, said)
	}
	if status != exitInterrupted || took > promised {
		t.Errorf("exit status %d after %v; want %d within %v\n%s", status, took, exitInterrupted, promised, said)
	}
	if len(cells) != 1 || cells[0].Status != results.StatusOK {
		t.Errorf("cells that are kept: %+v", cells)
	}
	for _, name := range made {
		if !strings.Contains(said, name) {
			t.Errorf("%s could not be removed, and is not named\n%s", name, said)
		}
	}

	e.GoOn()
	status, cells, said = e.run(0, nil, "--set", requests, "--resume")
	if status != exitOK || len(cells) != 2 {
		t.Errorf("resumed: exit status %d, cells %+v\n%s", status, cells, said)
	}
	for _, name := range made {
		if !strings.Contains(said, "removed what a killed run left behind: ") || !strings.Contains(said, name) {
			t.Errorf("the next run does not say that it removed %s\n%s", name, said)
		}
	}
	if left := e.names(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
