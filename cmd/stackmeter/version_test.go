package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReleasedVersion builds as .ci/release does: the binary says the version that it
// was released as.
func TestReleasedVersion(t *testing.T) {
	script, err := os.ReadFile("../../.ci/release")
	if err != nil {
		t.Fatal(err)
	}
	variable := regexp.MustCompile(`-X (\S+)=\$version`).FindSubmatch(script)
	if variable == nil {
		t.Fatal(".ci/release gives the binary no version")
	}
	program := filepath.Join(t.TempDir(), "stackmeter")
	if out, err := exec.Command("go", "build", "-ldflags", "-X "+string(variable[1])+"=1.2.3", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command(program, "--version").Output(); err != nil || strings.TrimSpace(string(out)) != "stackmeter version 1.2.3" {
		t.Errorf("%q, %v", out, err)
	}
}
