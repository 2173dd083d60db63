package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/stacks"
)

// roundsPlan is that of three topologies under two loads, over stacks that stay up.
func roundsPlan(t *testing.T, lines string) scenarios.Plan {
	return parsed(t, lines+`
name: test
app: {image: example/app, ready: {timeout: 2s}}
topologies:
  - {name: a, command: [a]}
  - {name: b, command: [b]}
  - {name: c, command: [c]}
matrix: {requests: [6], client: [single, mt], pool: [2]}
fresh: run
seed: 3
warmup: 1
`)
}

// TestRounds: each stack is started once, the first one alone and the others together,
// and then each round has each cell once, in the order of the plan.
func TestRounds(t *testing.T) {
	b := newLaptop(t)
	var starting, most atomic.Int32
	b.runtime.start = func(context.Context, string, int) error {
		most.Store(max(most.Load(), starting.Add(1)))
		time.Sleep(50 * time.Millisecond)
		starting.Add(-1)
		return nil
	}
	p := roundsPlan(t, "repeats: 4\n")
	var want, got []string
	for _, trial := range p.Trials {
		for _, cell := range trial.Cells {
			want = append(want, fmt.Sprintf("%s#%d", cell.Name, cell.Repeat))
		}
	}
	var order []string
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventResult {
			got = append(got, fmt.Sprintf("%s#%d", e.Cell, e.Repeat))
		}
		order = append(order, e.Kind)
	}
	records, err := b.execute(t.Context(), p)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%v\nmeasured %v\nplanned  %v", err, got, want)
	}
	if b.count(orchestrator.EventStart) != 3 || b.count(orchestrator.EventStopped) != 3 || b.count(orchestrator.EventRound) != 4 || most.Load() != 2 {
		t.Errorf("%v: %d at once", order, most.Load())
	}
	if first := slices.Index(order, orchestrator.EventResult); slices.Index(order[first:], orchestrator.EventStart) < 0 {
		t.Errorf("all started before the first was measured: %v", order)
	}
	for name, r := range records {
		first := strings.HasSuffix(name, "#1")
		if r.Status != results.StatusOK || r.Start != 1 || (r.Memory.Reason == results.LaterRound) == first {
			t.Errorf("%s: %s, start %d, memory %q", name, r.Status, r.Start, r.Memory.Reason)
		}
	}
	run, err := b.store.ByID(t.Context(), "run")
	if err != nil || run.SpentTotal() > 20 || run.Spent[results.PhaseMeasure] == 0 {
		t.Errorf("%v: %v", err, run.Spent)
	}
}

// TestRoundsPast: what stacks took in an earlier run is known, and those that fit start
// together before the first is measured.
func TestRoundsPast(t *testing.T) {
	for memory, together := range map[int64]bool{1 << 20: true, 1 << 30: false} {
		b := newLaptop(t)
		b.Room = func() (orchestrator.Room, error) { return orchestrator.Room{Memory: 2 << 30, Threads: 10000}, nil }
		p := roundsPlan(t, "repeats: 2\n")
		for _, trial := range p.Trials {
			took := results.Record{Topology: trial.Topology, Memory: results.Memory{Peak: &memory}}
			took.GPU.OverBaseline = &memory // which nothing on this machine can read now
			b.Past = append(b.Past, took)
		}
		var order []string
		b.onEvent = func(e orchestrator.Event) {
			if e.Kind == orchestrator.EventStart || e.Kind == orchestrator.EventResult {
				order = append(order, e.Kind)
			}
		}
		if _, err := b.execute(t.Context(), p); err != nil || b.count(orchestrator.EventStart) != 3 {
			t.Fatal(err, order)
		}
		if is := slices.Index(order, orchestrator.EventResult) == 3; is != together {
			t.Errorf("stacks that took %d bytes: %v", memory, order)
		}
	}
}

// TestRoundsStarts: each start has as many rounds, and its own number in the records.
func TestRoundsStarts(t *testing.T) {
	b := newLaptop(t)
	records, err := b.execute(t.Context(), roundsPlan(t, "repeats: 4\nstarts: 2\n"))
	if err != nil || b.count(orchestrator.EventStart) != 6 || len(records) != 24 {
		t.Fatalf("%v, %d records, started %v", err, len(records), b.runtime.started)
	}
	for name, r := range records {
		if want := (r.Cell.Repeat + 1) / 2; r.Start != want || (r.Memory.Reason == results.LaterRound) != (r.Cell.Repeat%2 == 0) {
			t.Errorf("%s: start %d, want %d, memory %q", name, r.Start, want, r.Memory.Reason)
		}
	}
}

// TestRoundsWaves: what has no room waits until those before it have been through all
// their rounds.
func TestRoundsWaves(t *testing.T) {
	b := newLaptop(t)
	up := func() int {
		b.runtime.mu.Lock()
		defer b.runtime.mu.Unlock()
		n := 0
		for name, started := range b.runtime.started {
			n += started - b.runtime.stopped[name]
		}
		return n
	}
	b.runtime.threads = 40
	b.Room = func() (orchestrator.Room, error) {
		return orchestrator.Room{Memory: 1 << 40, Threads: 100 - up()*40}, nil // for two
	}
	var got []string
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventResult {
			got = append(got, e.Cell[:1]+fmt.Sprint(e.Repeat))
			if up() > 2 {
				t.Errorf("%d stacks are up at %s", up(), e.Cell)
			}
		}
	}
	if _, err := b.execute(t.Context(), roundsPlan(t, "repeats: 3\norder: listed\n")); err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields("a1 a1 b1 b1 a2 a2 b2 b2 a3 a3 b3 b3 c1 c1 c2 c2 c3 c3"); !slices.Equal(got, want) {
		t.Errorf("measured %v\nwant     %v", got, want)
	}
}

// TestRoundsResume: a run that ended in its third round goes on with it on new stacks,
// which are another start.
func TestRoundsResume(t *testing.T) {
	b := newLaptop(t)
	p := roundsPlan(t, "repeats: 4\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventResult && e.Repeat == 3 {
			cancel()
		}
	}
	if records, err := b.execute(ctx, p); !errors.Is(err, context.Canceled) || len(records) != 13 {
		t.Fatalf("%v, %d records", err, len(records))
	}
	b.onEvent = nil
	records, err := b.execute(t.Context(), p)
	if err != nil || len(records) != 24 || b.count(orchestrator.EventResult) != 24 {
		t.Fatalf("%v, %d records of %d results", err, len(records), b.count(orchestrator.EventResult))
	}
	starts := map[int]int{}
	for name, r := range records {
		starts[r.Start]++
		if (r.Memory.Reason == results.LaterRound) != (r.Cell.Repeat > 1) {
			t.Errorf("%s: memory %q", name, r.Memory.Reason)
		}
	}
	if starts[1] != 13 || starts[2] != 11 {
		t.Errorf("records by start: %v", starts)
	}
}

// TestFault32IdleDeath: a stack that ends while others are measured is started again for
// its next cell, and nothing is lost.
func TestFault32IdleDeath(t *testing.T) {
	b := newLaptop(t)
	var dead atomic.Bool
	b.runtime.check = func(name string, starts int) error {
		if name == "b" && starts == 1 && dead.Load() {
			return fmt.Errorf("service app %w: exited with status 1", stacks.ErrEnded)
		}
		return nil
	}
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventCell && e.Repeat == 2 && e.Topology != "b" {
			dead.Store(true)
		}
	}
	records, err := b.execute(t.Context(), roundsPlan(t, "repeats: 3\n"))
	if err != nil || len(records) != 18 || b.runtime.started["b"] != 2 || !b.said("b did not live until its next cell") {
		t.Fatalf("%v, %d records, started %v", err, len(records), b.runtime.started)
	}
	for name, r := range records {
		if r.Status != results.StatusOK || len(r.Flags) > 0 && slices.Contains(r.Flags, results.FlagRepeated) {
			t.Errorf("%s: %s %v", name, r.Status, r.Flags)
		}
	}
}

// TestFault32BusyNeighbour: a cell is void if an idle stack uses the CPU meanwhile, and
// is measured again on the same stack. The second time it is flagged.
func TestFault32BusyNeighbour(t *testing.T) {
	for times, want := range map[int32][]string{
		1: {results.FlagRepeated},
		2: {results.FlagNeighbour, results.FlagRepeated},
	} {
		b := newLaptop(t)
		var used atomic.Int64
		var disturbed atomic.Bool
		b.runtime.cpu = func(name string) time.Duration {
			if name == "a" {
				return time.Duration(used.Load())
			}
			return 0
		}
		b.runtime.server = func(name string) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) {
				if name == "b" && disturbed.Load() {
					used.Add(int64(time.Second))
				}
			}
		}
		left := times
		b.onEvent = func(e orchestrator.Event) {
			disturbed.Store(false)
			if e.Kind == orchestrator.EventCell && e.Cell == "b/mt2/n6" && e.Repeat == 2 && left > 0 {
				left--
				disturbed.Store(true)
			}
		}
		records, err := b.execute(t.Context(), roundsPlan(t, "repeats: 3\n"))
		if err != nil || b.runtime.started["b"] != 1 || !b.said("b/mt2/n6 is void and is measured again: a, which should have been idle, used 6s of CPU time in") {
			t.Errorf("%v, started %v", err, b.runtime.started)
		}
		for name, r := range records {
			flags := slices.DeleteFunc(slices.Clone(r.Flags), func(f string) bool { return f != results.FlagNeighbour && f != results.FlagRepeated })
			if name == "b/mt2/n6#2" && !slices.Equal(flags, want) || name != "b/mt2/n6#2" && len(flags) > 0 {
				t.Errorf("%s, disturbed %d times: %v", name, times, flags)
			}
		}
	}
}

// TestRoundsStartsFail: what does not start beside others is tried once more alone, and
// if it never does, its cells of all rounds have failed and the others' are measured.
func TestRoundsStartsFail(t *testing.T) {
	b := newLaptop(t)
	b.runtime.start = func(_ context.Context, name string, starts int) error {
		if name == "b" || name == "c" && starts == 1 {
			return errors.New("no such command")
		}
		return nil
	}
	records, err := b.execute(t.Context(), roundsPlan(t, "repeats: 3\norder: listed\n"))
	if err != nil || b.runtime.started["b"] != 2 || b.runtime.started["c"] != 2 {
		t.Errorf("%v, started %v", err, b.runtime.started)
	}
	for name, r := range records {
		if failed := r.Topology.Name == "b"; (r.Status == results.StatusFailed) != failed || failed && r.Start != 0 {
			t.Errorf("%s: %s, start %d", name, r.Status, r.Start)
		}
	}
}

// TestRoundsEngineGoesAway: after an engine that went away, the stacks that it ended are
// started again, and nothing is lost.
func TestRoundsEngineGoesAway(t *testing.T) {
	b := newLaptop(t)
	var gone atomic.Bool
	b.runtime.check = func(_ string, starts int) error {
		if starts == 1 && gone.Load() {
			return fmt.Errorf("service app: %w", stacks.ErrLost)
		}
		return nil
	}
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventCell && e.Repeat == 2 {
			gone.Store(true)
		}
	}
	records, err := b.execute(t.Context(), roundsPlan(t, "repeats: 3\n"))
	if err != nil || len(records) != 18 {
		t.Fatalf("%v, %d records", err, len(records))
	}
	for name, r := range records {
		if r.Status != results.StatusOK || (r.Start == 1) != (r.Cell.Repeat == 1) {
			t.Errorf("%s: %s, start %d: %s", name, r.Status, r.Start, r.Reason)
		}
	}
}

// TestRoundsInterrupted: all stacks that are up are removed at the same time.
func TestRoundsInterrupted(t *testing.T) {
	b := newLaptop(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var removing sync.WaitGroup
	removing.Add(3)
	b.runtime.stop = func(string) error {
		removing.Done()
		removing.Wait()
		return nil
	}
	b.onEvent = func(e orchestrator.Event) {
		if e.Kind == orchestrator.EventCell && e.Repeat == 2 {
			cancel()
		}
	}
	if _, err := b.execute(ctx, roundsPlan(t, "repeats: 2\n")); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if b.runtime.stopped[name] != 1 {
			t.Errorf("stopped: %v", b.runtime.stopped)
		}
	}
}

// TestRoundsUntil: each cell is measured until it is known well enough, and a stack goes
// when nothing needs it any more.
func TestRoundsUntil(t *testing.T) {
	b := newLaptop(t)
	b.runtime.server = steady
	p := roundsPlan(t, "repeats: {min: 2, max: 9, until: 100%}\n")
	records, err := b.execute(t.Context(), p)
	if err != nil || len(records) >= p.Cells() || b.count(orchestrator.EventSkip) == 0 || !b.said("a/mt2/n6: ") || !b.said("of at most 9 repeats") {
		t.Errorf("%d records of %d cells, %d skipped, %v", len(records), p.Cells(), b.count(orchestrator.EventSkip), err)
	}
	run, err := b.store.ByID(t.Context(), "run")
	if err != nil || run.Planned != len(records) {
		t.Errorf("%d cells are planned and %d recorded, %v", run.Planned, len(records), err)
	}
}

// TestRoundsOfRealStacks: of either runtime, four are up at once, the last of them is
// told from the first, and when the run is cancelled then, nothing of them is left.
func TestRoundsOfRealStacks(t *testing.T) {
	for _, local := range []bool{true, false} {
		t.Run(map[bool]string{true: "process", false: "docker"}[local], func(t *testing.T) {
			b := newBench(t)
			if local {
				b.local()
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			up, most := 0, 0
			b.onEvent = func(e orchestrator.Event) {
				switch {
				case e.Kind == orchestrator.EventReady:
					up++
				case e.Kind == orchestrator.EventStopped:
					up--
				case e.Kind == orchestrator.EventResult && e.Repeat == 2:
					cancel()
				}
				most = max(most, up)
			}
			p := b.plan(`
request: {path: '/sleep?s=0.01'}
topologies: [flask, gunicorn w1/t2, gunicorn w2/t1, nginx + gunicorn w1/t4]
matrix: {requests: [10], client: [single, mt], pool: [2]}
fresh: run
repeats: 3
`)
			if _, err := b.execute(ctx, p); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if up != 0 || most != 4 {
				t.Errorf("%d stacks are up, %d were", up, most)
			}
			if left, err := b.Runtime.Sweep(t.Context(), b.run); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			b.onEvent = nil
			if _, err := b.execute(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			_, records, err := b.store.Run(t.Context(), b.run)
			if err != nil || len(records) != p.Cells() {
				t.Fatalf("%d records of %d cells, %v", len(records), p.Cells(), err)
			}
			for _, r := range records {
				if r.Status != results.StatusOK || r.Start < 1 || (r.Memory.Peak != nil) != (r.Cell.Repeat == 1) {
					t.Errorf("%s, round %d: %s, start %d, memory %v: %s", r.Cell.Name, r.Cell.Repeat, r.Status, r.Start, r.Memory.Peak, r.Reason)
				}
			}
		})
	}
}
