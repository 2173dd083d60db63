package main

import (
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"slices"
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
		{"stackmeter/orchestrator/gpu", []string{"stackmeter/scenarios", "stackmeter/stacks", "stackmeter/results", "stackmeter/cmd", "stackmeter/orchestrator/load"}, ""},
		{"stackmeter", []string{"stackmeter/orchestrator/load/native", "stackmeter/orchestrator/load/python"}, "stackmeter/orchestrator/load"},
		{"stackmeter/orchestrator/load/native", []string{"stackmeter/orchestrator/load/python"}, ""},
		{"stackmeter/orchestrator/load/python", []string{"stackmeter/orchestrator/load/native"}, ""},
		{"stackmeter/orchestrator", []string{"stackmeter/results/exchange", "stackmeter/results/report", "stackmeter/cmd"}, ""},
		{"stackmeter", []string{"stackmeter/orchestrator/gpu/nvml"}, "stackmeter/orchestrator/gpu/nvml"},
		{"stackmeter", []string{"stackmeter/stacks/docker"}, "stackmeter/stacks/docker"},
		{"stackmeter", []string{"stackmeter/stacks/process"}, "stackmeter/stacks/process"},
		{"stackmeter", []string{"stackmeter/stacks/existing"}, "stackmeter/stacks/existing"},
		{"stackmeter/stacks", []string{"stackmeter/orchestrator", "stackmeter/results", "stackmeter/cmd"}, ""},
		{"stackmeter/results", []string{"stackmeter/stacks", "stackmeter/cmd"}, ""},
		{"stackmeter/results/words", []string{"stackmeter/results/report", "stackmeter/results/exchange"}, ""},
		{"stackmeter/results/exchange", []string{"stackmeter/results/report"}, ""},
		{"stackmeter/results/report", []string{"stackmeter/results/report/pages"}, "stackmeter/results/report/server"},
		{"stackmeter/results/sqlite", []string{"stackmeter/results/verdict", "stackmeter/results/exchange", "stackmeter/results/report"}, ""},
		{"stackmeter", []string{"stackmeter/results/sqlite"}, "stackmeter/results/sqlite"},
		{"stackmeter/results/stats", []string{"stackmeter"}, ""},
		{"stackmeter/results/verdict", []string{"stackmeter/results/report", "stackmeter/results/sqlite", "stackmeter/results/exchange"}, ""},
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
	// All that some packages may depend on, with what is below it.
	for pkg, may := range map[string][]string{
		"stackmeter/scenarios/show":      {},
		"stackmeter/scenarios/units":     {"stackmeter/scenarios/show"},
		"stackmeter/scenarios/yamlfile":  {"stackmeter/scenarios/show", "stackmeter/scenarios/units"},
		"stackmeter/scenarios/threshold": {"stackmeter/scenarios/show", "stackmeter/scenarios/units"},
		"stackmeter/scenarios/message":   {"stackmeter/scenarios/show", "stackmeter/scenarios/units", "stackmeter/scenarios/yamlfile"},
		"stackmeter/scenarios/ready":     {"stackmeter/scenarios/show", "stackmeter/scenarios/units", "stackmeter/scenarios/yamlfile", "stackmeter/scenarios/message"},
		"stackmeter/scenarios/container": {"stackmeter/scenarios/show", "stackmeter/scenarios/units", "stackmeter/scenarios/yamlfile", "stackmeter/scenarios/folder"},
		"stackmeter/scenarios/syntax":    {"stackmeter/scenarios/show"},
		"stackmeter/scenarios/folder":    {"stackmeter/scenarios/show"},
		"stackmeter/scenarios/template":  {"stackmeter/scenarios/show"},
		"stackmeter/scenarios": {"stackmeter/scenarios/show", "stackmeter/scenarios/units", "stackmeter/scenarios/yamlfile",
			"stackmeter/scenarios/threshold", "stackmeter/scenarios/container", "stackmeter/scenarios/syntax", "stackmeter/scenarios/folder",
			"stackmeter/scenarios/message", "stackmeter/scenarios/ready",
			"stackmeter/scenarios/expect", "stackmeter/scenarios/template"},
		"stackmeter/scenarios/expect":         {"stackmeter/scenarios/show", "stackmeter/scenarios/units", "stackmeter/scenarios/yamlfile"},
		"stackmeter/orchestrator/load":        {"stackmeter/scenarios"},
		"stackmeter/orchestrator/load/stream": {"stackmeter/scenarios"},
		"stackmeter/orchestrator/strategy": {"stackmeter/scenarios", "stackmeter/orchestrator/load", "stackmeter/orchestrator/gpu",
			"stackmeter/results"}, // and of results what the rule about orchestrator leaves
		"stackmeter/orchestrator/lock":        {},
		"stackmeter/orchestrator/load/native": {"stackmeter/scenarios", "stackmeter/orchestrator/load"},
		"stackmeter/orchestrator/load/python": {"stackmeter/scenarios", "stackmeter/orchestrator/load"},
	} {
		for _, dep := range deps[pkg] {
			if under(dep, "stackmeter") && !slices.ContainsFunc(may, func(root string) bool { return under(dep, root) }) {
				t.Errorf("%s depends on %s: it may depend on %v", pkg, dep, may)
			}
		}
	}
}

// TestNamesStoreOnce: the command opens its store in one file.
func TestNamesStoreOnce(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var naming []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range parsed.Imports {
			if spec.Path.Value == `"stackmeter/results/sqlite"` {
				naming = append(naming, file)
			}
		}
	}
	if !slices.Equal(naming, []string{"store.go"}) {
		t.Errorf("%v name the store, want store.go alone", naming)
	}
}

func under(pkg, root string) bool {
	return pkg == root || strings.HasPrefix(pkg, root+"/")
}
