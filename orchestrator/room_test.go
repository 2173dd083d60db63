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

// A crowded runtime has room for so many stacks at once. Before a stack has room it waits.
type crowded struct {
	*here
	most   int
	wait   time.Duration
	hidden bool // how much room there is, is not known before

	mu     sync.Mutex
	up     int
	whole  []time.Duration // that starts took
	beside []time.Duration // that starts without room were to wait
}

func (c *crowded) Room(context.Context, scenarios.Resources, scenarios.Client) (stacks.Room, error) {
	if c.hidden {
		return stacks.Room{}, nil
	}
	return stacks.Room{Free: c.most, All: c.most}, nil
}

func (c *crowded) Patience() time.Duration { return time.Minute }

func (c *crowded) StartPlaced(ctx context.Context, spec stacks.Spec, p stacks.Placing) (stacks.Stack, error) {
	began := time.Now()
	c.mu.Lock()
	full := c.up >= c.most
	if !full {
		c.up++
	}
	c.mu.Unlock()
	if full {
		c.mu.Lock()
		c.beside = append(c.beside, p.Patience)
		c.mu.Unlock()
		return nil, fmt.Errorf("%w: all GPUs are taken", stacks.ErrNoRoom)
	}
	if c.wait > 0 {
		p.Waits("somebody has the GPU")
		time.Sleep(c.wait)
		p.Waits("")
	}
	started, err := c.Start(ctx, spec)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.whole = append(c.whole, time.Since(began))
	return &crowdedStack{Stack: started, runtime: c}, err
}

// A crowdedStack leaves its room when it is stopped.
type crowdedStack struct {
	stacks.Stack
	runtime *crowded
	once    sync.Once
}

func (s *crowdedStack) Stop(ctx context.Context) error {
	s.once.Do(func() {
		s.runtime.mu.Lock()
		s.runtime.up--
		s.runtime.mu.Unlock()
	})
	return s.Stack.Stop(ctx)
}

// TestWaitsForRoom: a stack that waits for room says so, and its start-up time is without
// the wait.
func TestWaitsForRoom(t *testing.T) {
	b := newLaptop(t)
	const wait = 400 * time.Millisecond
	crowd := &crowded{here: b.runtime, most: 4, wait: wait}
	b.Runtime = crowd
	records, err := b.execute(t.Context(), b.plan(""))
	if err != nil || len(records) != 4 || !b.said("small waits: somebody has the GPU") || !b.said("small has room after ") {
		t.Fatalf("%d records, %v", len(records), err)
	}
	most, sum := slices.Max(crowd.whole)-wait/2, time.Duration(0)
	for _, one := range crowd.whole {
		sum += one - wait/2
	}
	for name, r := range records {
		if r.Status != results.StatusOK || r.Stack.StartS == nil || *r.Stack.StartS > most.Seconds() {
			t.Errorf("%s: %s %s, started in %v s; with the wait it took up to %v", name, r.Status, r.Reason, r.Stack.StartS, slices.Max(crowd.whole))
		}
	}
	run, err := b.store.ByID(t.Context(), "run")
	if err != nil || run.Spent[results.PhaseStart] > sum.Seconds() {
		t.Errorf("time spent: %v, %v; the starts took %v, of which each waited %v", run.Spent, err, crowd.whole, wait)
	}
}

// TestRoundsWithoutRoom: a stack that finds no room beside those that stay up does not wait
// for them, and is measured alone.
func TestRoundsWithoutRoom(t *testing.T) {
	b := newLaptop(t)
	crowd := &crowded{here: b.runtime, most: 1, hidden: true}
	b.Runtime = crowd
	p := b.plan("fresh: run\nrepeats: 2\n")
	records, err := b.execute(t.Context(), p)
	if err != nil || len(records) != p.Cells() || !b.said("had no room beside other stacks, and is measured again alone") {
		t.Fatalf("%d records of %d cells, %v", len(records), p.Cells(), err)
	}
	for name, r := range records {
		if r.Status != results.StatusOK {
			t.Errorf("%s: %s %s", name, r.Status, r.Reason)
		}
	}
	for _, one := range crowd.beside {
		if one == 0 || one >= crowd.Patience() {
			t.Errorf("it waited up to %v beside others", one)
		}
	}
	if len(crowd.beside) == 0 {
		t.Error("nothing was started beside others")
	}
}

// TestLanesWithoutRoom: lanes whose stacks find no room are left out, and the others
// measure.
func TestLanesWithoutRoom(t *testing.T) {
	for most, want := range map[int]int{2: 2, 1: 1} {
		b, _ := newLanes(t)
		b.Runtime = &crowded{here: b.runtime, most: most}
		p := lanesPlan(t, "lanes: 3\n")
		records, err := b.execute(t.Context(), p)
		run, failed := b.store.ByID(t.Context(), "run")
		if err != nil || failed != nil || len(records) != p.Cells() || run.Lanes == nil || len(run.Lanes.Have) != want {
			t.Fatalf("room for %d: %d records, %+v, %v, %v", most, len(records), run.Lanes, err, failed)
		}
		for name, r := range records {
			if r.Status != results.StatusOK {
				t.Errorf("room for %d: %s: %s", most, name, r.Reason)
			}
		}
		if !b.said("is left out, because start ") || most == 1 && !strings.Contains(run.Lanes.Off, "of 3 one has room: ") {
			t.Errorf("room for %d: %+v", most, run.Lanes)
		}
	}
}

// TestLostNode: a cell whose stack was lost is measured again on a new stack, once, and
// says why; when that is lost too, it has failed with what happened.
func TestLostNode(t *testing.T) {
	for _, losses := range []int{1, 2} {
		b := newLaptop(t)
		lost := fmt.Errorf("node n%d: %w", losses, stacks.ErrLost)
		var amid atomic.Bool // a cell of small
		b.onEvent = func(e orchestrator.Event) {
			switch e.Kind {
			case orchestrator.EventCell:
				amid.Store(e.Topology == "small")
			case orchestrator.EventNote, orchestrator.EventStop:
				amid.Store(false)
			}
		}
		b.runtime.check = func(topology string, starts int) error {
			if topology == "small" && amid.Load() && starts <= losses {
				return lost
			}
			return nil
		}
		b.runtime.server = func(string) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { time.Sleep(time.Millisecond) }
		}
		records, err := b.execute(t.Context(), b.plan(""))
		r := records["small/single/n6#1"]
		if len(records) != 4 || r.Stack == nil || !slices.Contains(r.Flags, results.FlagRepeated) || !strings.Contains(r.Stack.Before, lost.Error()) {
			t.Fatalf("%d losses: %d records, %+v, %v", losses, len(records), r, err)
		}
		if losses == 1 && (err != nil || r.Status != results.StatusOK) || losses == 2 && (err == nil || r.Status != results.StatusFailed || !strings.Contains(r.Reason, "the cell is void: "+lost.Error())) {
			t.Errorf("%d losses: %s %s, %v", losses, r.Status, r.Reason, err)
		}
		if losses == 2 && !errors.Is(err, stacks.ErrLost) {
			t.Errorf("the run says %v", err)
		}
		for name, r := range records {
			if name != "small/single/n6#1" && (r.Status != results.StatusOK || r.Stack.Before != "") {
				t.Errorf("%d losses: %s: %s %s", losses, name, r.Status, r.Reason)
			}
		}
	}
}
