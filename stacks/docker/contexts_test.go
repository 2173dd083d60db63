package docker

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"stackmeter/stacks"
)

// TestSweepContexts: the folder of a build whose process was killed is removed, and
// that of one that runs is not.
func TestSweepContexts(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	self, err := stacks.Self()
	if err != nil {
		t.Fatal(err)
	}
	killed := exec.Command("true")
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	gone := self
	gone.PID = killed.Process.Pid
	if gone.Start, err = stacks.StartTime(gone.PID); err != nil {
		t.Fatal(err)
	}
	if err := killed.Wait(); err != nil {
		t.Fatal(err)
	}
	folders := map[string]string{}
	for _, owner := range []stacks.Owner{self, gone} {
		if folders[owner.String()], err = os.MkdirTemp("", contextPrefix+url.PathEscape(owner.String()+" ")+"*"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folders[owner.String()], "Dockerfile"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	removed, err := (&Runtime{owner: self}).sweepContexts()
	if err != nil || !slices.Equal(removed, []string{folders[gone.String()]}) {
		t.Errorf("removed %v, %v", removed, err)
	}
	if _, err := os.Stat(folders[self.String()]); err != nil {
		t.Error(err)
	}
}
