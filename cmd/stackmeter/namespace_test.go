package main

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"stackmeter/stacks"
)

// TestFault01KilledInAnotherNamespace kills a run in a PID namespace of its
// own, as a container has, and resumes it from outside, where nobody can see
// that it is dead.
func TestFault01KilledInAnotherNamespace(t *testing.T) {
	s := newSession(t)
	const cells = 2 * sessionCells
	scenario := []string{"run", "session.yaml", "--allow-path", s.app, "--progress", "none", "--set", "matrix.requests=[3, 100]"}
	args := []string{"-pf", "--mount-proc", "--kill-child"}
	if out, err := exec.Command("unshare", append(args, "true")...).CombinedOutput(); err != nil {
		t.Skipf("needs to make a PID namespace: %v: %s", err, out)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	cmd := s.inside(exec.CommandContext(ctx, "unshare", slices.Concat(args, []string{s.program}, scenario)...))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.awaitRecord(ctx)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	s.noProcess()
	run, before := s.stored()
	self, err := stacks.Self()
	if err != nil {
		t.Fatal(err)
	}
	if owner, err := stacks.ParseOwner(run.Owner); err != nil || owner.Namespace == self.Namespace || len(before) == cells {
		t.Fatalf("%v, %v, %d cells", owner, err, len(before))
	}

	resume := func(args ...string) (status int, said string) {
		cmd := s.exec(ctx, append(slices.Clone(scenario), args...)...)
		var text strings.Builder
		cmd.Stderr = &text
		_ = cmd.Run() // its status says it
		return cmd.ProcessState.ExitCode(), text.String()
	}
	if status, said := resume("--resume"); status != exitUsage || !strings.Contains(said, "in another PID namespace") || !strings.Contains(said, "--resume "+run.ID) {
		t.Errorf("resumed without its name: exit status %d\n%s", status, said)
	}
	if status, said := resume("--resume=" + run.ID); status != exitOK || !strings.Contains(said, "removed what a killed run left behind: ") {
		t.Errorf("resumed by its name: exit status %d\n%s", status, said)
	}
	if _, records := s.stored(); len(records) != cells {
		t.Errorf("%d cells after that", len(records))
	}
	s.nothingLeft(run.ID)
}
