package docker

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/stackstest"
)

// TestAttackLogsOfAQuickEnd: what a service printed that ended at once is kept,
// whether the start noticed or the wait, and is the end of the log.
func TestAttackLogsOfAQuickEnd(t *testing.T) {
	r := engine(t)
	for _, nginx := range []bool{false, false, false, true, true} {
		spec := stackstest.Spec(t, "test-quick-"+filepath.Base(t.TempDir()), scenarios.Topology{Name: "quick", Server: scenarios.ServerCommand, Proxy: map[bool]string{true: "nginx"}[nginx],
			Command: []string{"sh", "-c", "echo GET /x stackmeter-probe; chown 7 / 2>&1; echo IMPORTANT-REASON; exit 3"}}, nil)
		if err := r.Prepare(t.Context(), spec, func(string) {}); err != nil {
			t.Fatal(err)
		}
		var logs bytes.Buffer
		stack, err := r.Start(t.Context(), spec)
		if failed := (*stacks.StartError)(nil); errors.As(err, &failed) {
			logs.WriteString(failed.Log)
		} else if err == nil {
			err = stacks.WaitReady(t.Context(), spec, stack)
			if e := stack.Logs(t.Context(), &logs); e != nil {
				t.Error(e)
			}
		}
		if stack != nil {
			if e := stack.Stop(context.Background()); e != nil {
				t.Error(e)
			}
		}
		if err == nil || !strings.Contains(err.Error(), "exited with status 3") {
			t.Errorf("nginx %v: %v", nginx, err)
		}
		if s := logs.String(); !strings.Contains(s, "app | IMPORTANT-REASON\napp | (stackmeter: this takes CHOWN, SETGID, SETUID,") || strings.Contains(s, "stackmeter-probe") {
			t.Errorf("nginx %v: the log is %q", nginx, s)
		}
	}
}
