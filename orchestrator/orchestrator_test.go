package orchestrator_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/load/native"
	"stackmeter/results"
	"stackmeter/results/sqlite"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/stacks/docker"
	"stackmeter/stacks/process"
	"stackmeter/stacks/servers"
)

// TestMain is also the client processes that the native client starts, and the
// launchers of local services.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == process.LauncherArgument {
		if err := process.Launcher(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 1 && os.Args[1] == native.WorkerArgument {
		if err := native.Worker(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// With the race detector a process sleeps for a second before it ends.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// A bench is an orchestrator with real parts: the Docker engine, the native
// client, a store.
type bench struct {
	orchestrator.Orchestrator
	t       testing.TB
	engine  *docker.Runtime
	store   *sqlite.Store
	run     string
	mu      sync.Mutex
	events  []orchestrator.Event
	onEvent func(orchestrator.Event)
}

func newBench(t testing.TB) *bench {
	t.Helper()
	if testing.Short() {
		t.Skip("starts containers, which -short leaves out")
	}
	engine, err := docker.New()
	if err == nil {
		err = engine.Check(t.Context())
	}
	if err != nil {
		t.Skipf("needs a Docker engine: %v", err)
	}
	t.Cleanup(func() { engine.Close() })
	if engine.Image(t.Context(), docker.BaseImage) == "" {
		t.Skipf("needs the image %s: stacks/images/prepare makes it", docker.BaseImage)
	}
	b := &bench{t: t, engine: engine, store: openStore(t), run: fmt.Sprintf("test-%d", time.Now().UnixNano())}
	b.Runtime, b.Recorder, b.Client = engine, b.store, &native.Client{}
	b.NoGPU = "the test gives none"
	b.Notify = func(e orchestrator.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.events = append(b.events, e)
		if b.onEvent != nil {
			b.onEvent(e)
		}
	}
	t.Cleanup(b.nothingLeft)
	return b
}

// local makes the bench's stacks local processes. It is skipped where a program
// of theirs is missing.
func (b *bench) local() {
	b.t.Helper()
	b.t.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	b.t.Setenv("XDG_RUNTIME_DIR", b.t.TempDir())
	processes, err := process.New()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, program := range processes.Programs() {
		if program.Path == "" {
			b.t.Skipf("needs %s: %s", program.Name, program.Remedy)
		}
	}
	b.Runtime = processes
}

// another is a runtime over the same engine that has seen no image yet, as that
// of another process.
func (b *bench) another() *docker.Runtime {
	b.t.Helper()
	engine, err := docker.New()
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { engine.Close() })
	return engine
}

// An unready client cannot prepare a load.
type unready struct{ load.Client }

func (unready) Prepare(context.Context, load.Job) (load.Batch, error) {
	return nil, errors.New("no memory for the payloads")
}

// TestUnsentIsUnmeasured: a load that could not be sent has no figure, and each
// of those that are missing says why.
func TestUnsentIsUnmeasured(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	b.Client = unready{b.Client}
	r := b.mustExecute(b.plan(`
topologies: [flask]
warmup: 0
matrix: {requests: [2], client: [single]}
`))["flask/single/n2"]
	if r.Status != results.StatusFailed || !strings.Contains(r.Reason, "no memory for the payloads") {
		t.Errorf("%s: %s", r.Status, r.Reason)
	}
	if r.Memory.Peak != nil || r.Memory.Reason == "" || r.GPU.Peak != nil || r.GPU.Reason == "" {
		t.Errorf("memory %+v, GPU %+v", r.Memory, r.GPU)
	}
}

// nothingLeft fails the test when anything of the run still exists.
func (b *bench) nothingLeft() {
	removed, err := b.engine.Sweep(context.Background(), b.run)
	if err != nil || len(removed) > 0 {
		b.t.Errorf("left behind: %v, %v", removed, err)
	}
}

// plan makes a plan around the test application. The text is a scenario
// without name and app.
func (b *bench) plan(text string) scenarios.Plan {
	b.t.Helper()
	_, file, _, _ := runtime.Caller(0)
	app := filepath.Join(filepath.Dir(file), "..", "stacks", "stackstest", "testdata", "app")
	head := fmt.Sprintf("name: test\napp: {build: {context: %q}, wsgi: 'wsgi:app', ready: {path: /healthz}}\n", app)
	s, err := scenarios.Loader{Allow: []string{app}, Servers: servers.Known()}.Parse("test.yaml", []byte(head+text))
	if err != nil {
		b.t.Fatal(err)
	}
	return s.Plan()
}

// execute runs a plan and returns the records by cell name.
func (b *bench) execute(ctx context.Context, p scenarios.Plan) (map[string]results.Record, error) {
	b.t.Helper()
	if _, _, err := b.store.Run(ctx, b.run); err != nil {
		if err := b.store.Begin(ctx, results.Run{ID: b.run, Scenario: p.Scenario, Started: time.Now(), Runtime: "docker", Plan: p, Planned: p.Cells()}); err != nil {
			b.t.Fatal(err)
		}
	}
	failed := b.Run(ctx, b.run, p)
	_, records, err := b.store.Run(context.WithoutCancel(ctx), b.run)
	if err != nil {
		b.t.Fatal(err)
	}
	byName := map[string]results.Record{}
	for _, r := range records {
		byName[r.Cell.Name] = r
	}
	return byName, failed
}

func (b *bench) mustExecute(p scenarios.Plan) map[string]results.Record {
	b.t.Helper()
	records, err := b.execute(b.t.Context(), p)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(records) != p.Cells() {
		b.t.Errorf("%d records for %d cells", len(records), p.Cells())
	}
	return records
}

func TestEveryModeOfEveryTopology(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	p := b.plan(`
request: {path: /predict, body: {generate: {kind: jpeg, size: 320x240, count: 3, seed: 1}}}
topologies: [flask, gunicorn w2/t2, nginx + gunicorn w1/t4]
matrix: {requests: [12], client: [single, mp, mt], pool: [3], keepalive: [false, true]}
`)
	records := b.mustExecute(p)
	for name, r := range records {
		if r.Status != results.StatusOK || r.Errors != 0 || r.Replies != 12 {
			t.Errorf("%s: %s, %d replies, %d errors: %s\n%s", name, r.Status, r.Replies, r.Errors, r.Reason, r.LogTail)
			continue
		}
		if r.Duration == nil || *r.Duration <= 0 || r.Latency.Count() != 12 {
			t.Errorf("%s: duration %v, %d latencies", name, r.Duration, r.Latency.Count())
		}
		if r.Memory.Peak == nil || *r.Memory.Peak < 10<<20 || r.Memory.Method == "" {
			t.Errorf("%s: memory %+v", name, r.Memory)
		} else if top := slices.MaxFunc(r.Memory.Series, byUsed); *top.Used != *r.Memory.Peak || len(r.Memory.Series) > gpu.DefaultPoints {
			t.Errorf("%s: a series of %d points up to %d, the peak is %d", name, len(r.Memory.Series), *top.Used, *r.Memory.Peak)
		}
		if r.CPU.Stack == nil || r.CPU.Client == nil || *r.CPU.Stack <= 0 || *r.CPU.Client <= 0 {
			t.Errorf("%s: CPU %+v", name, r.CPU)
		}
		if r.GPU.Peak != nil || r.GPU.Reason == "" || !slices.Contains(r.Flags, results.FlagNoGPU) {
			t.Errorf("%s: a GPU that is not there: %+v, %v", name, r.GPU, r.Flags)
		}
		if r.Stack == nil || len(r.Stack.Services) == 0 || !strings.HasPrefix(r.Stack.Services[0].Digest, "sha256:") {
			t.Errorf("%s: what ran is not known: %+v", name, r.Stack)
			continue
		}
		if r.Topology.Server == "gunicorn" && (r.Stack.Workers == nil || *r.Stack.Workers != r.Topology.Workers) {
			t.Errorf("%s: %v workers", name, r.Stack.Workers)
		}
		if r.Topology.Nginx() != strings.Contains(r.Stack.Proxy, "upstream") {
			t.Errorf("%s: nginx %q", name, r.Stack.Proxy)
		}
	}
	run, _, err := b.store.Run(t.Context(), b.run)
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range []string{results.PhaseImages, results.PhaseStart, results.PhaseReady, results.PhaseWarmup, results.PhaseMeasure, results.PhaseStop} {
		if run.Spent[phase] <= 0 {
			t.Errorf("nothing was spent on %s: %v", phase, run.Spent)
		}
	}
}

func byUsed(a, b gpu.Point) int { return cmp.Compare(*a.Used, *b.Used) }

func TestFailuresAreRows(t *testing.T) {
	tests := []struct {
		name, scenario string
		cell           string // whose record is looked at
		reason         string // that it contains
		log            string // that its log tail contains
		others         string // a cell that is ok all the same
	}{
		{
			"an image that is not there", `
topologies: [{name: absent, server: flask, image: "stackmeter.invalid/no/such:image"}, flask]
matrix: {requests: [3], client: [single]}
`, "absent/single/n3", "is not in the engine and cannot be pulled", "", "flask/single/n3",
		},
		{
			"it ends while starting", `
topologies: [{name: broken, server: flask, env: {FAIL_START: "no weights"}}, flask]
matrix: {requests: [3], client: [single]}
`, "broken/single/n3", "exited with status", "RuntimeError: (not written)", "flask/single/n3",
		},
		{
			"only errors", `
request: {path: "/status?code=500"}
topologies: [flask]
matrix: {requests: [3], client: [single]}
`, "flask/single/n3", "warm-up: none of 5 requests was answered as expected: status ×5", "/status", "",
		},
		{
			"it hangs", `
request: {path: "/sleep?s=300", timeout: 500ms}
topologies: [flask]
matrix: {requests: [100], client: [single]}
`, "flask/single/n100", "timeout", "", "",
		},
		{
			"only errors, without a warm-up to find out", `
request: {path: "/status?code=500"}
warmup: 0
topologies: [flask]
matrix: {requests: [40], client: [single]}
`, "flask/single/n40", "none of the first 5 of 40 requests was answered as expected: status ×5", "/status", "",
		},
		{
			"it dies under the load", `
request: {path: "/exit?code=9"}
warmup: 0
topologies: [flask]
matrix: {requests: [50], client: [single, mt], pool: [2]}
`, "flask/mt2/n50", "service app ended: exited with status 9", "stackstest: exit 9", "",
		},
		{
			"a worker is replaced", `
request: {path: "/exit-at?n=5"}
warmup: 0
topologies: [gunicorn w1]
matrix: {requests: [8], client: [single]}
`, "gunicorn-w1-t1/single/n8", "gunicorn's workers ended during the cell", "", "",
		},
		{
			"out of memory", `
request: {path: "/memory?mib=300"}
warmup: 0
resources: {memory: 200MiB}
topologies: [flask]
matrix: {requests: [1], client: [single]}
`, "flask/single/n1", "oom: ", "", "",
		},
		{
			"fewer workers than the topology asks for", `
topologies: [{server: uwsgi, workers: 2, options: {cheaper: 1}}, flask]
matrix: {requests: [3], client: [single]}
`, "uwsgi-w2-t1/single/n3", "uwsgi runs with workers 1, and the topology says 2", "", "flask/single/n3",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // it mostly waits for containers
			b := newBench(t)
			p := b.plan(test.scenario)
			if p.App.Ready.Timeout > 5*time.Second {
				p.App.Ready.Timeout = 5 * time.Second
			}
			records := b.mustExecute(p)
			r := records[test.cell]
			if r.Status != results.StatusFailed || !strings.Contains(r.Reason, test.reason) || !strings.Contains(r.LogTail, test.log) {
				t.Errorf("%s: %s, %s\n%s", test.cell, r.Status, r.Reason, r.LogTail)
			}
			if r.Duration != nil {
				t.Errorf("a failed cell has a duration: %v", *r.Duration)
			}
			if test.others != "" && records[test.others].Status != results.StatusOK {
				t.Errorf("%s: %+v", test.others, records[test.others])
			}
		})
	}
}

func TestSomeErrorsAreFlagged(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	// Under gunicorn's four threads /sleep of 0.2 s in a time-out of 0.5 s
	// answers; in a pool of 8 over one thread the last ones wait too long.
	records := b.mustExecute(b.plan(`
request: {path: "/sleep?s=0.2", timeout: 500ms, max_errors: 100%}
topologies: [gunicorn w1]
matrix: {requests: [8], client: [mt], pool: [8]}
`))
	r := records["gunicorn-w1-t1/mt8/n8"]
	if r.Status != results.StatusOK || r.Errors == 0 || r.Replies == 0 || r.Errors+r.Replies != 8 {
		t.Fatalf("%s: %d replies, %d errors: %s", r.Status, r.Replies, r.Errors, r.Reason)
	}
	if r.ErrorKinds[load.ErrTimeout] != r.Errors || !slices.Contains(r.Flags, results.FlagErrors) || r.Latency.Count() != int64(r.Replies) {
		t.Errorf("kinds %v, flags %v, %d latencies", r.ErrorKinds, r.Flags, r.Latency.Count())
	}
}

func TestKeptMemoryIsFlagged(t *testing.T) {
	scenario := `
request: {path: "/memory?mib=8"}
warmup: 1
fresh: %s
topologies: [flask]
matrix: {requests: [4], client: [single, mt], pool: [2]}
`
	for fresh, inherited := range map[string]bool{scenarios.FreshTopology: true, scenarios.FreshCell: false} {
		t.Run(fresh, func(t *testing.T) {
			t.Parallel() // it mostly waits for containers
			b := newBench(t)
			records := b.mustExecute(b.plan(fmt.Sprintf(scenario, fresh)))
			first, second := records["flask/single/n4"], records["flask/mt2/n4"]
			if slices.Contains(first.Flags, results.FlagInherited) {
				t.Errorf("the first cell: %v", first.Flags)
			}
			if got := slices.Contains(second.Flags, results.FlagInherited); got != inherited {
				t.Errorf("the second cell: %v", second.Flags)
			}
		})
	}
}

func TestInterruptAndResume(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	p := b.plan(`
request: {path: "/sleep?s=0.05"}
order: listed
topologies: [flask, gunicorn w1/t2]
matrix: {requests: [4, 40], client: [single]}
`)
	interrupted := errors.New("interrupted by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventProgress && e.Cell == "flask/single/n40" && e.Done > 0 {
			cancel(interrupted)
		}
	}
	records, err := b.execute(ctx, p)
	if !errors.Is(err, interrupted) {
		t.Fatalf("interrupted: %v", err)
	}
	if len(records) != 1 || records["flask/single/n4"].Status != results.StatusOK {
		t.Errorf("what was finished: %v", records)
	}
	b.nothingLeft()

	b.onEvent, b.events = nil, nil
	before := records["flask/single/n4"].Started
	records = b.mustExecute(p)
	for name, r := range records {
		if r.Status != results.StatusOK {
			t.Errorf("%s: %s", name, r.Reason)
		}
	}
	if !records["flask/single/n4"].Started.Equal(before) {
		t.Error("a finished cell was measured again")
	}
	b.events = nil
	b.mustExecute(p)
	for _, e := range b.events {
		if e.Kind == orchestrator.EventStart {
			t.Errorf("nothing was missing, and %s was started", e.Topology)
		}
	}
}

// TestRepeatsUntilTheMedianIsKnown: a run of which two repeats were made and
// which is then resumed stops once the interval is narrow enough, or at the
// maximum, and holds what it needs.
func TestRepeatsUntilTheMedianIsKnown(t *testing.T) {
	for _, test := range []struct {
		name    string
		repeats string
		made    int
		how     string
		said    string
	}{
		// Twice as long as the median is more than a busy machine adds to a
		// batch that mostly sleeps; no two batches take the same nanoseconds.
		{"within", "{min: 2, max: 8, until: 100%}", 6, verdict.EndWithin, "6 of at most 8 repeats, until every median duration was known within 100%"},
		{"maximum", "{min: 2, max: 6, until: 0.0001%}", 6, verdict.EndMaximum, "the maximum was reached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // it mostly waits for containers
			b := newBench(t)
			p := b.plan(`
request: {path: "/sleep?s=0.1"}
topologies: [flask]
warmup: 1
matrix: {requests: [2], client: [single, mt], pool: [2]}
repeats: ` + test.repeats)
			interrupted := errors.New("interrupted by the test")
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			b.onEvent = func(e orchestrator.Event) {
				// Amid a trial, so that the rest of it is left for later.
				if e.Kind == orchestrator.EventCell && e.Repeat == 3 && e.Cell == "flask/mt2/n2" {
					cancel(interrupted)
				}
			}
			if _, err := b.execute(ctx, p); !errors.Is(err, interrupted) {
				t.Fatalf("interrupted: %v", err)
			}
			b.onEvent, b.events = nil, nil
			if _, err := b.execute(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			run, records, err := b.store.Run(t.Context(), b.run)
			if err != nil {
				t.Fatal(err)
			}
			if len(records) != 2*test.made {
				t.Errorf("%d records, want %d repeats of two cells", len(records), test.made)
			}
			if counts := run.Count(records); counts.Missing() != 0 || *run.Counts != counts {
				t.Errorf("%+v, and the store counts %+v", counts, *run.Counts)
			}
			if end := verdict.NewRepeats(p, records).Ends()[0]; end.How != test.how || end.Repeats != test.made || end.Width == nil {
				t.Errorf("%+v, want %q after %d", end, test.how, test.made)
			}
			skipped, said := 0, ""
			for _, e := range b.events {
				switch e.Kind {
				case orchestrator.EventSkip:
					skipped++
				case orchestrator.EventNote:
					said += e.Message + "\n"
				}
			}
			if skipped != p.Repeats-test.made || !strings.Contains(said, test.said) {
				t.Errorf("%d trials skipped; notes:\n%s", skipped, said)
			}
			b.events = nil
			if _, err := b.execute(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			for _, e := range b.events {
				if e.Kind == orchestrator.EventStart || e.Kind == orchestrator.EventImage {
					t.Errorf("nothing was needed any more, and %s: %s", e.Kind, e.Topology)
				}
			}
		})
	}
}

func TestRequiredGPUStartsNothing(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	records, err := b.execute(t.Context(), b.plan(`
resources: {gpu: {mode: required}}
topologies: [flask]
matrix: {requests: [1], client: [single]}
`))
	if err == nil || !strings.Contains(err.Error(), "resources.gpu.mode is required") || len(records) > 0 || len(b.events) > 0 {
		t.Errorf("%v; %d records, events %v", err, len(records), b.events)
	}
}

func TestLimitsOfTheMachine(t *testing.T) {
	t.Parallel() // it mostly waits for containers
	b := newBench(t)
	p := b.plan("topologies: [flask]\nmatrix: {requests: [1], client: [single]}\n")
	p.Resources.CPUs = 4096
	if _, err := b.execute(t.Context(), p); err == nil || !strings.Contains(err.Error(), "resources.cpus") {
		t.Errorf("more cores than there are: %v", err)
	}
}
