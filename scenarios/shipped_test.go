package scenarios_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks/servers"
)

// load reads a scenario with the servers and the figures of the command.
func load(file string, overrides ...string) (*scenarios.Scenario, error) {
	return scenarios.Loader{Figures: results.Vocabulary(), Servers: servers.Known()}.Load(file, overrides...)
}

// shipped lists the scenario files of this folder.
func shipped(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, glob := range []string{"*.yaml", "reference/*.yaml"} {
		found, err := filepath.Glob(glob)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", glob, len(found), err)
		}
		files = append(files, found...)
	}
	return files
}

func TestShippedScenariosLoad(t *testing.T) {
	schema := scenarios.CompiledSchema(t, scenarios.Schema(results.Vocabulary(), servers.Known()))
	for _, file := range shipped(t) {
		t.Run(file, func(t *testing.T) {
			if err := schema.Validate(scenarios.Instance(t, file)); err != nil {
				t.Errorf("an editor would refuse it: %v", err)
			}
			s, err := load(file)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimSuffix(filepath.Base(file), ".yaml"); s.Scenario != want {
				t.Errorf("name %s, want that of the file", s.Scenario)
			}
			if s.Baseline == nil {
				t.Error("no baseline: its tables have no ratios")
			}
		})
	}
}

// TestReferenceTables compares the cells of the reference scenarios with the
// rows and columns of the published tables.
func TestReferenceTables(t *testing.T) {
	const nginx = "nginx+gunicorn-"
	pools := []string{"1", "2", "5", "10"}
	files := []string{"1/n1", "2/n10", "2/n50", "5/n100", "20/n1000"}
	tests := []struct {
		file       string
		topologies []string
		loads      []string
	}{
		{"bare-flask-duration", []string{"flask"}, slices.Concat(
			[]string{"single/n1", "single/n10", "single/n50", "single/n100", "single/n1000"}, around("mp", files, ""), around("mt", files, ""))},
		{"bare-flask-memory", []string{"flask"}, around("mp", files, "")},
		{"gunicorn-w1", []string{"flask", "gunicorn-w1-t1", nginx + "w1-t1"}, []string{"single/n100", "mp5/n100", "mt5/n100"}},
		{"workers-threads", []string{"gunicorn-w2-t1", nginx + "w2-t1", "gunicorn-w1-t2", nginx + "w1-t2"}, around("mp", pools, "/n100")},
		{"nginx-threads", around(nginx+"w1-t", []string{"2", "4", "6", "8", "10"}, ""), slices.Concat(around("mp", pools, "/n100"), around("mt", pools, "/n100"))},
		{"memory-3000", around(nginx+"w1-t", []string{"1", "2", "4", "6"}, ""), []string{"mp10/n3000", "mt10/n3000"}},
		{"conclusion", []string{"flask", nginx + "w1-t4", nginx + "w1-t6"}, []string{"single/n100", "mt5/n100", "mt10/n100"}},
	}
	for _, test := range tests {
		t.Run(test.file, func(t *testing.T) {
			s, err := load(filepath.Join("reference", test.file+".yaml"))
			if err != nil {
				t.Fatal(err)
			}
			var topologies, loads []string
			for _, topology := range s.Topologies {
				topologies = append(topologies, topology.Name)
			}
			for _, load := range s.Loads {
				loads = append(loads, load.Name())
			}
			if !slices.Equal(topologies, test.topologies) {
				t.Errorf("topologies %v, want %v", topologies, test.topologies)
			}
			if !slices.Equal(loads, test.loads) {
				t.Errorf("loads %v, want %v", loads, test.loads)
			}
		})
	}
	if found, err := filepath.Glob("reference/*.yaml"); err != nil || len(found) != len(tests) {
		t.Errorf("%d reference files, %d tables, %v", len(found), len(tests), err)
	}
}

func around(before string, words []string, after string) []string {
	var all []string
	for _, w := range words {
		all = append(all, before+w+after)
	}
	return all
}

// TestShippedCommandsWork tries the --set and --only of the comments.
func TestShippedCommandsWork(t *testing.T) {
	tried := 0
	for _, file := range shipped(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(string(data), "\n") {
			words := strings.Fields(line)
			if len(words) < 5 || words[0] != "#" || words[1] != "stackmeter" || words[2] != "run" {
				continue
			}
			tried++
			var overrides []string
			only := "*"
			for i, word := range words {
				switch word {
				case "--set":
					overrides = append(overrides, words[i+1])
				case "--only":
					only = strings.Trim(words[i+1], "'")
				}
			}
			path := strings.TrimPrefix(words[3], "scenarios/")
			if path != file {
				t.Errorf("%s: a comment runs %s", file, words[3])
			}
			s, err := load(path, overrides...)
			if err != nil {
				t.Errorf("%s: %s: %v", file, line, err)
				continue
			}
			if _, err := s.Plan().Only(only); err != nil {
				t.Errorf("%s: %s: %v", file, line, err)
			}
		}
	}
	if tried < 8 {
		t.Errorf("only %d commands found in the comments", tried)
	}
}
