package stackstest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoLeaksSees leaks one thing of each kind, and then gives it back.
func TestNoLeaksSees(t *testing.T) {
	for _, test := range []struct {
		name string
		leak func(t *testing.T) (giveBack func())
		seen string
	}{
		{"a goroutine", func(*testing.T) func() {
			end := make(chan struct{})
			go func() { <-end }()
			return func() { close(end) }
		}, "TestNoLeaksSees.func"},
		{"a file", func(t *testing.T) func() {
			file, err := os.Create(filepath.Join(t.TempDir(), "left-open"))
			if err != nil {
				t.Fatal(err)
			}
			return func() { file.Close() }
		}, "left-open"},
		{"a child process", func(t *testing.T) func() {
			child := exec.Command("sleep", "600")
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			return func() {
				_ = child.Process.Kill()
				_ = child.Wait()
			}
		}, "a child process, in state"},
	} {
		t.Run(test.name, func(t *testing.T) {
			NoLeaks(t)
			before := holdings(t)
			giveBack := test.leak(t)
			seen := strings.Join(gained(t, before, 0), "\n")
			giveBack()
			if !strings.Contains(seen, test.seen) {
				t.Errorf("seen: %q, want %q in it", seen, test.seen)
			}
		})
	}
}
