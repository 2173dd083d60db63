package export

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"stackmeter/scenarios"
	"stackmeter/stacks/servers"
)

var update = flag.Bool("update", false, "write the expected files anew")

// deployed is the stack of a topology as the store has its plan: redacted.
func deployed(t *testing.T, app, topology, more string) Deployment {
	t.Helper()
	file := filepath.Join(t.TempDir(), "scenario.yaml")
	text := "name: Shop_app\napp: {wsgi: \"wsgi:app\", " + app + "}\ntopologies: [" + topology + "]\nmatrix: {requests: [10], client: [single]}\n" + more
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := (&scenarios.Loader{Servers: servers.Known()}).Load(file)
	if err != nil {
		t.Fatal(err)
	}
	plan := s.Plan().Redacted()
	spec, err := servers.Expand("run", plan, plan.Trials[0].Topology)
	if err != nil {
		t.Fatal(err)
	}
	return Deployment{
		Spec: spec, Name: s.Plan().Scenario, Why: []string{"The lowest duration.", "Measured by run r1."},
		Peaks: map[string]int64{"app": 300<<20 + 1, "nginx": 9 << 20}, Digests: map[string]string{"app": "sha256:0123"},
		Ran: map[string][]string{"app": {"/usr/bin/python3 /usr/bin/" + strings.Join(spec.Services[0].Argv(spec.Services[0].InContainer(spec.ByName())), " ")}},
	}
}

const usual = `image: "shop/app:1", port: 5000, env: {SEED: "7", PRICE: "5$"}, ready: {path: /healthz, timeout: 95s}`

func TestGolden(t *testing.T) {
	for name, d := range map[string]Deployment{
		"nginx": deployed(t, usual, "nginx + gunicorn w1/t4", "resources: {cpus: 2}"),
		"gpu": func() Deployment {
			d := deployed(t, usual, "gunicorn w2/t4", "resources: {memory: 2GiB}")
			d.GPUs, d.Copies = 1, 3
			return d
		}(),
		"product": func() Deployment {
			d := deployed(t, usual, "{server: gunicorn, resources: {gpu: {product: NVIDIA-L40S}}}", "resources: {gpu: {mode: required, mig: 1g.10gb, count: 2}}")
			d.GPUs = 2
			return d
		}(),
		"socket":   deployed(t, usual, "{server: gunicorn, workers: 2, threads: 2, unix: true, nginx: true, preload: true, options: {keep-alive: 5, log-level: warning}}", ""),
		"replicas": deployed(t, usual, "{server: flask, replicas: 2, haproxy: true}", ""),
		"command":  deployed(t, `image: "shop/app:1", ready: {tcp: true}, user: "1000:1000", read_only: true, tmpfs: {/tmp: 64MiB}, ulimits: {nofile: 4096}`, `{name: own, command: [serve, "--port={port}", "a b", "$HOME"]}`, ""),
	} {
		t.Run(name, func(t *testing.T) {
			for _, format := range Formats() {
				var text strings.Builder
				files, err := Write(format, d)
				if err != nil {
					text.WriteString("refused: " + err.Error() + "\n")
				}
				for _, f := range files {
					if f.Name != "" {
						text.WriteString("-- " + f.Name + " --\n")
					}
					text.WriteString(f.Text)
				}
				golden := filepath.Join("testdata", name+"."+format)
				if *update {
					if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil || string(want) != text.String() {
					t.Errorf("%v: %s is not\n%s", err, golden, &text)
				}
			}
		})
	}
}

// TestParses: what is YAML is, and no value that may be secret is in any file.
func TestParses(t *testing.T) {
	d := deployed(t, usual, "nginx + gunicorn w1/t4", "")
	for _, format := range Formats() {
		files, err := Write(format, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if strings.Contains(f.Text, "5$") || !strings.HasPrefix(f.Text, Mark) {
				t.Errorf("%s %s:\n%s", format, f.Name, f.Text)
			}
		}
		if format != "compose" && format != "kubernetes" {
			continue
		}
		decoder := yaml.NewDecoder(strings.NewReader(files[0].Text))
		for n := 0; ; n++ {
			var any map[string]any
			if err := decoder.Decode(&any); err != nil {
				if n == 0 || err.Error() != "EOF" {
					t.Errorf("%s: document %d: %v", format, n, err)
				}
				break
			}
		}
	}
}

// TestGunicornReads: gunicorn understands the file as the command line that was measured.
func TestGunicornReads(t *testing.T) {
	if _, err := exec.LookPath("gunicorn"); err != nil {
		t.Skip("needs gunicorn: apt-get install gunicorn")
	}
	for _, topology := range []string{"gunicorn w2/t4",
		`{server: gunicorn, class: sync, workers: 3, preload: true, max_requests: 500, timeout: 45s, options: {keep-alive: 5, log-level: warning, access-logfile: "-", max-requests-jitter: 7, graceful-timeout: 9, limit-request-line: 2000, name: a b, no-sendfile: true}}`} {
		d := deployed(t, usual, topology, "")
		files, err := Write("gunicorn-conf", d)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for name, text := range map[string]string{"gunicorn.conf.py": files[0].Text, "empty.py": "", "wsgi.py": "def app(environ, start): pass\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		said := func(args ...string) string {
			cmd := exec.Command("gunicorn", append([]string{"--print-config"}, args...)...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("gunicorn %v: %v\n%s", args, err, out)
			}
			var lines []string
			for line := range strings.Lines(string(out)) {
				name, _, _ := strings.Cut(line, " ")
				if !slices.Contains([]string{"config", "wsgi_app", "raw_env", "default_proc_name"}, name) { // how each is told of the app
					lines = append(lines, line)
				}
			}
			return strings.Join(lines, "")
		}
		s := d.Spec.Services[0]
		if asked, read := said(append([]string{"--config", "empty.py"}, s.Argv(s.InContainer(nil))[1:]...)...), said(); asked != read {
			t.Errorf("%s: the command line says\n%s\nand the file\n%s", topology, asked, read)
		}
	}
}
