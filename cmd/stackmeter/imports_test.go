package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestImports enforces who may import whom.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Deps " "}}`, "stackmeter/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		deps[fields[0]] = fields[1:]
	}
	if len(deps["stackmeter/cmd/stackmeter"]) == 0 {
		t.Fatalf("go list answered %q", out)
	}
	const (
		dockerClient = "github.com/docker/docker"
		goNVML       = "github.com/NVIDIA/go-nvml"
		mpb          = "github.com/vbauerster/mpb"
	)
	// Nothing in the package or below it may depend on anything at or below
	// one of these, unless the exception says so.
	rules := []struct {
		in     string
		never  []string
		except string
	}{
		{"stackmeter/scenarios", []string{"stackmeter/stacks", "stackmeter/orchestrator", "stackmeter/results", "stackmeter/cmd"}, ""},
		{"stackmeter/orchestrator/gpu", []string{"stackmeter/scenarios", "stackmeter/stacks", "stackmeter/results", "stackmeter/cmd", "stackmeter/orchestrator/load"}, ""},
		{"stackmeter/orchestrator/load", []string{"stackmeter/stacks", "stackmeter/results", "stackmeter/orchestrator/gpu", "stackmeter/cmd"}, ""},
		{"stackmeter/stacks", []string{"stackmeter/orchestrator", "stackmeter/results", "stackmeter/cmd"}, ""},
		{"stackmeter/results", []string{"stackmeter/stacks", "stackmeter/cmd"}, ""},
		{"stackmeter", []string{dockerClient}, "stackmeter/stacks/docker"},
		{"stackmeter", []string{goNVML}, "stackmeter/orchestrator/gpu/nvml"},
		{"stackmeter", []string{mpb}, "stackmeter/cmd"},
	}
	for _, rule := range rules {
		for pkg, of := range deps {
			if !under(pkg, rule.in) || rule.except != "" && under(pkg, rule.except) || under(pkg, "stackmeter/cmd") {
				continue
			}
			for _, dep := range of {
				for _, never := range rule.never {
					if under(dep, never) {
						t.Errorf("%s depends on %s: packages under %s never do", pkg, dep, rule.in)
					}
				}
			}
		}
	}
}

func under(pkg, root string) bool {
	return pkg == root || strings.HasPrefix(pkg, root+"/")
}
