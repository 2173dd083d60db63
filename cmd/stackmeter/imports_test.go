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
		clientGo     = "k8s.io/client-go"
		goNVML       = "github.com/NVIDIA/go-nvml"
		mpb          = "github.com/vbauerster/mpb"
		pgx          = "github.com/jackc/pgx"
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
		{"stackmeter", []string{"stackmeter/stacks/kubernetes"}, "stackmeter/stacks/kubernetes"},
		{"stackmeter", []string{"stackmeter/stacks/existing"}, "stackmeter/stacks/existing"},
		{"stackmeter/stacks", []string{"stackmeter/orchestrator", "stackmeter/results", "stackmeter/cmd"}, ""},
		{"stackmeter/results", []string{"stackmeter/stacks", "stackmeter/cmd"}, ""},
		{"stackmeter/results/words", []string{"stackmeter/results/report", "stackmeter/results/exchange"}, ""},
		{"stackmeter/results/exchange", []string{"stackmeter/results/report"}, ""},
		{"stackmeter/results/report", []string{"stackmeter/results/report/pages"}, "stackmeter/results/report/server"},
		{"stackmeter/results/sqlite", []string{"stackmeter/results/verdict", "stackmeter/results/exchange", "stackmeter/results/report"}, ""},
		{"stackmeter", []string{"stackmeter/results/sqlite"}, "stackmeter/results/sqlite"},
		{"stackmeter/results/sqlstore", []string{"stackmeter/results/verdict", "stackmeter/results/exchange", "stackmeter/results/report"}, ""},
		{"stackmeter", []string{"stackmeter/results/sqlstore"}, "stackmeter/results"},
		{"stackmeter/results/postgres", []string{"stackmeter/results/verdict", "stackmeter/results/exchange", "stackmeter/results/report"}, ""},
		{"stackmeter", []string{"stackmeter/results/postgres", pgx}, "stackmeter/results/postgres"},
		{"stackmeter/results/stats", []string{"stackmeter"}, ""},
		{"stackmeter/results/verdict", []string{"stackmeter/results/report", "stackmeter/results/sqlite", "stackmeter/results/exchange"}, ""},
		{"stackmeter", []string{dockerClient}, "stackmeter/stacks/docker"},
		{"stackmeter", []string{clientGo}, "stackmeter/stacks/kubernetes"},
		{"stackmeter", []string{goNVML}, "stackmeter/orchestrator/gpu/nvml"},
		{"stackmeter", []string{mpb}, "stackmeter/cmd"},
	}
	commandImports(t)
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
		"stackmeter/scenarios/goals":     {"stackmeter/scenarios/show", "stackmeter/scenarios/units", "stackmeter/scenarios/yamlfile", "stackmeter/scenarios/threshold"},
		"stackmeter/scenarios/gate":      {"stackmeter/scenarios/show", "stackmeter/scenarios/units", "stackmeter/scenarios/yamlfile"},
		"stackmeter/scenarios/syntax":    {"stackmeter/scenarios/show"},
		"stackmeter/scenarios/folder":    {"stackmeter/scenarios/show"},
		"stackmeter/scenarios/template":  {"stackmeter/scenarios/show"},
		"stackmeter/scenarios": {"stackmeter/scenarios/show", "stackmeter/scenarios/units", "stackmeter/scenarios/yamlfile",
			"stackmeter/scenarios/threshold", "stackmeter/scenarios/container", "stackmeter/scenarios/syntax", "stackmeter/scenarios/folder",
			"stackmeter/scenarios/message", "stackmeter/scenarios/ready", "stackmeter/scenarios/wire", "stackmeter/scenarios/goals", "stackmeter/scenarios/gate",
			"stackmeter/scenarios/expect", "stackmeter/scenarios/template"},
		"stackmeter/scenarios/wire": {"stackmeter/scenarios/show", "stackmeter/scenarios/units", "stackmeter/scenarios/yamlfile",
			"stackmeter/scenarios/folder", "stackmeter/scenarios/message", "stackmeter/scenarios/expect"},
		"stackmeter/scenarios/expect":         {"stackmeter/scenarios/show", "stackmeter/scenarios/units", "stackmeter/scenarios/yamlfile"},
		"stackmeter/orchestrator/load":        {"stackmeter/scenarios"},
		"stackmeter/orchestrator/load/stream": {"stackmeter/scenarios"},
		"stackmeter/orchestrator/strategy": {"stackmeter/scenarios", "stackmeter/orchestrator/load", "stackmeter/orchestrator/gpu",
			"stackmeter/results"}, // and of results what the rule about orchestrator leaves
		"stackmeter/orchestrator/lock":        {},
		"stackmeter/orchestrator/lanes":       {"stackmeter/scenarios", "stackmeter/stacks"},
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

// commandImports holds the packages of the command to what each may import of the
// others, and of what one of them alone names.
func commandImports(t *testing.T) {
	t.Helper()
	const command = "stackmeter/cmd/stackmeter"
	below := map[string][]string{
		"usage":     {},
		"console":   {"usage"},
		"files":     {"usage"},
		"machine":   {"usage"},
		"doctor":    {"machine"},
		"changes":   {},
		"check":     {},
		"loadflags": {},
		"outline":   {},
		"propose":   {},
		"runtimes":  {"machine", "usage"},
		"manifest":  {"runtimes", "usage"},
		"reuse":     {},
		"manual":    {"usage"},
		"notify":    {},
	}
	named := map[string][]string{ // by whom
		"github.com/vbauerster/mpb":        {"console"},
		"stackmeter/orchestrator/gpu/nvml": {"machine"},
		"stackmeter/results/sqlite":        {},
		"stackmeter/results/postgres":      {},
		"github.com/jackc/pgx":             {},
		"stackmeter/stacks/docker":         {"doctor", "runtimes"},
		"stackmeter/stacks/process":        {"doctor", "runtimes"},
		"stackmeter/stacks/kubernetes":     {"manifest", "runtimes"},
		"stackmeter/stacks/existing":       {},
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, command+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name, is := strings.CutPrefix(fields[0], command+"/")
		if !is {
			continue // main imports everything
		}
		may, known := below[name]
		if !known {
			t.Errorf("what %s may import of the command is nowhere said", fields[0])
		}
		for _, imported := range fields[1:] {
			if of, is := strings.CutPrefix(imported, command+"/"); is && !slices.Contains(may, of) {
				t.Errorf("%s imports %s: it may import %v", fields[0], imported, may)
			}
			for root, who := range named {
				if under(imported, root) && !slices.Contains(who, name) {
					t.Errorf("%s imports %s, which main and %v name", fields[0], imported, who)
				}
			}
		}
	}
}

// TestNamesStoreOnce: the command opens its store, whichever it is, in one file.
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
			if spec.Path.Value == `"stackmeter/results/sqlite"` || spec.Path.Value == `"stackmeter/results/postgres"` {
				naming = append(naming, file)
			}
		}
	}
	if !slices.Equal(naming, []string{"store.go", "store.go"}) {
		t.Errorf("%v name the stores, want store.go alone", naming)
	}
}

func under(pkg, root string) bool {
	return pkg == root || strings.HasPrefix(pkg, root+"/")
}
