package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// exportScenario sleeps, so that its duration is what its threads make of it.
const exportScenario = `
name: sleeping
app: {build: {context: APP}, wsgi: "wsgi:app", ready: {path: /healthz}, env: {SEED: "7", API_TOKEN: quite-secret}}
request: {path: "/sleep?s=0.1"}
topologies: [nginx + gunicorn w1/t4]
matrix: {requests: [40], client: [mt], pool: [8]}
repeats: 3
`

// measured runs a scenario of containers in a folder of its own.
func measured(t *testing.T, scenario string) *session {
	t.Helper()
	s := newSession(t)
	if status, out := s.runScenario(strings.ReplaceAll(scenario, "APP", s.app)); status != 0 {
		t.Fatalf("exit status %d\n%s%s", status, s.said, out)
	}
	return s
}

// does runs a program in the session's folder, and returns what it printed.
func (s *session) does(cmd *exec.Cmd) string {
	s.t.Helper()
	cmd.Dir = s.dir
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%v: %v\n%s%s", cmd.Args, err, &out, &said)
	}
	return strings.TrimSpace(out.String())
}

// TestExportCompose starts what is exported with Compose, and measures it: the figure
// is the same.
func TestExportCompose(t *testing.T) {
	if _, err := exec.LookPath("docker-compose"); err != nil {
		t.Skip("needs docker-compose: apt-get install docker-compose")
	}
	s := measured(t, exportScenario)
	s.does(s.exec(t.Context(), "export", "-o", "compose.yaml"))
	project := "stackmeter-test-" + strings.ToLower(filepath.Base(filepath.Dir(s.dir)))
	compose := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), "docker-compose", append([]string{"-p", project, "-f", "compose.yaml"}, args...)...)
		cmd.Env = append(os.Environ(), "PORT=127.0.0.1:0", "API_TOKEN=another")
		return s.does(cmd)
	}
	t.Cleanup(func() {
		down := exec.Command("docker-compose", "-p", project, "-f", "compose.yaml", "down", "-t", "0", "-v")
		down.Dir, down.Env = s.dir, append(os.Environ(), "PORT=127.0.0.1:0", "API_TOKEN=another")
		if out, err := down.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	// Images are those that were measured: to build them again says nothing more.
	_, records := s.stored()
	of := map[string]string{}
	for _, service := range records[0].Stack.Services {
		of[service.Name] = service.Digest
	}
	if err := os.WriteFile(filepath.Join(s.dir, "nginx", "Dockerfile"), []byte("FROM "+of["nginx"]+"\nCOPY stackmeter.conf /etc/nginx/stackmeter.conf\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, between := range []string{"_", "-"} { // what Compose calls images, before and since version 2
		app, nginx := project+between+"app", project+between+"nginx"
		t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", app, nginx).Run() })
		s.does(exec.Command("docker", "tag", of["app"], app))
		s.does(exec.Command("docker", "build", "-q", "-t", nginx, "nginx"))
	}
	compose("up", "-d", "--no-build")
	at := strings.TrimPrefix(compose("port", "nginx", "8080"), "127.0.0.1:")
	s.awaitHealthy(compose("ps", "-q", "nginx"))
	url := "http://127.0.0.1:" + at
	if got := s.does(exec.Command("python3", "-c", "import urllib.request as u, sys; print(u.urlopen(sys.argv[1]).read().decode())", url+"/environment?name=API_TOKEN")); got != "another" {
		t.Errorf("the secret is %q", got)
	}
	// What the engine made of it is what it made of the stack that was measured.
	var found []struct {
		Path       string
		Args       []string
		HostConfig struct {
			Memory      int64
			CapDrop     []string
			SecurityOpt []string
			PidsLimit   int64
			Init        bool
		}
	}
	if err := json.Unmarshal([]byte(s.does(exec.Command("docker", "inspect", compose("ps", "-q", "app")))), &found); err != nil {
		t.Fatal(err)
	}
	ran := strings.Join(records[0].Stack.Services[0].Processes, "\n")
	if is := found[0]; !strings.Contains(ran, strings.Join(is.Args, " ")) || is.Path != "gunicorn" || is.HostConfig.Memory == 0 || len(is.HostConfig.CapDrop) != 1 || len(is.HostConfig.SecurityOpt) != 1 || is.HostConfig.PidsLimit == 0 || !is.HostConfig.Init {
		t.Errorf("the engine has %+v, and what was measured ran\n%s", is, ran)
	}
	var again struct {
		Cells []struct {
			Duration float64 `json:"duration_s"`
			Errors   int
		}
	}
	said := s.does(s.exec(t.Context(), "load", url+"/sleep?s=0.1", "--requests", "40", "--client", "mt", "--pool", "8", "--repeats", "3", "--json", "-", "--progress", "none"))
	if err := json.Unmarshal([]byte(said), &again); err != nil || len(again.Cells) != len(records) {
		t.Fatalf("%v: %s", err, said)
	}
	// What else the machine does only ever slows it: the fastest repeats are compared.
	was, is := math.Inf(1), math.Inf(1)
	for i, cell := range again.Cells {
		if cell.Errors > 0 {
			t.Errorf("deployed, repeat %d had %d errors", i, cell.Errors)
		}
		was, is = min(was, *records[i].Duration), min(is, cell.Duration)
	}
	if is < 0.9*was || is > 1.3*was {
		t.Errorf("deployed it took %v s, and measured %v s", is, was)
	}
}

// awaitHealthy waits until the engine says that a container's health check passes.
func (s *session) awaitHealthy(id string) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		state := s.does(exec.Command("docker", "inspect", "--format", "{{.State.Health.Status}}", id))
		if state == "healthy" {
			return
		}
		if state == "unhealthy" || time.Now().After(deadline) {
			s.t.Fatalf("it is %s: %s", state, s.does(exec.Command("docker", "inspect", "--format", "{{json .State.Health}}", id)))
		}
	}
}

// TestExportDockerfile builds what is exported, and runs it.
func TestExportDockerfile(t *testing.T) {
	s := measured(t, strings.ReplaceAll(exportScenario, "nginx + gunicorn", "gunicorn"))
	s.does(s.exec(t.Context(), "export", "--format", "dockerfile", "-o", "Dockerfile"))
	text, err := os.ReadFile(filepath.Join(s.dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	_, records := s.stored()
	base, image := "sleeping", "stackmeter-test/sleeping:exported"
	t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", base, image).Run() })
	s.does(exec.Command("docker", "tag", records[0].Stack.Services[0].Digest, base))
	s.does(exec.Command("docker", "build", "-q", "-t", image, s.dir))
	id := s.does(exec.Command("docker", "run", "-d", "--rm", image))
	t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", id).Run() })
	s.awaitHealthy(id)
	if top := s.does(exec.Command("docker", "top", id)); !strings.Contains(top, "--threads 4 --timeout") {
		t.Errorf("there runs\n%s\nof\n%s", top, text)
	}
}
