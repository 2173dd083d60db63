package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/cmd/stackmeter/console"
	"stackmeter/orchestrator"
	"stackmeter/orchestrator/lock"
	"stackmeter/results"
	"stackmeter/scenarios/gate"
	"stackmeter/stacks"
)

// TestResumeRefusesWhatChanged interrupts a run and resumes it after something
// that its cells depend on has changed.
func TestResumeRefusesWhatChanged(t *testing.T) {
	s := newSession(t)
	app := filepath.Join(s.dir, "app")
	if err := os.CopyFS(app, os.DirFS("../../stacks/stackstest/testdata/app")); err != nil {
		t.Fatal(err)
	}
	scenario := strings.ReplaceAll(sessionScenario, "APP", "app")
	scenario = strings.Replace(scenario, `request: {path: "/sleep?s=0.02"}`, `request: {method: POST, path: "/sleep?s=0.02", multipart: {field: file, files: ["pay/*.txt"]}}`, 1)
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	resume := func(args ...string) (int, string) {
		cmd := s.exec(t.Context(), append([]string{"run", "session.yaml", "--progress", "none", "--resume"}, args...)...)
		var said bytes.Buffer
		cmd.Stderr = &said
		_ = cmd.Run() // its status says it
		return cmd.ProcessState.ExitCode(), said.String()
	}
	if err := os.Mkdir(filepath.Join(s.dir, "pay"), 0o755); err != nil {
		t.Fatal(err)
	}
	write("pay/a.txt", "one payload")
	write("session.yaml", scenario)
	const held = "duration < 1h"
	s.run(once(syscall.SIGINT, orchestrator.EventStart, "flask"), "--fail-on", held)
	run, before := s.stored()
	if !slices.Contains(run.Plan.Thresholds, held) {
		t.Errorf("what was to hold the run is lost: %v", run.Plan.Thresholds)
	}
	if len(before) > 0 {
		t.Fatalf("%d cells were finished", len(before))
	}

	status, said := resume("--set", "warmup=7", "--set", "matrix.requests=[11]")
	if status != exitUsage || !strings.Contains(said, "warmup: was 5, is 7") || !strings.Contains(said, "cell flask/single/n11 is new") {
		t.Errorf("another scenario: exit status %d: %s", status, said)
	}
	if status, said := resume("--runtime", "process"); status != exitUsage || !strings.Contains(said, "--runtime: was docker, is process") {
		t.Errorf("another runtime: exit status %d: %s", status, said)
	}
	write("pay/a.txt", "two payload")
	if status, said := resume(); status != exitUsage || !strings.Contains(said, "payload file 1, a.txt: was \"11 bytes, SHA-256 ") {
		t.Errorf("another payload: exit status %d: %s", status, said)
	}
	write("pay/a.txt", "one payload")
	wsgi, err := os.ReadFile(filepath.Join(app, "wsgi.py"))
	if err != nil {
		t.Fatal(err)
	}
	write("app/wsgi.py", string(wsgi)+"\n# changed\n")
	status, said = resume()
	if status != exitUsage || !strings.Contains(said, "flask/app: was sha256:") {
		t.Errorf("another image: exit status %d: %s", status, said)
	}
	if _, now := s.stored(); len(now) != len(before) {
		t.Errorf("%d cells after the refusals, %d before", len(now), len(before))
	}
	write("app/wsgi.py", string(wsgi))
	if status, said := resume(); status != exitOK {
		t.Errorf("as it was: exit status %d: %s", status, said)
	}
	s.nothingLeft(run.ID)
}

// TestResumeIsJudgedAnew resumes a finished run with another threshold and a
// tag: it is judged by that one, named, and the lock says which run holds it.
func TestResumeIsJudgedAnew(t *testing.T) {
	s := newSession(t)
	cells := []string{"--only", "flask/single/n10"}
	if status, _ := s.run(nil, cells...); status != exitOK {
		t.Fatalf("exit status %d", status)
	}
	first, _ := s.stored()
	var holders []string
	status, _ := s.run(func(e orchestrator.Event, _ *os.Process) {
		if e.Kind != orchestrator.EventImage && e.Kind != orchestrator.EventRun {
			return
		}
		states, err := lock.List(s.dir)
		if err != nil {
			t.Error(err)
		}
		for _, state := range states {
			if state.Holder != nil {
				holders = append(holders, state.Holder.Run)
			}
		}
	}, append(cells, "--resume", "--tag", "gold", "--set", `thresholds=["p99 < 1ns"]`)...)
	if status != exitThreshold {
		t.Errorf("exit status %d, want %d", status, exitThreshold)
	}
	run, _ := s.stored()
	if run.ID != first.ID || run.Verdict != results.VerdictFailed || len(run.Checks) != 1 || !slices.Equal(run.Tags, []string{"gold"}) {
		t.Errorf("run %s after %s, verdict %q, checks %v, tags %v", run.ID, first.ID, run.Verdict, run.Checks, run.Tags)
	}
	if !slices.Contains(holders, first.ID) {
		t.Errorf("the lock names %v while run %s is resumed", holders, first.ID)
	}
	if status, _ := s.run(nil, append(cells, "--resume", "--compare", "latest")...); status != exitUsage {
		t.Errorf("compared with itself: exit status %d, want %d", status, exitUsage)
	}
	if now, _ := s.stored(); now.Verdict != run.Verdict {
		t.Errorf("the run was resumed although what it is compared with does not exist: verdict %q", now.Verdict)
	}
}

// TestResumeIsHeldAsSaidNow: what a run is held against, since when, and what becomes of
// what is undecided, is what the scenario says when it is resumed.
func TestResumeIsHeldAsSaidNow(t *testing.T) {
	store, err := openPrivateStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	now := results.Run{ID: "one", Scenario: "nightly", Started: time.Unix(1, 0)}
	if err := store.Begin(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	now.Plan.Against, now.Plan.Anchor, now.Plan.Undecided = gate.Against{Run: results.LastPassed}, "release-1.2", gate.Fail
	a := app{stderr: console.NewTeller(os.Stderr)}
	if _, err := a.resume(t.Context(), store, now, stacks.Owner{}, nil, false, runOptions{}); err != nil {
		t.Fatal(err)
	}
	run, err := store.ByID(t.Context(), "one")
	if p := run.Plan; err != nil || p.Against != now.Plan.Against || p.Anchor != now.Plan.Anchor || p.Undecided != now.Plan.Undecided {
		t.Errorf("against %+v, since %q, undecided %q (%v)", p.Against, p.Anchor, p.Undecided, err)
	}
}
