package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"stackmeter/results"
	"stackmeter/results/stats"
	"stackmeter/scenarios"
	"stackmeter/scenarios/wire"
	"stackmeter/stacks"
)

const (
	// mostDisturbed is how much longer, or shorter, a cell may take beside busy lanes, as
	// a share.
	mostDisturbed = 0.02

	// A check ends after the first of these numbers of pairs if its interval says enough
	// by then, and after the second in any case. An interval takes six.
	fewestPairs, mostPairs = 8, 24

	// checkedFor is about how long each cell of a check lasts, with fewRequests for each
	// client at least.
	checkedFor  = 500 * time.Millisecond
	fewRequests = 2
)

// check measures a cell on each lane alone and with all other lanes busy, in turn, and
// says why lanes are not to be believed; empty: they are. Its stacks are gone afterwards,
// so that no record has what they took.
func (l *loop) check(ctx context.Context, todo []scenarios.Trial) (found *results.LaneCheck, off string, err error) {
	l.notify(Event{Kind: EventNote, Message: fmt.Sprintf("looking whether cells on %d lanes disturb each other", len(l.lanes))})
	var check laneCheck
	unsure := check.start(ctx, l.lanes, todo)
	if unsure == nil {
		unsure = check.alternate(ctx)
	}
	removals := make([]error, len(l.lanes))
	eachOf(l.lanes, func(i int, one *lane) { removals[i] = one.removeAll(ctx, one.others(nil)) })
	if err := errors.Join(removals...); err != nil || ctx.Err() != nil {
		return nil, "", errors.Join(context.Cause(ctx), err)
	}
	switch found = check.found(); {
	case unsure != nil:
		return found, fmt.Sprintf("whether %d disturb each other could not be measured: %v", len(l.lanes), unsure), nil
	case check.disturbed():
		return found, fmt.Sprintf("with %d %v", len(l.lanes), found), nil
	}
	return found, "", nil
}

// eachOf does something on all lanes at the same time.
func eachOf(lanes []*lane, do func(i int, one *lane)) {
	var all sync.WaitGroup
	for i, one := range lanes {
		all.Go(func() { do(i, one) })
	}
	all.Wait()
}

// A laneCheck has a stack on each lane, and a cell for it.
type laneCheck struct {
	stacks        []*live
	cells         []scenarios.Cell
	alone, beside []float64 // seconds, in pairs
}

// start starts a stack on each lane, of the trials that the lanes are likely to begin with.
func (c *laneCheck) start(ctx context.Context, lanes []*lane, todo []scenarios.Trial) error {
	failures := make([]error, len(lanes))
	c.stacks, c.cells = make([]*live, len(lanes)), make([]scenarios.Cell, len(lanes))
	first := distinct(todo)
	eachOf(lanes, func(i int, one *lane) {
		trial := first[i%len(first)]
		spec, err := one.expand(trial.Topology)
		if err == nil && one.stays() {
			err = one.cleanBeside(ctx)
		}
		if err == nil {
			err = one.startOnce(ctx, spec, trial, false)
		}
		if errors.Is(err, stacks.ErrNoRoom) {
			one.noRoom = err
		}
		failures[i], c.stacks[i], c.cells[i] = err, one.up[one.key(trial)], checkedCell(trial)
	})
	return errors.Join(failures...)
}

// distinct are the first trials of each topology.
func distinct(todo []scenarios.Trial) []scenarios.Trial {
	var first []scenarios.Trial
	for _, trial := range todo {
		if !slices.ContainsFunc(first, func(t scenarios.Trial) bool { return t.Topology.Name == trial.Topology.Name }) {
			first = append(first, trial)
		}
	}
	return first
}

// checkedCell is the heaviest cell of a trial whose duration says how fast the stack is:
// that of an open loop is its schedule's.
func checkedCell(trial scenarios.Trial) scenarios.Cell {
	for _, cell := range slices.Backward(trial.Cells) {
		if cell.Load.Client != scenarios.ClientOpen {
			return cell
		}
	}
	cell := trial.Cells[0]
	cell.Load = scenarios.LoadSpec{Client: scenarios.ClientMT, Pool: 1, Requests: cell.Load.Requests, KeepAlive: cell.Load.KeepAlive}
	return cell
}

// alternate measures pairs until they say enough.
func (c *laneCheck) alternate(ctx context.Context) error {
	if err := c.scale(ctx); err != nil {
		return err
	}
	for turn := 0; len(c.alone) < mostPairs && !c.enough(); turn++ {
		first, second := c.measureAlone, c.measureBeside
		if turn%2 > 0 { // so that a drift does not count for one of the two
			first, second = second, first
		}
		if err := errors.Join(first(ctx), second(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// scale makes each cell last about checkedFor. What it sends is a warm-up: a few requests for
// each client, and then as many as these say.
func (c *laneCheck) scale(ctx context.Context) error {
	for i, s := range c.stacks {
		spec := &c.cells[i].Load
		fewest := fewRequests * max(1, spec.Pool)
		spec.Requests = min(spec.Requests, fewest)
		for range 2 {
			took, err := c.fire(ctx, s, c.cells[i])
			if err != nil {
				return err
			}
			requests := math.Ceil(float64(spec.Requests) * checkedFor.Seconds() / took)
			spec.Requests = int(min(max(requests, float64(fewest)), wire.MaxRequests))
		}
	}
	return nil
}

// fire sends one cell and returns what it took, in seconds.
func (c *laneCheck) fire(ctx context.Context, s *live, cell scenarios.Cell) (float64, error) {
	defer s.enter(bound(s.GPUWait, loadBound(s.plan.Request, cell.Load)), "look how much lanes disturb each other with", cell.Name)()
	found, err := s.fire(ctx, cell)
	if err != nil {
		return 0, err
	}
	return found.load.Duration.Seconds(), found.load.Unmeasured(s.plan.Request.MaxErrors)
}

// measureAlone measures the cell of each lane while the others are idle.
func (c *laneCheck) measureAlone(ctx context.Context) error {
	for i, s := range c.stacks {
		took, err := c.fire(ctx, s, c.cells[i])
		if err != nil {
			return err
		}
		c.alone = append(c.alone, took)
	}
	return nil
}

// measureBeside measures the cell of each lane while all others are busy: each goes on
// until all have one that began when all had begun, and ended before any stopped.
func (c *laneCheck) measureBeside(ctx context.Context) error {
	var begun, counted atomic.Int32
	all := int32(len(c.stacks))
	took, failures := make([]float64, all), make([]error, all)
	var lanes []*lane
	for _, s := range c.stacks {
		lanes = append(lanes, s.lane)
	}
	eachOf(lanes, func(i int, _ *lane) {
		defer func() {
			if took[i] == 0 { // it failed, and nobody waits for it
				counted.Add(1)
			}
		}()
		for begun.Add(1); counted.Load() < all; {
			whole := begun.Load() == all
			d, err := c.fire(ctx, c.stacks[i], c.cells[i])
			if failures[i] = err; err != nil {
				return
			}
			if whole && took[i] == 0 {
				took[i] = d
				counted.Add(1)
			}
		}
	})
	c.beside = append(c.beside, took...)
	return errors.Join(failures...)
}

// enough reports whether more pairs would change nothing.
func (c *laneCheck) enough() bool {
	p := stats.Pair(c.alone, c.beside)
	if p == nil || p.N < fewestPairs || p.Interval == nil {
		return false
	}
	within := func(ratio float64) bool { return math.Abs(ratio-1) <= mostDisturbed }
	return within(p.Interval.Low) && within(p.Interval.High) || p.Interval.Low > 1+mostDisturbed || p.Interval.High < 1-mostDisturbed
}

// disturbed reports whether cells take longer or shorter beside busy lanes, by more than
// may be and more than noise explains.
func (c *laneCheck) disturbed() bool {
	p := stats.Pair(c.alone, c.beside)
	return p != nil && p.Shown && math.Abs(p.Ratio-1) > mostDisturbed
}

// found is what was measured, nil if there are no pairs.
func (c *laneCheck) found() *results.LaneCheck {
	n := min(len(c.alone), len(c.beside))
	p := stats.Pair(c.alone[:n], c.beside[:n])
	if p == nil {
		return nil
	}
	check := &results.LaneCheck{Lanes: len(c.stacks), Pairs: n, Alone: stats.NewSample(c.alone[:n]).Median, Beside: stats.NewSample(c.beside[:n]).Median, Ratio: p.Ratio}
	if p.Interval != nil {
		check.Low, check.High = &p.Interval.Low, &p.Interval.High
	}
	return check
}
