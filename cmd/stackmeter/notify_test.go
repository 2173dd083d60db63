package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"stackmeter/results"
)

// TestNotify: the command of --notify reads the verdict of a run that has ended. That it
// fails is said, and the run's exit status and results are as without it; one that is
// not there is refused before anything starts.
func TestNotify(t *testing.T) {
	s := newSession(t)
	if status, _ := s.run(nil, "--notify", "no-such-program"); status != exitUsage || !strings.Contains(s.said, "--notify: ") {
		t.Errorf("exit status %d: %s", status, s.said)
	}
	status, _ := s.run(nil, "--fail-on", "duration < 1ms", "--notify", `sh -c 'cat > told.json; echo "$STACKMETER_VERDICT" > told; echo no channel; exit 7'`)
	if status != exitThreshold || !strings.Contains(s.said, "--notify: sh: exit status 7: no channel") {
		t.Errorf("exit status %d, want %d: %s", status, exitThreshold, s.said)
	}
	if run, _ := s.stored(); run.Outcome != results.OutcomeOK || run.Verdict != results.VerdictFailed {
		t.Errorf("outcome %q, verdict %q", run.Outcome, run.Verdict)
	}
	for file, want := range map[string]string{"told": "failed\n", "told.json": `"threshold": "duration \u003c 1ms"`} {
		if text, err := os.ReadFile(filepath.Join(s.dir, file)); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v, %s", file, err, text)
		}
	}
}
