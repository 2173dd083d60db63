package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
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
	"stackmeter/stacks/docker"
)

// A session is a folder with the command, a scenario and a store. Its runs lock
// that folder and not the machine, so that sessions can be side by side.
type session struct {
	t       *testing.T
	dir     string
	program string
	app     string // folder of the test application, outside of dir
	said    string // on standard error by the last run, without its events
	onSaid  func(line string, p *os.Process)
	limit   time.Duration // of a run; 0: two minutes
}

const sessionScenario = `name: session
app: {build: {context: APP}, wsgi: "wsgi:app", ready: {path: /healthz}}
request: {path: "/sleep?s=0.02"}
order: listed
topologies: [flask, nginx + gunicorn w1/t2]
matrix: {requests: [10], client: [single, mp], pool: [2]}
`

const sessionCells = 4

// newSession is for a test beside others (t.Parallel): a session mostly waits for
// containers.
func newSession(t *testing.T) *session {
	t.Helper()
	t.Parallel()
	return newSessionAlone(t)
}

// newSessionAlone is for a test of what is promised in seconds.
func newSessionAlone(t *testing.T) *session {
	t.Helper()
	engine, err := docker.New()
	if err == nil {
		err = engine.Check(t.Context())
	}
	if err != nil {
		t.Skipf("needs a Docker engine: %v", err)
	}
	defer engine.Close()
	if engine.Image(t.Context(), docker.BaseImage) == "" {
		t.Skipf("needs the image %s: stacks/images/prepare makes it", docker.BaseImage)
	}
	s := &session{t: t, dir: t.TempDir(), app: testApp(t)}
	s.program = command(t, s.dir)
	text := strings.ReplaceAll(sessionScenario, "APP", s.app)
	if err := os.WriteFile(filepath.Join(s.dir, "session.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// testApp is the folder of the test application. A scenario in a temporary
// folder needs --allow-path to build it.
func testApp(t *testing.T) string {
	t.Helper()
	app, err := filepath.Abs("../../stacks/stackstest/testdata/app")
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// command puts the program into a folder. TestMain tells by its name that it
// is to be the command.
func command(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "stackmeter")
	if os.Link(self, program) != nil {
		if err := exec.Command("cp", self, program).Run(); err != nil {
			t.Fatal(err)
		}
	}
	return program
}

// exec is the command with arguments, to be run in the session.
func (s *session) exec(ctx context.Context, args ...string) *exec.Cmd {
	return s.inside(exec.CommandContext(ctx, s.program, args...))
}

func (s *session) inside(cmd *exec.Cmd) *exec.Cmd {
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), lock.FolderVariable+"="+s.dir)
	return cmd
}

// run starts `stackmeter run` and calls on for each event, with the process,
// until it ends. It returns the exit status and the standard output.
func (s *session) run(on func(orchestrator.Event, *os.Process), args ...string) (status int, stdout string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), cmp.Or(s.limit, 2*time.Minute))
	defer cancel()
	cmd := s.exec(ctx, append([]string{"run", "session.yaml", "--allow-path", s.app, "--progress", "json"}, args...)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.said = ""
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		var e orchestrator.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			s.said += lines.Text() + "\n"
			if s.onSaid != nil {
				s.onSaid(lines.Text(), cmd.Process)
			}
		} else if on != nil {
			on(e, cmd.Process)
		}
	}
	err = cmd.Wait()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) || ctx.Err() != nil {
		s.t.Fatalf("it did not end by itself: %v", err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// stored is what the store holds of the latest run.
func (s *session) stored() (results.Run, []results.Record) {
	s.t.Helper()
	store, err := openStore(s.t.Context(), filepath.Join(s.dir, defaultStore))
	if err != nil {
		s.t.Fatal(err)
	}
	defer store.Close()
	run, records, err := store.Run(s.t.Context(), "")
	if err != nil {
		s.t.Fatal(err)
	}
	return run, records
}

// nothingLeft fails the test when a container, network or process of the run
// exists.
func (s *session) nothingLeft(run string) {
	s.t.Helper()
	engine, err := docker.New()
	if err != nil {
		s.t.Fatal(err)
	}
	defer engine.Close()
	if removed, err := engine.Sweep(context.Background(), run); err != nil || len(removed) > 0 {
		s.t.Errorf("left behind: %v, %v", removed, err)
	}
	s.noProcess()
	if files, _ := filepath.Glob(filepath.Join(s.dir, defaultStore+"-*")); len(files) > 0 {
		s.t.Errorf("files beside the store: %v", files)
	}
}

// noProcess waits a moment for the client processes, which end by themselves
// when their parent is gone.
func (s *session) noProcess() {
	s.t.Helper()
	var running []string
	for range 100 {
		running = nil
		links, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, link := range links {
			if target, err := os.Readlink(link); err == nil && target == s.program {
				running = append(running, link)
			}
		}
		if len(running) == 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.t.Errorf("still running: %v", running)
}

// finish resumes the run until every cell is ok, and looks that none is there
// twice and none was measured again.
func (s *session) finish(before []results.Record) {
	s.t.Helper()
	if status, _ := s.run(nil, "--resume"); status != exitOK {
		s.t.Errorf("resumed: exit status %d", status)
	}
	run, records := s.stored()
	if len(records) != sessionCells || run.Outcome != results.OutcomeOK {
		s.t.Errorf("after the resume: %d cells, outcome %q", len(records), run.Outcome)
	}
	for _, old := range before {
		for _, now := range records {
			if now.Cell.Name == old.Cell.Name && old.Status == results.StatusOK && !now.Started.Equal(old.Started) {
				s.t.Errorf("%s was measured again", now.Cell.Name)
			}
		}
	}
	s.nothingLeft(run.ID)
}

// once sends a signal at the first event of that kind, for that topology.
func once(sig os.Signal, kind, topology string) func(orchestrator.Event, *os.Process) {
	sent := false
	return func(e orchestrator.Event, p *os.Process) {
		if !sent && e.Kind == kind && e.Topology == topology {
			sent = true
			_ = p.Signal(sig)
		}
	}
}

// interruption is a signal at one moment of a session.
type interruption struct {
	name   string
	signal syscall.Signal
	kind   string
	at     string // topology
	cells  int    // that are finished by then
}

const secondStack = "nginx+gunicorn-w1-t2"

// TestFault02Interrupted: Ctrl-C once, wherever a run is. No cell begins any
// more, the stack is removed, what is finished is printed and kept.
func TestFault02Interrupted(t *testing.T) {
	for _, test := range []interruption{
		{"while the first stack starts", syscall.SIGINT, orchestrator.EventStart, "flask", 0},
		{"while it warms up", syscall.SIGINT, orchestrator.EventReady, secondStack, 2},
		{"within a cell", syscall.SIGINT, orchestrator.EventCell, secondStack, 2},
		{"while a stack is removed", syscall.SIGINT, orchestrator.EventStop, "flask", 2},
	} {
		t.Run(test.name, test.try)
	}
}

// TestFault04Terminated: a CI job that is cancelled ends as one that was
// interrupted does, its networks included.
func TestFault04Terminated(t *testing.T) {
	interruption{"within a cell", syscall.SIGTERM, orchestrator.EventCell, secondStack, 2}.try(t)
}

func (test interruption) try(t *testing.T) {
	s := newSession(t)
	status, stdout := s.run(once(test.signal, test.kind, test.at))
	if status != exitInterrupted {
		t.Errorf("exit status %d, want %d", status, exitInterrupted)
	}
	run, records := s.stored()
	if len(records) != test.cells || run.Outcome != results.OutcomeInterrupted {
		t.Errorf("%d cells, outcome %q; want %d, %q", len(records), run.Outcome, test.cells, results.OutcomeInterrupted)
	}
	if printed := strings.Contains(stdout, "flask"); printed != (test.cells > 0) {
		t.Errorf("what was finished is printed: %v\n%s", printed, stdout)
	}
	s.nothingLeft(run.ID)
	s.finish(records)
}

// TestFault03InterruptedTwice: the second signal forces the removal, and what
// is finished is kept all the same.
func TestFault03InterruptedTwice(t *testing.T) {
	s := newSession(t)
	sent := 0
	status, _ := s.run(func(e orchestrator.Event, p *os.Process) {
		if e.Kind == orchestrator.EventCell && e.Topology != "flask" && sent == 0 {
			sent++
			_ = p.Signal(syscall.SIGINT)
			_ = p.Signal(syscall.SIGTERM)
		}
	})
	if status != exitInterrupted {
		t.Errorf("exit status %d, want %d", status, exitInterrupted)
	}
	run, records := s.stored()
	if len(records) != 2 {
		t.Errorf("%d finished cells are kept, want 2", len(records))
	}
	s.nothingLeft(run.ID)
	s.finish(records)
}

// TestFault01Killed: nobody cleans up after SIGKILL. The next start finds what
// was left by its label, removes it, and runs only what is missing.
func TestFault01Killed(t *testing.T) {
	for _, kind := range []string{orchestrator.EventStart, orchestrator.EventReady, orchestrator.EventCell, orchestrator.EventStop} {
		t.Run(kind, func(t *testing.T) {
			s := newSession(t)
			status, _ := s.run(once(syscall.SIGKILL, kind, secondStack))
			if status != -1 {
				t.Fatalf("exit status %d of a killed process", status)
			}
			s.noProcess()
			run, records := s.stored()
			want := 2
			if kind == orchestrator.EventStop {
				want = sessionCells
			}
			if len(records) != want || run.Outcome != "" {
				t.Errorf("%d cells, outcome %q; want %d and none", len(records), run.Outcome, want)
			}
			s.finish(records)
		})
	}
}

// TestInterruptedBehindTheRun: the signal comes when everything is measured and
// judged, while the result waits for whoever reads it. The run is what its row
// says, and there is nothing to resume.
func TestInterruptedBehindTheRun(t *testing.T) {
	s := newSession(t)
	fifo := filepath.Join(s.dir, "result")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	begun := false
	status, _ := s.run(func(e orchestrator.Event, p *os.Process) {
		if begun || e.Kind != orchestrator.EventCell {
			return
		}
		begun = true
		go func() {
			for t.Context().Err() == nil {
				if run, _ := s.stored(); run.Outcome != "" {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			_ = p.Signal(syscall.SIGINT)
			time.Sleep(100 * time.Millisecond) // whether it is caught by then or not, the end is the same
			_, err := os.ReadFile(fifo)
			read <- err
		}()
	}, "--only", "flask/single/n10", "--set", `thresholds=["p99 < 1ns"]`, "--json", "result")
	if err := <-read; err != nil {
		t.Error(err)
	}
	if run, _ := s.stored(); status != exitThreshold || run.Verdict != results.VerdictFailed || run.Outcome != results.OutcomeOK {
		t.Errorf("exit status %d, outcome %q, verdict %q", status, run.Outcome, run.Verdict)
	}
}
