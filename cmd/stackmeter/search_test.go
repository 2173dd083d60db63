package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/lock"
	"stackmeter/results"
	"stackmeter/results/exchange"
	"stackmeter/results/words"
	"stackmeter/scenarios"
	"stackmeter/stacks/servers"
)

const searchScenario = `name: searched
app: {dir: app, image: example/none, ready: {timeout: 20s}}
resources: {gpu: {mode: "off"}}
topologies:
  - {name: w1, command: [python3, serve.py, "{port}", "0.024"]}
  - {name: w2, command: [python3, serve.py, "{port}", "0.012"]}
  - {name: w4, command: [python3, serve.py, "{port}", "0.003"]}
matrix: {requests: [60], client: [mt], pool: [2]}
search: {within: 20%}
`

// What serves it takes as long for each request as its command says.
const searchServer = `import sys, time, http.server
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(float(sys.argv[2]))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
`

// TestSearchKilled kills a search of local processes twice. What is resumed goes on with
// what is stored, measures nothing again, and its answer is that of the records. The
// result, read back, says the same.
func TestSearchKilled(t *testing.T) {
	dir := t.TempDir()
	program := command(t, dir)
	for name, text := range map[string]string{"searched.yaml": searchScenario, "app/serve.py": searchServer} {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	measured, said := map[string]int{}, ""
	search := func(kill int, more ...string) int {
		cmd := exec.Command(program, append([]string{"search", "searched.yaml", "--runtime", "process", "--progress", "json", "--json", "result.json"}, more...)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), lock.FolderVariable+"="+dir)
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stderr)
		for seen := 0; lines.Scan(); {
			var e orchestrator.Event
			if json.Unmarshal(lines.Bytes(), &e) != nil {
				said += lines.Text() + "\n"
				continue
			}
			if e.Kind == orchestrator.EventResult && e.Status == results.StatusOK {
				measured[fmt.Sprintf("%s#%d", e.Cell, e.Repeat)]++
				if seen++; seen == kill {
					_ = cmd.Process.Signal(syscall.SIGKILL)
				}
			}
		}
		_ = cmd.Wait() // its status says how it ended
		return cmd.ProcessState.ExitCode()
	}
	if status := search(4); status != -1 {
		t.Fatalf("exit status %d of a killed search: %s", status, said)
	}
	if status := search(3, "--resume"); status != -1 {
		t.Fatalf("exit status %d of a killed search: %s", status, said)
	}
	if status := search(0, "--resume"); status != exitOK {
		t.Fatalf("exit status %d: %s", status, said)
	}
	for key, n := range measured {
		if n > 1 {
			t.Errorf("%s was measured %d times", key, n)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	read, err := exchange.ReadJSON("result.json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	found := words.SearchOf(read.Run, read.Records)
	if len(read.Run.Answers) != 1 || read.Run.Answers[0].Topology != "w4" || !read.Run.Answers[0].Decided || found == nil || found.Answers[0] != read.Run.Answers[0] {
		t.Errorf("the result says %+v, its records %+v", read.Run.Answers, found)
	}
	if len(read.Records) != len(measured) {
		t.Errorf("%d records, %d were told to be measured", len(read.Records), len(measured))
	}
	if status := search(0, "--resume", "--set", "search.time=10m"); status != exitOK || len(read.Records) != len(measured) {
		t.Errorf("exit status %d of a search that has ended, with another time: %s", status, said)
	}
}

// What serves a rate holds as many MiB as its command says, and answers one request at a
// time, or all at once.
const rateServer = `import sys, time, http.server
held = bytearray(int(sys.argv[4]) << 20)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(float(sys.argv[2]))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *args): pass
kind = http.server.HTTPServer if sys.argv[3] == "one" else http.server.ThreadingHTTPServer
kind.request_queue_size = 512
kind(("127.0.0.1", int(sys.argv[1])), Answer).serve_forever()
`

// TestSearchOfARate searches local stacks for the cheapest one that holds 20/s with a p99
// below 500 ms: not for one that does not hold it, or that answers too late, though they
// need less memory, nor for one that needs more.
func TestSearchOfARate(t *testing.T) {
	dir := t.TempDir()
	program := command(t, dir)
	scenario := `name: rate
app: {dir: app, image: example/none, ready: {timeout: 20s}}
resources: {gpu: {mode: "off"}}
topologies:
  - {name: unable, command: [python3, serve.py, "{port}", "0.1", one, "20"]}
  - {name: late, command: [python3, serve.py, "{port}", "0.7", all, "60"]}
  - {name: cheapest, command: [python3, serve.py, "{port}", "0.05", all, "120"]}
  - {name: larger, command: [python3, serve.py, "{port}", "0.02", all, "240"]}
matrix: {requests: [60], client: [open], rate: [20/s]}
warmup: 1
search: {under: {p99: 500ms}}
`
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "app"), 0o755), os.WriteFile(filepath.Join(dir, "app", "serve.py"), []byte(rateServer), 0o644),
		os.WriteFile(filepath.Join(dir, "rate.yaml"), []byte(scenario), 0o644)); err != nil {
		t.Fatal(err)
	}
	run := func(line string) string {
		cmd := exec.Command(program, strings.Fields(line)...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), lock.FolderVariable+"="+dir)
		printed, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, printed)
		}
		return string(printed)
	}
	said := run("search rate.yaml --runtime process --progress none")
	if want := "Deploy cheapest (a command of the scenario's own) for open20 peak memory"; !strings.Contains(strings.Join(strings.Fields(said), " "), want) {
		t.Errorf("the search does not say %q:\n%s", want, said)
	}
	found := strings.Join(strings.Fields(run("recommend --for 100/s")), " ")
	for _, want := range []string{"For 100 requests per second: 5 × cheapest.", "larger left", "late over-budget", "unable over-budget"} {
		if !strings.Contains(found, want) {
			t.Errorf("recommend does not say %q:\n%s", want, found)
		}
	}
}

// TestSearchIsDeployed: what export writes and recommend says of a search is its answer,
// for its own budgets and for others, and not what has the best figures of a few cells.
func TestSearchIsDeployed(t *testing.T) {
	t.Chdir(t.TempDir())
	scenario := `name: deployed
app: {image: "app:1", wsgi: "wsgi:app"}
topologies: [gunicorn w1/t4, gunicorn w2/t4, gunicorn w4/t4]
matrix: {requests: [400], client: [mt], pool: [4]}
search: {under: {memory_peak: 500MiB}, within: 2%, time: 10m}
`
	parsed, err := scenarios.Loader{Servers: servers.Known(), Figures: results.Vocabulary()}.Parse("deployed.yaml", []byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	plan := parsed.Plan()
	store, err := openStoreToWrite(t.Context(), "s.db")
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Begin(t.Context(), results.Run{ID: "one", Scenario: "deployed", Started: time.Unix(1, 0), Plan: plan}); err != nil {
		t.Fatal(err)
	}
	for at, measured := range []struct {
		topology int
		requests int // of the whole load 400
		seconds  float64
		mib      int64 // in the first pass
	}{
		{0, 40, 2, 200}, {1, 40, 1, 400}, {2, 40, 0.5, 800}, // the last one is over the budget
		{1, 400, 10.5, 0}, {1, 400, 10.4, 0}, {0, 400, 9.9, 0}, // once by luck
		{0, 40, 2, 0}, {1, 40, 1.01, 0}, {0, 40, 2.02, 0}, {1, 40, 1, 0}, {0, 40, 2, 0}, {1, 40, 1, 0}, {0, 40, 1.99, 0}, {1, 40, 1, 0},
		{0, 40, 2, 0}, {1, 40, 1.01, 0}, {0, 40, 2.02, 0}, {1, 40, 1, 0}, {0, 40, 2, 0}, {1, 40, 1, 0}, {0, 40, 1.99, 0}, {1, 40, 1, 0},
		{1, 400, 10.2, 410},
		{2, 40, 0.5, 0}, {1, 40, 1, 0}, {2, 40, 0.51, 0}, {1, 40, 1, 0}, {2, 40, 0.5, 0}, {1, 40, 1.01, 0}, {2, 40, 0.5, 0}, {1, 40, 1, 0},
	} {
		trial := plan.Trials[measured.topology]
		cell := trial.Cells[0]
		if measured.requests < 400 {
			cell.Load = cell.Load.Short(measured.requests)
			cell.Name = trial.Topology.Name + "/" + cell.Load.Name()
		}
		cell.Repeat = at/2 + 1
		r := results.Record{Run: "one", Topology: trial.Topology, Cell: cell, Status: results.StatusOK, Replies: cell.Load.Requests, Started: time.Unix(int64(2+at), 0), Duration: &measured.seconds, Start: 1}
		if measured.mib > 0 {
			peak := measured.mib << 20
			r.Memory = results.Memory{Peak: &peak, Services: map[string]int64{"app": peak}}
		} else {
			r.Memory.Reason = results.LaterRound
		}
		if err := store.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(store.Finish(t.Context(), "one", results.OutcomeOK, time.Unix(60, 0)), store.Close()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		line   string
		status int
		says   string
	}{
		{"export --db s.db", exitOK, "compose: gunicorn-w2-t4.\n"},
		{"export --db s.db --for 100/s", exitOK, "it takes 3 of this stack"},
		{"export --db s.db --load mt4", exitOK, "At mt4/n400: "},
		{"export --db s.db --load mt9", exitUsage, "--load"},
		{"export --db s.db --under memory_peak=300MiB", exitOK, "compose: gunicorn-w1-t4.\n"},
		{"export --db s.db --under memory_peak=100MiB", exitThreshold, "no cell is within the budgets"},
		{"export --db s.db --under memory_peak=2GiB", exitUsage, "gunicorn-w4-t4, is by short loads alone"},
		{"export --db s.db --under memory_peak=2GiB --topology gunicorn-w4-t4", exitOK, "compose: gunicorn-w4-t4.\n"},
		{"recommend --db s.db", exitOK, "gunicorn-w2-t4/mt4: duration 10.4"},
		{"recommend --db s.db --for 100/s", exitOK, "3 × gunicorn-w2-t4"},
		{"recommend --db s.db --under memory_peak=100MiB", exitThreshold, "No topology is an answer"},
		{"report --db s.db --format markdown", exitOK, "**Deploy** gunicorn-w2-t4"},
	} {
		if status, printed := said(strings.Fields(test.line)...); status != test.status || !strings.Contains(printed, test.says) {
			t.Errorf("%s: exit status %d, want %d and %q:\n%s", test.line, status, test.status, test.says, printed)
		}
	}
}
