package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"stackmeter/orchestrator"
	"stackmeter/orchestrator/load"
	"stackmeter/results"
	"stackmeter/scenarios"
)

// lanesPlan is that of four topologies that wait, on lanes.
func lanesPlan(t *testing.T, lines string) scenarios.Plan {
	return parsed(t, lines+`
name: test
app: {image: example/app, ready: {timeout: 2s}}
topologies:
  - {name: a, command: [a]}
  - {name: b, command: [b]}
  - {name: c, command: [c]}
  - {name: d, command: [d]}
matrix: {requests: [20], client: [single, mt], pool: [2]}
warmup: 1
`)
}

// A clocked client says that each cell took a second, and by how much more it took
// beside cells of other lanes.
type clocked struct {
	load.Client
	slower float64 // share of a second
	under  atomic.Int32
	most   atomic.Int32 // cells at once
}

func (c *clocked) Prepare(ctx context.Context, job load.Job) (load.Batch, error) {
	batch, err := c.Client.Prepare(ctx, job)
	return &clockedBatch{batch, c}, err
}

type clockedBatch struct {
	load.Batch
	clock *clocked
}

func (b *clockedBatch) Fire(ctx context.Context) (load.Result, error) {
	now := b.clock.under.Add(1)
	b.clock.most.Store(max(b.clock.most.Load(), now))
	sent, err := b.Batch.Fire(ctx)
	sent.Duration = time.Second
	if now > 1 || b.clock.under.Load() > 1 {
		sent.Duration += time.Duration(b.clock.slower * float64(time.Second))
	}
	b.clock.under.Add(-1)
	return sent, err
}

// newLanes is a laptop whose stacks wait, with a client that is clocked.
func newLanes(t *testing.T) (*laptop, *clocked) {
	b := newLaptop(t)
	clock := &clocked{Client: b.Client}
	b.Client = clock
	b.runtime.server = func(string) http.HandlerFunc {
		return func(http.ResponseWriter, *http.Request) { time.Sleep(2 * time.Millisecond) }
	}
	return b, clock
}

// TestLanes: two lanes measure each cell once, side by side and each one cell at a time,
// once they were seen not to disturb each other.
func TestLanes(t *testing.T) {
	for _, fresh := range []string{"topology", "cell", "run"} {
		b, clock := newLanes(t)
		p := lanesPlan(t, "lanes: 2\nrepeats: 2\nfresh: "+fresh+"\n")
		measured := map[string]int{}
		under := map[int]string{} // by lane
		b.onEvent = func(e orchestrator.Event) {
			switch e.Kind {
			case orchestrator.EventCell:
				if under[e.Lane] != "" {
					t.Errorf("%s: %s and %s are measured on lane %d", fresh, under[e.Lane], e.Cell, e.Lane)
				}
				under[e.Lane] = e.Cell
			case orchestrator.EventResult:
				measured[fmt.Sprintf("%s#%d", e.Cell, e.Repeat)]++
				delete(under, e.Lane)
			}
		}
		records, err := b.execute(t.Context(), p)
		if err != nil || len(records) != p.Cells() || len(measured) != p.Cells() || clock.most.Load() < 2 {
			t.Fatalf("%s: %v, %d records of %d cells, %d busy at once", fresh, err, len(records), p.Cells(), clock.most.Load())
		}
		used := map[int]int{}
		for name, r := range records {
			if r.Status != results.StatusOK || measured[name] != 1 {
				t.Errorf("%s: %s: %s %s, measured %d times", fresh, name, r.Status, r.Reason, measured[name])
			}
			used[r.Lane]++
		}
		run, err := b.store.ByID(t.Context(), "run")
		if err != nil || len(used) != 2 || used[1] == 0 || used[2] == 0 {
			t.Errorf("%s: records by lane: %v, %v", fresh, used, err)
		}
		if l := run.Lanes; l == nil || len(l.Have) != 2 || l.Check == nil || l.Off != "" || l.Check.Pairs < 8 || l.Check.Low == nil {
			t.Errorf("%s: %+v", fresh, run.Lanes)
		}
	}
}

// TestLanesDisturb: where cells take longer beside busy lanes, one lane measures, and the
// run says so.
func TestLanesDisturb(t *testing.T) {
	b, clock := newLanes(t)
	clock.slower = 0.2
	records, err := b.execute(t.Context(), lanesPlan(t, "lanes: 2\n"))
	run, failed := b.store.ByID(t.Context(), "run")
	if err != nil || failed != nil || len(records) != 8 {
		t.Fatalf("%d records, %v, %v", len(records), err, failed)
	}
	for name, r := range records {
		if r.Lane != 0 || r.Status != results.StatusOK {
			t.Errorf("%s: lane %d, %s", name, r.Lane, r.Status)
		}
	}
	if l := run.Lanes; l == nil || len(l.Have) != 1 || l.Check == nil || l.Check.Ratio < 1.02 || !strings.Contains(l.Off, "with the other lanes busy") || !b.said("lanes: one, because with 2 a cell took") {
		t.Errorf("%+v", run.Lanes)
	}
}

// TestLanesInterrupted: what was measured until a run with lanes is cancelled is not
// measured again, nothing is left, and nothing is lost.
func TestLanesInterrupted(t *testing.T) {
	for _, fresh := range []string{"topology", "run"} {
		b, _ := newLanes(t)
		p := lanesPlan(t, "lanes: 4\nrepeats: 2\nfresh: "+fresh+"\n")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		measured := map[string]int{}
		b.onEvent = func(e orchestrator.Event) {
			if e.Kind == orchestrator.EventResult {
				measured[fmt.Sprintf("%s#%d", e.Cell, e.Repeat)]++
			}
			if len(measured) == 5 {
				cancel()
			}
		}
		if _, err := b.execute(ctx, p); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		b.onEvent = func(e orchestrator.Event) {
			if e.Kind == orchestrator.EventResult {
				measured[fmt.Sprintf("%s#%d", e.Cell, e.Repeat)]++
			}
		}
		records, err := b.execute(t.Context(), p)
		if err != nil || len(records) != p.Cells() || len(measured) != p.Cells() || slices.Max(slices.Collect(maps.Values(measured))) != 1 {
			t.Errorf("%s: %v, %d records of %d cells, measured %v", fresh, err, len(records), p.Cells(), measured)
		}
	}
}
