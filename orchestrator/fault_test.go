package orchestrator_test

import (
	"context"
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/stacks"
)

// onceUnderLoad calls do once, when some requests of a cell of the topology
// have been answered.
func (b *bench) onceUnderLoad(topology string, do func()) {
	var once sync.Once
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventProgress && e.Topology == topology && e.Done > 0 {
			once.Do(do)
		}
	}
}

// containers are those of the run, asked of the engine's own command.
func (b *bench) containers() []string {
	b.t.Helper()
	out, err := exec.Command("docker", "ps", "--quiet", "--no-trunc", "--filter", "label=stackmeter.run="+b.run).Output()
	if err != nil {
		b.t.Error(err)
	}
	return strings.Fields(string(out))
}

var workerLine = regexp.MustCompile(`(?m)^\s*(\d+)\s+(\d+)\s+.*gunicorn`)

// workers are the PIDs, on this machine, of the run's gunicorn workers: the
// processes whose parent is a gunicorn too.
func (b *bench) workers() []int {
	b.t.Helper()
	var pids []int
	for _, id := range b.containers() {
		out, err := exec.Command("docker", "top", id, "-o", "pid,ppid,args").Output()
		if err != nil {
			b.t.Error(err)
			continue
		}
		parents := map[string]string{}
		for _, line := range workerLine.FindAllStringSubmatch(string(out), -1) {
			parents[line[1]] = line[2]
		}
		for pid, parent := range parents {
			// The init process in a container carries gunicorn's words too, and
			// is no worker's parent.
			if grand, ok := parents[parent]; ok {
				if _, third := parents[grand]; third {
					n, _ := strconv.Atoi(pid)
					pids = append(pids, n)
				}
			}
		}
	}
	slices.Sort(pids)
	return pids
}

// failed checks that a cell is a failure without a duration, for a reason, and
// that the other topologies were measured all the same.
func failed(t *testing.T, records map[string]results.Record, cell string, reasons ...string) results.Record {
	t.Helper()
	r, there := records[cell]
	if !there {
		t.Fatalf("no record of %s", cell)
	}
	if r.Status != results.StatusFailed || r.Duration != nil {
		t.Errorf("%s: %s, duration %v", cell, r.Status, r.Duration)
	}
	for _, reason := range reasons {
		if !strings.Contains(r.Reason, reason) {
			t.Errorf("%s: %q, want %q", cell, r.Reason, reason)
		}
	}
	for name, other := range records {
		if other.Topology.Name != r.Topology.Name && other.Status != results.StatusOK {
			t.Errorf("%s, beside it: %s, %s", name, other.Status, other.Reason)
		}
	}
	return r
}

// TestFault10OutOfMemory: the kernel kills the server for its container's
// limit. The cell says so, with the limit; it is not slow, and not 0.
func TestFault10OutOfMemory(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	r := failed(t, b.mustExecute(b.plan(`
request: {path: "/memory?mib=60"}
warmup: 0
resources: {memory: 200MiB}
order: listed
topologies: [{name: keeping, server: flask}, {name: free, command: [gunicorn, --bind, "{host}:{port}", --max-requests, "1", "wsgi:app"]}]
matrix: {requests: [1, 20], client: [single]}
`)), "keeping/single/n20", "oom: ", "the limit is 200 MiB (resources.memory)")
	if r.Memory.Peak == nil || *r.Memory.Peak < 60<<20 {
		t.Errorf("memory %+v", r.Memory)
	}
}

// TestFault11WorkerKilled: one gunicorn worker is killed while its master
// lives and forks another, so that every request is answered in the end. The
// cell is no measurement all the same.
func TestFault11WorkerKilled(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	b.onceUnderLoad("gunicorn-w2-t1", func() {
		workers := b.workers()
		if len(workers) != 2 {
			t.Errorf("workers %v", workers)
			return
		}
		if err := syscall.Kill(workers[0], syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})
	failed(t, b.mustExecute(b.plan(`
request: {path: "/sleep?s=0.02"}
order: listed
topologies: [gunicorn w2, flask]
matrix: {requests: [100], client: [single]}
`)), "gunicorn-w2-t1/single/n100", "gunicorn's workers ended during the cell")
}

// TestFault11WorkerOutOfMemory: the same by the kernel, for memory. The
// control group's count of kills says so although the container runs on.
func TestFault11WorkerOutOfMemory(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	failed(t, b.mustExecute(b.plan(`
request: {path: "/spike?mib=400"}
warmup: 0
resources: {memory: 250MiB}
topologies: [gunicorn w2]
matrix: {requests: [3], client: [single]}
`)), "gunicorn-w2-t1/single/n3", "oom: ", "the limit is 250 MiB")
}

// TestFault12ServerCrashes: the server is killed in the middle of a cell. The
// load stops at once instead of sending the rest to nobody; how the server
// ended and its last words are kept, and a new stack takes the next cell.
func TestFault12ServerCrashes(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	b.onceUnderLoad("flask", func() {
		for _, id := range b.containers() {
			out, err := exec.Command("docker", "inspect", "--format", "{{.State.Pid}}", id).Output()
			pid, _ := strconv.Atoi(strings.TrimSpace(string(out)))
			if err == nil && pid > 1 {
				err = syscall.Kill(pid, syscall.SIGKILL)
			}
			if err != nil {
				t.Errorf("kill the server: %v: %s", err, out)
			}
		}
	})
	// Ten thousand requests to a dead server would each take their time-out
	// or their refusal.
	records := b.mustExecute(b.plan(`
request: {path: "/sleep?s=0.01", timeout: 20s}
topologies: [flask]
matrix: {requests: [100000], client: [mt], pool: [2], include: [{client: mt, pool: 4, requests: 20}]}
`))
	r := failed(t, records, "flask/mt2/n100000", "service app ended", "exited with status 137")
	if r.Replies == 0 || r.Replies+r.Errors >= 50_000 {
		t.Errorf("%d replies and %d errors of 100000 requests", r.Replies, r.Errors)
	}
	if !strings.Contains(r.LogTail, "GET /sleep") {
		t.Errorf("the log: %s", r.LogTail)
	}
	if next := records["flask/mt4/n20"]; next.Status != results.StatusOK {
		t.Errorf("the next cell: %s, %s", next.Status, next.Reason)
	}
}

// TestFault12StoppedFromOutside: somebody stops, kills or removes the container
// under measurement. That is no crash of the server's: the cell is void and is
// measured once more, on a new stack.
func TestFault12StoppedFromOutside(t *testing.T) {
	const once, always = 1, 1 << 30
	for _, test := range []struct {
		name    string
		command []string
		times   int
		said    string
	}{
		{"stop", []string{"stop"}, once, "signal 15"},
		{"kill", []string{"kill"}, once, "signal 9"},
		{"remove", []string{"rm", "--force"}, once, "its container was removed by someone else"},
		{"restart", []string{"restart", "--time", "0"}, once, "through the engine"},
		{"kill again and again", []string{"kill"}, always, "signal 9"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // it mostly waits for containers
			b := newBench(t)
			done := map[string]bool{} // containers
			b.onEvent = func(e orchestrator.Event) {
				if e.Kind != orchestrator.EventProgress || e.Done == 0 || e.Requests != 100 || len(done) >= test.times {
					return
				}
				for _, id := range b.containers() {
					if done[id] {
						continue
					}
					done[id] = true
					if out, err := exec.Command("docker", append(test.command, id)...).CombinedOutput(); err != nil {
						t.Errorf("docker %v: %v: %s", test.command, err, out)
					}
				}
			}
			records := b.mustExecute(b.plan(`
request: {path: "/sleep?s=0.03"}
topologies: [flask]
matrix: {requests: [100], client: [single], include: [{client: mt, pool: 4, requests: 120}]}
`))
			r := records["flask/single/n100"]
			told := slices.ContainsFunc(b.events, func(e orchestrator.Event) bool {
				return e.Kind == orchestrator.EventNote && strings.Contains(e.Message, "is void and is measured again on a new stack") &&
					strings.Contains(e.Message, "service app was disturbed from outside") && strings.Contains(e.Message, test.said)
			})
			if !told || !slices.Contains(r.Flags, results.FlagRepeated) {
				t.Errorf("what happened was told: %v; flags %v; %s %s", told, r.Flags, r.Status, r.Reason)
			}
			if test.times == once && (r.Status != results.StatusOK || r.Replies != 100) {
				t.Errorf("measured again: %s %s, %d replies", r.Status, r.Reason, r.Replies)
			}
			if test.times == always {
				failed(t, records, "flask/single/n100", "the cell is void", "service app was disturbed from outside")
			}
			if next := records["flask/mt4/n120"]; next.Status != results.StatusOK || slices.Contains(next.Flags, results.FlagRepeated) {
				t.Errorf("the next cell: %s %s, flags %v", next.Status, next.Reason, next.Flags)
			}
		})
	}
}

// TestFault12StoppedWhileStarting does so before there is anything to measure.
func TestFault12StoppedWhileStarting(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	var once sync.Once
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventReady {
			once.Do(func() {
				for _, id := range b.containers() {
					if out, err := exec.Command("docker", "kill", id).CombinedOutput(); err != nil {
						t.Errorf("%v: %s", err, out)
					}
				}
			})
		}
	}
	records := b.mustExecute(b.plan("topologies: [flask]\nmatrix: {requests: [3], client: [single]}\n"))
	if r := records["flask/single/n3"]; r.Status != results.StatusOK {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
	if !slices.ContainsFunc(b.events, func(e orchestrator.Event) bool {
		return strings.Contains(e.Message, "starting it again: ") && strings.Contains(e.Message, "service app was disturbed from outside")
	}) {
		t.Errorf("what happened was not told: %+v", b.events)
	}
}

// TestFault13NeverReady: the wait has an end, the last probe's answer and the
// logs are kept, and the others go on.
func TestFault13NeverReady(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	p := b.plan(`
order: listed
topologies: [{name: stuck, server: flask, env: {NEVER_READY: "1"}}, {name: deaf, command: [sleep, "600"]}, flask]
matrix: {requests: [3], client: [single, mt], pool: [2]}
`)
	p.App.Ready.Timeout = 6 * time.Second // flask has to be ready in it on a busy machine
	records := b.mustExecute(p)
	for cell, reason := range map[string]string{"stuck/single/n3": "503", "stuck/mt2/n3": "503", "deaf/single/n3": "connect"} {
		r := records[cell]
		if r.Status != results.StatusFailed || !strings.Contains(r.Reason, "not ready after 6s") || !strings.Contains(r.Reason, reason) || r.Duration != nil {
			t.Errorf("%s: %s, %s", cell, r.Status, r.Reason)
		}
	}
	if r := records["stuck/single/n3"]; !strings.Contains(r.LogTail, "Serving Flask") || strings.Contains(r.LogTail, "GET /healthz") { // which are stackmeter's own
		t.Errorf("the log: %s", r.LogTail)
	}
	for _, cell := range []string{"flask/single/n3", "flask/mt2/n3"} {
		if r := records[cell]; r.Status != results.StatusOK {
			t.Errorf("%s: %s, %s", cell, r.Status, r.Reason)
		}
	}
}

// TestFault29FirstTopologiesFail: everything that was to be measured first runs
// out of memory or does not start. The run goes on, and what can be measured
// is.
func TestFault29FirstTopologiesFail(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	records := b.mustExecute(b.plan(`
request: {path: "/spike?mib=150"}
warmup: 0
resources: {memory: 250MiB}
order: listed
topologies:
  - {name: broken, server: flask, env: {FAIL_START: "no weights"}}
  - {name: hungry, command: [gunicorn, --bind, "{host}:{port}", --threads, "4", "wsgi:app"]}
  - flask
matrix: {requests: [4], client: [single, mt], pool: [4]}
`))
	for name, want := range map[string]string{"broken/single/n4": "exited with status", "broken/mt4/n4": "exited with status"} {
		if r := records[name]; r.Status != results.StatusFailed || !strings.Contains(r.Reason, want) {
			t.Errorf("%s: %s, %s", name, r.Status, r.Reason)
		}
	}
	if r := records["hungry/mt4/n4"]; r.Status != results.StatusFailed || !strings.Contains(r.Reason, "oom: ") {
		t.Errorf("four spikes at once: %s, %s", r.Status, r.Reason)
	}
	for _, name := range []string{"hungry/single/n4", "flask/single/n4"} {
		if r := records[name]; r.Status != results.StatusOK {
			t.Errorf("%s: %s, %s", name, r.Status, r.Reason)
		}
	}
}

// A betrayed runtime's stacks are interrupted in the moment when they are
// looked at.
type betrayed struct {
	stacks.Runtime
	look func()
}

type betrayedStack struct {
	stacks.Stack
	look func()
}

func (r betrayed) Start(ctx context.Context, spec stacks.Spec) (stacks.Stack, error) {
	st, err := r.Runtime.Start(ctx, spec)
	return betrayedStack{st, r.look}, err
}

func (s betrayedStack) Check(ctx context.Context) error {
	s.look()
	return s.Stack.Check(ctx)
}

// A followed client says when the last answer of a load is in.
type followed struct {
	load.Client
	sent func()
}

type followedBatch struct {
	load.Batch
	sent func()
}

func (c followed) Prepare(ctx context.Context, job load.Job) (load.Batch, error) {
	batch, err := c.Client.Prepare(ctx, job)
	return followedBatch{batch, c.sent}, err
}

func (b followedBatch) Fire(ctx context.Context) (load.Result, error) {
	defer b.sent()
	return b.Batch.Fire(ctx)
}

// TestFault02InterruptedBehindTheLoad: the signal comes when the last answer is
// in and the stack is looked at. What was measured is kept, and is no failure of
// the cell, which the crash campaign once found written down.
func TestFault02InterruptedBehindTheLoad(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	interrupted := errors.New("interrupted by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	var measuring, sent atomic.Bool
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventCell {
			measuring.Store(true)
		}
	}
	b.Client = followed{b.Client, func() { sent.Store(measuring.Load()) }} // the warm-up is none
	b.Runtime = betrayed{b.engine, func() {
		if sent.Load() {
			cancel(interrupted)
		}
	}}
	records, err := b.execute(ctx, b.plan(`
topologies: [flask]
matrix: {requests: [2], client: [single]}
`))
	if r := records["flask/single/n2"]; !errors.Is(err, interrupted) || len(records) != 1 || r.Status != results.StatusOK {
		t.Errorf("%v; records %+v", err, records)
	}
}
