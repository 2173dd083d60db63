package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/load/native"
	"stackmeter/orchestrator/strategy"
	"stackmeter/results"
	"stackmeter/results/sqlite"
	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/existing"
	"stackmeter/stacks/servers"
)

// here is a runtime without an engine: its stacks are HTTP servers of this test.
// What is set replaces what they would do.
type here struct {
	existing.Runtime
	server  func(topology string) http.HandlerFunc // nil: it answers 200
	check   func(topology string, starts int) error
	stop    func(topology string) error
	start   func(ctx context.Context, topology string, starts int) error
	prepare func(topology string) error
	engine  func() error
	digest  string
	threads int                                 // of each stack
	cpu     func(topology string) time.Duration // that it has used so far

	mu      sync.Mutex
	started map[string]int
	stopped map[string]int
	swept   int
}

func (r *here) Check(context.Context) error {
	if r.engine != nil {
		return r.engine()
	}
	return nil
}

func (r *here) Prepare(_ context.Context, spec stacks.Spec, progress func(string)) error {
	progress("looking at " + spec.Name)
	if r.prepare != nil {
		return r.prepare(spec.Name)
	}
	return nil
}

func (r *here) Digest(stacks.Service) string { return r.digest }

func (r *here) Sweep(context.Context, string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.swept++
	return nil, nil
}

func (r *here) Start(ctx context.Context, spec stacks.Spec) (stacks.Stack, error) {
	r.mu.Lock()
	r.started[spec.Name]++
	starts := r.started[spec.Name]
	r.mu.Unlock()
	if r.start != nil {
		if err := r.start(ctx, spec.Name, starts); err != nil {
			return nil, err
		}
	}
	handler := func(http.ResponseWriter, *http.Request) {}
	if r.server != nil {
		handler = r.server(spec.Name)
	}
	server := httptest.NewServer(http.HandlerFunc(handler))
	stack, err := (&existing.Runtime{URL: existing.At(server.URL)}).Start(ctx, spec)
	return &hereStack{Stack: stack, runtime: r, name: spec.Name, service: spec.Services[0].Name, starts: starts, server: server}, err
}

// A hereStack ends its server when it is stopped.
type hereStack struct {
	stacks.Stack
	runtime *here
	name    string
	service string
	starts  int
	server  *httptest.Server
}

func (s *hereStack) Inspect(ctx context.Context) (stacks.Facts, error) {
	facts, err := s.Stack.Inspect(ctx)
	if s.runtime.threads > 0 {
		facts.Services = []stacks.ServiceFacts{{Service: s.service, Processes: []stacks.Process{{PID: 1, Threads: s.runtime.threads}}}}
	}
	return facts, err
}

func (s *hereStack) CPU(ctx context.Context) (time.Duration, error) {
	if s.runtime.cpu == nil {
		return s.Stack.CPU(ctx)
	}
	return s.runtime.cpu(s.name), nil
}

func (s *hereStack) Check(ctx context.Context) error {
	if s.runtime.check != nil {
		if err := s.runtime.check(s.name, s.starts); err != nil {
			return err
		}
	}
	return s.Stack.Check(ctx)
}

func (s *hereStack) Stop(ctx context.Context) error {
	if s.runtime.stop != nil {
		if err := s.runtime.stop(s.name); err != nil {
			return err
		}
	}
	s.server.CloseClientConnections()
	s.server.Close()
	s.runtime.mu.Lock()
	s.runtime.stopped[s.name]++
	s.runtime.mu.Unlock()
	return s.Stack.Stop(ctx)
}

// A laptop is an orchestrator that needs no engine: servers of this test, the
// native client, a store in memory.
type laptop struct {
	orchestrator.Orchestrator
	t       *testing.T
	runtime *here
	store   *sqlite.Store
	events  []orchestrator.Event
	onEvent func(orchestrator.Event)
}

// openStore is an empty store in memory.
func openStore(t testing.TB) *sqlite.Store {
	t.Helper()
	store, err := sqlite.OpenInMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func newLaptop(t *testing.T) *laptop {
	b := &laptop{t: t, store: openStore(t), runtime: &here{started: map[string]int{}, stopped: map[string]int{}}}
	b.Runtime, b.Client, b.Recorder, b.NoGPU = b.runtime, &native.Client{}, b.store, "the test gives none"
	b.Notify = func(e orchestrator.Event) {
		b.events = append(b.events, e)
		if b.onEvent != nil {
			b.onEvent(e)
		}
	}
	if err := b.store.Begin(t.Context(), results.Run{ID: "run"}); err != nil {
		t.Fatal(err)
	}
	return b
}

// plan is that of two topologies, small and large, under two loads. The lines are
// added to the scenario; one with the app replaces the scenario's own.
func (b *laptop) plan(lines string) scenarios.Plan {
	b.t.Helper()
	if !strings.Contains(lines, "app:") {
		lines += "app: {image: example/app, ready: {timeout: 2s}}\n"
	}
	return parsed(b.t, lines+`
name: test
topologies:
  - {name: small, command: [small]}
  - {name: large, command: [large]}
matrix: {requests: [6], client: [single, mt], pool: [2]}
order: listed
warmup: 1
`)
}

func parsed(t *testing.T, scenario string) scenarios.Plan {
	t.Helper()
	s, err := scenarios.Loader{Servers: servers.Known()}.Parse("test.yaml", []byte(scenario))
	if err != nil {
		t.Fatal(err)
	}
	return s.Plan()
}

func (b *laptop) execute(ctx context.Context, p scenarios.Plan) (map[string]results.Record, error) {
	b.t.Helper()
	err := b.Run(ctx, "run", p)
	_, records, failed := b.store.Run(b.t.Context(), "run")
	if failed != nil {
		b.t.Fatal(failed)
	}
	by := map[string]results.Record{}
	for _, r := range records {
		by[fmt.Sprintf("%s#%d", r.Cell.Name, r.Cell.Repeat)] = r
	}
	b.runtime.mu.Lock()
	defer b.runtime.mu.Unlock()
	for name, n := range b.runtime.started {
		if b.runtime.stop == nil && b.runtime.start == nil && b.runtime.stopped[name] != n {
			b.t.Errorf("%s was started %d times and stopped %d times", name, n, b.runtime.stopped[name])
		}
	}
	return by, err
}

func (b *laptop) count(kind string) int {
	n := 0
	for _, e := range b.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func (b *laptop) said(part string) bool {
	return slices.ContainsFunc(b.events, func(e orchestrator.Event) bool { return strings.Contains(e.Message, part) })
}

func TestLoopMeasuresThePlanAndResumes(t *testing.T) {
	b := newLaptop(t)
	p := b.plan("repeats: 2\n")
	records, err := b.execute(t.Context(), p)
	if err != nil || len(records) != 8 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for name, r := range records {
		if r.Status != results.StatusOK || r.Duration == nil || r.Replies != 6 || r.Memory.Peak != nil || r.Memory.Reason == "" {
			t.Errorf("%s: %s %s, %d replies, memory %+v", name, r.Status, r.Reason, r.Replies, r.Memory)
		}
	}
	if b.count(orchestrator.EventStart) != 4 || b.count(orchestrator.EventStopped) != 4 || b.count(orchestrator.EventResult) != 8 {
		t.Errorf("%d starts, %d stops, %d results", b.count(orchestrator.EventStart), b.count(orchestrator.EventStopped), b.count(orchestrator.EventResult))
	}
	run, err := b.store.ByID(t.Context(), "run")
	if err != nil || run.Spent[results.PhaseMeasure] <= 0 || run.Spent[results.PhaseOther] <= 0 {
		t.Errorf("time spent: %v, %v", run.Spent, err)
	}
	b.events = nil
	if _, err := b.execute(t.Context(), p); err != nil || b.count(orchestrator.EventStart) != 0 {
		t.Errorf("a finished run that is resumed: %d starts, %v", b.count(orchestrator.EventStart), err)
	}
}

func TestLoopEachCellOnAStackOfItsOwn(t *testing.T) {
	b := newLaptop(t)
	records, err := b.execute(t.Context(), b.plan("fresh: cell\n"))
	if err != nil || len(records) != 4 || b.runtime.started["small"] != 2 {
		t.Errorf("%d records, started %v, %v", len(records), b.runtime.started, err)
	}
}

func TestLoopGoesOnAfterWhatFails(t *testing.T) {
	broken := errors.New("no such image")
	ended := fmt.Errorf("service app %w: exited with status 3", stacks.ErrEnded)
	for _, test := range []struct {
		name   string
		set    func(*here)
		lines  string
		status string // of the cells of small
		reason string
	}{
		{"it cannot be prepared", func(r *here) {
			r.prepare = func(name string) error { return map[string]error{"small": broken}[name] }
		}, "", results.StatusFailed, "no such image"},
		{"it cannot be started", func(r *here) {
			r.start = func(_ context.Context, name string, _ int) error { return map[string]error{"small": broken}[name] }
		}, "", results.StatusFailed, "start small: no such image"},
		{"it is never ready", func(r *here) {
			r.server = func(name string) http.HandlerFunc {
				return func(w http.ResponseWriter, _ *http.Request) {
					if name == "small" {
						w.WriteHeader(http.StatusServiceUnavailable)
					}
				}
			}
		}, "app: {image: example/app, ready: {timeout: 300ms}}\n", results.StatusFailed, "503"},
		{"it ends while it starts", func(r *here) {
			r.check = func(name string, _ int) error { return map[string]error{"small": ended}[name] }
		}, "", results.StatusFailed, "exited with status 3"},
		{"it answers with errors", func(r *here) {
			r.server = func(name string) http.HandlerFunc {
				var n atomic.Int64
				return func(w http.ResponseWriter, req *http.Request) {
					if name == "small" && req.Header.Get("User-Agent") != "" && n.Add(1) > 3 || name == "small" && req.URL.Path == "/work" {
						w.WriteHeader(http.StatusInternalServerError)
					}
				}
			}
		}, "request: {path: /work}\n", results.StatusFailed, "status"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newLaptop(t)
			test.set(b.runtime)
			records, err := b.execute(t.Context(), b.plan(test.lines))
			if err != nil || len(records) != 4 {
				t.Fatalf("%d records, %v", len(records), err)
			}
			for name, r := range records {
				want := results.StatusOK
				if strings.HasPrefix(name, "small") {
					want = test.status
				}
				if r.Status != want || want == results.StatusFailed && (!strings.Contains(r.Reason, test.reason) || r.Duration != nil) {
					t.Errorf("%s: %s, %s", name, r.Status, r.Reason)
				}
			}
		})
	}
}

// TestLoopServerDies: the cell under measurement is lost with its stack, and the
// next one gets a new stack.
func TestLoopServerDies(t *testing.T) {
	b := newLaptop(t)
	var dead atomic.Bool
	b.runtime.server = func(name string) http.HandlerFunc {
		dead.Store(false)
		var n atomic.Int64
		return func(_ http.ResponseWriter, r *http.Request) {
			if name == "small" && b.runtime.started[name] == 1 && n.Add(1) == 5 {
				dead.Store(true)
				panic(http.ErrAbortHandler)
			}
		}
	}
	b.runtime.check = func(name string, starts int) error {
		if name == "small" && starts == 1 && dead.Load() {
			return fmt.Errorf("service app %w: exited with status 1", stacks.ErrEnded)
		}
		return nil
	}
	records, err := b.execute(t.Context(), b.plan(""))
	if err != nil || b.runtime.started["small"] != 2 {
		t.Fatalf("started %v, %v", b.runtime.started, err)
	}
	if r := records["small/single/n6#1"]; r.Status != results.StatusFailed || !strings.Contains(r.Reason, "exited with status 1") {
		t.Errorf("the cell: %s, %s", r.Status, r.Reason)
	}
	if r := records["small/mt2/n6#1"]; r.Status != results.StatusOK {
		t.Errorf("the next cell: %s, %s", r.Status, r.Reason)
	}
}

// TestLoopVoid: a cell that somebody else disturbed is measured again, once.
func TestLoopVoid(t *testing.T) {
	for _, times := range []int{1, 2} {
		t.Run(fmt.Sprint(times), func(t *testing.T) {
			b := newLaptop(t)
			var measuring atomic.Bool
			b.onEvent = func(e orchestrator.Event) {
				switch e.Kind {
				case orchestrator.EventCell, orchestrator.EventStart:
					measuring.Store(e.Cell == "small/single/n6")
				}
			}
			b.runtime.check = func(name string, starts int) error {
				if name == "small" && measuring.Load() && starts <= times {
					return fmt.Errorf("service app %w", stacks.ErrDisturbed)
				}
				return nil
			}
			records, err := b.execute(t.Context(), b.plan(""))
			if err != nil {
				t.Fatal(err)
			}
			r := records["small/single/n6#1"]
			if want := map[int]string{1: results.StatusOK, 2: results.StatusFailed}[times]; r.Status != want || !slices.Contains(r.Flags, results.FlagRepeated) {
				t.Errorf("%s %s, flags %v", r.Status, r.Reason, r.Flags)
			}
			if !b.said("is void and is measured again") || records["small/mt2/n6#1"].Status != results.StatusOK {
				t.Errorf("the next cell: %+v", records["small/mt2/n6#1"].Reason)
			}
		})
	}
}

// TestLoopEngineGoesAway: starts that the engine lost are made again, and the run
// says that it was the engine.
func TestLoopEngineGoesAway(t *testing.T) {
	b := newLaptop(t)
	b.EngineWait = time.Second
	b.runtime.start = func(_ context.Context, name string, starts int) error {
		if name == "small" || starts == 1 {
			return fmt.Errorf("%w: no answer", stacks.ErrLost)
		}
		return nil
	}
	records, err := b.execute(t.Context(), b.plan(""))
	if !errors.Is(err, stacks.ErrLost) || !strings.Contains(err.Error(), "the engine failed") {
		t.Errorf("the run: %v", err)
	}
	if r := records["small/mt2/n6#1"]; r.Status != results.StatusFailed || b.runtime.started["small"] != 3 {
		t.Errorf("%s, started %v", r.Status, b.runtime.started)
	}
	if r := records["large/mt2/n6#1"]; r.Status != results.StatusOK || !b.said("the engine answers again") {
		t.Errorf("a start that was lost once: %s, %s", r.Status, r.Reason)
	}

	away := newLaptop(t)
	away.EngineWait = 10 * time.Millisecond
	checks := 0
	away.runtime.engine = func() error {
		if checks++; checks > 1 {
			return errors.New("connection refused")
		}
		return nil
	}
	away.runtime.start = b.runtime.start
	if _, err := away.execute(t.Context(), away.plan("")); !errors.Is(err, stacks.ErrLost) || !strings.Contains(err.Error(), "did not come back") {
		t.Errorf("an engine that stays away: %v", err)
	}
}

// TestLoopEndsWithTheRun: what is no cell's failure ends the run.
func TestLoopEndsWithTheRun(t *testing.T) {
	full := errors.New("the disk is full")
	left := errors.New("container 0123 is still there")
	for _, test := range []struct {
		name string
		set  func(*laptop)
		want error
	}{
		{"a stack that cannot be stopped", func(b *laptop) { b.runtime.stop = func(string) error { return left } }, left},
		{"a store that fails", func(b *laptop) { b.Recorder = failing{b.store, full} }, full},
		{"a machine that lacks something", func(b *laptop) {
			b.runtime.prepare = func(string) error { return fmt.Errorf("%w: 64 cores", stacks.ErrUnavailable) }
		}, stacks.ErrUnavailable},
		{"images that have changed", func(b *laptop) {
			b.runtime.digest, b.Images = "sha256:2", map[string]string{"small/app": "sha256:1"}
		}, orchestrator.ErrImages},
		{"images that a stack that was started turns out not to have any more", func(b *laptop) {
			b.Images = map[string]string{"small/app": "sha256:1"}
			b.runtime.start = func(context.Context, string, int) error {
				b.runtime.digest = "sha256:2"
				return nil
			}
		}, orchestrator.ErrImages},
		{"an engine that is not there", func(b *laptop) { b.runtime.engine = func() error { return left } }, left},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newLaptop(t)
			test.set(b)
			if _, err := b.execute(t.Context(), b.plan("")); !errors.Is(err, test.want) {
				t.Errorf("the run: %v", err)
			}
		})
	}
}

// failing is a store whose disk is full.
type failing struct {
	orchestrator.Recorder
	err error
}

func (f failing) Put(context.Context, results.Record) error { return f.err }

func TestLoopInterrupted(t *testing.T) {
	b := newLaptop(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	end := errors.New("interrupted")
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventCell && e.Cell == "small/mt2/n6" {
			cancel(end)
		}
	}
	records, err := b.execute(ctx, b.plan(""))
	if !errors.Is(err, end) || len(records) != 1 || records["small/single/n6#1"].Status != results.StatusOK {
		t.Errorf("%d records, %v", len(records), err)
	}
}

// TestLoopStuck: a step without an end is told of and ends the run.
func TestLoopStuck(t *testing.T) {
	b := newLaptop(t)
	b.StepLimit = 300 * time.Millisecond
	b.runtime.start = func(ctx context.Context, _ string, _ int) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if _, err := b.execute(t.Context(), b.plan("")); !errors.Is(err, orchestrator.ErrStuck) || b.count(orchestrator.EventStuck) != 1 || !b.said("start small, for ") {
		t.Errorf("%v", err)
	}
}

// steady is a server whose replies take long against what a busy machine adds to them.
func steady(string) http.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) { time.Sleep(30 * time.Millisecond) }
}

// TestLoopUntil: repeats end when the medians are known; what is left out is told
// and not planned any more.
func TestLoopUntil(t *testing.T) {
	b := newLaptop(t)
	b.runtime.server = steady
	p := b.plan("repeats: {min: 2, max: 9, until: 100%}\n")
	records, err := b.execute(t.Context(), p)
	if err != nil || len(records) >= p.Cells() || b.count(orchestrator.EventSkip) == 0 || !b.said("of at most 9 repeats") {
		t.Errorf("%d records of %d cells, %d skipped, %v", len(records), p.Cells(), b.count(orchestrator.EventSkip), err)
	}
	run, err := b.store.ByID(t.Context(), "run")
	if err != nil || run.Planned != len(records) {
		t.Errorf("%d cells are planned and %d recorded, %v", run.Planned, len(records), err)
	}
}

// TestLoopFailFast: a strategy around that of the plan ends the run with the first
// cell that fails, and a resumed run begins with it.
func TestLoopFailFast(t *testing.T) {
	b := newLaptop(t)
	b.Strategy = strategy.FailFast(scenarios.Plan{})
	wrong := errors.New("no such command")
	b.runtime.start = func(context.Context, string, int) error { return wrong }
	p := b.plan("fresh: cell\n")
	records, err := b.execute(t.Context(), p)
	if err != nil || len(records) != 1 || b.runtime.started["large"] != 0 || !b.said("nothing was measured after small/single/n6, repeat 1 had failed") {
		t.Errorf("%d records, started %v, %v", len(records), b.runtime.started, err)
	}
	wrong = nil
	if records, err = b.execute(t.Context(), p); err != nil || len(records) != p.Cells() {
		t.Errorf("resumed: %d records, %v", len(records), err)
	}
}

// TestLoopPrune: what a smaller topology ran out of memory for is not started. One
// that could not have been started at all has failed.
func TestLoopPrune(t *testing.T) {
	for unbuilt, want := range map[string][]string{
		"":       {results.StatusOK, results.StatusFailed, results.StatusPruned},
		"own-w4": {results.StatusOK, results.StatusFailed, results.StatusFailed},
	} {
		b := newLaptop(t)
		b.runtime.prepare = func(name string) error {
			return map[string]error{unbuilt: errors.New("no such image")}[name]
		}
		b.runtime.check = func(name string, _ int) error {
			if strings.Contains(name, "w2") {
				return fmt.Errorf("service app %w: %w", stacks.ErrEnded, stacks.ErrOutOfMemory)
			}
			return nil
		}
		p := parsed(t, `
name: test
app: {image: example/app}
topologies:
  - {name: own, command: [own, "{workers}"], workers: [1, 2, 4]}
matrix: {requests: [4], client: [single]}
resources: {memory: 1GiB}
order: listed
prune: true
warmup: 0
`)
		records, err := b.execute(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		var statuses []string
		for _, name := range []string{"own-w1", "own-w2", "own-w4"} {
			statuses = append(statuses, records[name+"/single/n4#1"].Status)
		}
		if !slices.Equal(statuses, want) || b.runtime.started["own-w4"] != 0 {
			t.Errorf("without %q: %v, want %v; started %v", unbuilt, statuses, want, b.runtime.started)
		}
	}
}
