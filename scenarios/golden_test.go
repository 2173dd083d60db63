package scenarios

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"stackmeter/scenarios/syntax"
	"stackmeter/scenarios/threshold"
	"stackmeter/scenarios/units"
	"stackmeter/scenarios/yamlfile"
)

// known are servers as those of package servers are, which depends on this one.
var known = syntax.Known{
	Servers: []syntax.Server{
		{Name: "flask", Classes: []syntax.Class{{Lacks: "it makes a thread for each connection"}}, Decides: []string{"FLASK_RUN_"}, Factory: syntax.PlainFactory},
		{
			Name: "gunicorn", Options: true, Reserved: []string{"bind"}, Unix: true, Factory: syntax.AnyFactory,
			Classes: []syntax.Class{
				{Workers: 1, Threads: 1, Keeps: 2, Lacks: "its workers take a request for each thread"},
				{Name: "gevent", Workers: 1, Concurrency: 100, Lacks: "its workers have no threads"},
				{Name: "asgi", Workers: 1, ASGI: true, Lacks: "its workers have no threads"},
			},
			Settings: []syntax.Setting{
				{Name: "preload", Kind: syntax.Truth},
				{Name: "max_requests", Kind: syntax.Whole, Least: 1, Most: 1000},
				{Name: "jitter", Kind: syntax.Whole, Least: 1, Most: 9, Workers: 2},
				{Name: "timeout", Kind: syntax.Span, Least: 1, Most: 3600},
				{Name: "worker_tmp_dir", Kind: syntax.Text, Pattern: regexp.MustCompile("^/[a-z/]*$"), Rule: "an absolute path"},
			},
		},
	},
	Proxies: []syntax.Proxy{
		{Name: "nginx", Settings: []syntax.Setting{
			{Name: "upstream_keepalive", Kind: syntax.Whole, Most: 1024},
			{Name: "max_body", Kind: syntax.Size, Least: 1, Most: 1 << 30},
			{Name: "config", Kind: syntax.File, Most: 200, Pattern: regexp.MustCompile(`\{upstream\}`), Rule: "write {upstream} where the address belongs"},
		}},
		{Name: "envoy", Settings: []syntax.Setting{{Name: "retry", Kind: syntax.Word, Words: []string{"never", "always"}}}},
	},
}

// figures are some of those that records have.
var figures = threshold.Vocabulary{
	{Name: "duration", Unit: units.Seconds}, {Name: "throughput", Unit: units.PerSecond}, {Name: "p99", Unit: units.Seconds},
	{Name: "errors", Unit: units.None}, {Name: "gpu_peak", Unit: units.Bytes},
}

// goodImages is where good files may mount something from.
const goodImages = "testdata/good/images"

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a text with a file, or writes the file with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (go test -update writes it anew)\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

func testFiles(t *testing.T, folder string, least int) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(files) < least {
		t.Fatalf("%d files in %s, want at least %d (%v)", len(files), folder, least, err)
	}
	return files
}

func goodFiles(t *testing.T) []string { return testFiles(t, "good", 10) }

// loadCase loads a file with the overrides that its first comments name.
func loadCase(t *testing.T, file string) (*Scenario, error) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var overrides []string
	for line := range strings.SplitSeq(string(data), "\n") {
		if text, is := strings.CutPrefix(line, "# --set "); is {
			overrides = append(overrides, text)
		}
	}
	return Loader{Figures: figures, Servers: known, Allow: []string{goodImages}}.Load(file, overrides...)
}

func TestBadScenarios(t *testing.T) {
	for _, file := range testFiles(t, "bad", 40) {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			s, err := loadCase(t, file)
			var problems yamlfile.Problems
			if !errors.As(err, &problems) || s != nil {
				t.Fatalf("got %v, %v, want Problems", s, err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestGoodScenarios(t *testing.T) {
	folder, err := filepath.Abs(filepath.Join("testdata", "good"))
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.EvalSymlinks(folder) // as mounts have it
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range goodFiles(t) {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			s, err := loadCase(t, file)
			if err != nil {
				t.Fatal(err)
			}
			if s.File != file {
				t.Errorf("file %s", s.File)
			}
			text, err := json.MarshalIndent(s.Plan(), "", " ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".json", strings.NewReplacer(folder, "FOLDER", real, "FOLDER").Replace(string(text))+"\n")
		})
	}
}

// TestLoaderWithoutFigures: who gives a Loader no figures is told so by every
// scenario that names one.
func TestLoaderWithoutFigures(t *testing.T) {
	const text = "name: case\napp: {image: example/app, wsgi: wsgi:app}\ntopologies: [flask]\nmatrix: {requests: [1], client: [single]}\n"
	for _, line := range []string{"thresholds: [errors == 0]", "recommend: {under: {gpu_peak: 5GiB}}", "recommend: {objective: duration}"} {
		if _, err := (Loader{Servers: known}).Parse("case.yaml", []byte(text+line)); err == nil || !strings.Contains(err.Error(), "there is no figure") {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// TestWarnings: what is allowed and probably not meant is said with its place, and is no
// problem.
func TestWarnings(t *testing.T) {
	const text = "name: case\napp: {image: example/app, wsgi: wsgi:app}\ntopologies: [flask]\nmatrix: {requests: [1], client: [single]}\nthresholds:\n  - duration < base * 1.05\n  - duration < base\n"
	s, err := Loader{Figures: figures, Servers: known}.Parse("case.yaml", []byte(text))
	if err != nil || len(s.Warnings) != 1 || !strings.HasPrefix(s.Warnings[0], "case.yaml:7:5: duration < base: an unchanged build is over this limit in half of the nights") {
		t.Errorf("%q, %v", s.Warnings, err)
	}
	if s, err = (Loader{Figures: figures, Servers: known}).Parse("case.yaml", []byte(text), "thresholds=[p99 <= base]"); err != nil || len(s.Warnings) != 1 || !strings.HasPrefix(s.Warnings[0], "--set thresholds=[p99 <= base]: p99 <= base: ") {
		t.Errorf("%q, %v", s.Warnings, err)
	}
}
