package images

import (
	"io/fs"
	"os/exec"
	"strings"
	"testing"
)

// TestEveryImageIsBuilt: each context has a Dockerfile, and each proxy runs as the
// user that its image has.
func TestEveryImageIsBuilt(t *testing.T) {
	entries, err := fs.ReadDir(contexts, ".")
	if err != nil || len(entries) < 4 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		text, err := fs.ReadFile(contexts, e.Name()+"/Dockerfile")
		if err != nil || !strings.Contains(string(text), "\nUSER ") {
			t.Errorf("%s: %v\n%s", e.Name(), err, text)
		}
	}
}

// docker runs the engine's command-line client and returns both its outputs.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", args[0], err, out)
	}
	return string(out)
}
