package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

const (
	// An idle stack that used more than this share of one core, or of a device,
	// disturbed its neighbour's cell: durations within as much of each other are
	// called alike, see verdict.AlikeShare.
	idleShare = verdict.AlikeShare

	// idleLeast is CPU time that no cell is void for: /proc counts in ticks of 10 ms.
	idleLeast = 30 * time.Millisecond

	// mostBeside is how many stacks are up beside each other. Each has a network of its
	// own, and the address pools of an engine hold some thirty.
	mostBeside = 16

	// roomMargin is how many times as much as was seen a stack is taken to need.
	roomMargin = 1.25

	// roomSpare is the share of the machine's free memory that stays free.
	roomSpare = 0.1

	// idleDeaths is how often a stack that ended while it was idle is started again.
	idleDeaths = 3
)

// rounds is what a loop knows of stacks that stay up, with fresh: run.
type rounds struct {
	floor  *gpu.Floor      // the devices without any stack
	starts map[string]int  // of each topology's stack so far, with those of the run before it was resumed
	seen   map[string]need // by topology
	alone  map[string]bool // topologies that ran out of memory beside others
	died   map[string]int  // topologies whose stacks ended while they were idle
	repeat int             // of the last cell
}

// A need is what a stack was seen to take.
type need struct {
	workers   int
	main, gpu int64 // bytes
	threads   int
}

// resume takes over what a run did before it was resumed.
func (r *rounds) resume(made []results.Record) {
	r.starts, r.seen, r.alone, r.died = map[string]int{}, map[string]need{}, map[string]bool{}, map[string]int{}
	for _, record := range made {
		r.starts[record.Topology.Name] = max(r.starts[record.Topology.Name], record.Start)
	}
}

// stays reports whether stacks stay up.
func (l *loop) stays() bool { return l.plan.Fresh == scenarios.FreshRun }

// isUp reports whether a trial's stack is up.
func (l *loop) isUp(trial scenarios.Trial) bool { return l.up[l.key(trial)] != nil }

// others are the stacks that are up beside one, which may be nil.
func (l *loop) others(than *live) []*live {
	var others []*live
	for _, s := range l.up {
		if s != than {
			others = append(others, s)
		}
	}
	slices.SortFunc(others, func(a, b *live) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	return others
}

// startAll starts the stacks of trials, those of fresh: run at the same time. One that
// did not start beside others is tried once more when they have started: it may have
// lacked time or memory.
func (l *loop) startAll(ctx context.Context, trials []scenarios.Trial) error {
	trials = slices.DeleteFunc(slices.Clone(trials), l.isUp)
	whole := func(t scenarios.Trial) bool { return l.broken[t.Topology.Name] == nil }
	if l.stays() && slices.ContainsFunc(trials, whole) {
		leave := l.enter(bound(l.GPUWait, l.GPUWait), "wait for the GPU")
		err := l.cleanBeside(ctx)
		leave()
		for _, trial := range trials {
			if err != nil && ctx.Err() == nil {
				if err := l.failAll(ctx, trial, err, "", nil); err != nil {
					return err
				}
			}
		}
		if err != nil {
			return context.Cause(ctx)
		}
	}
	if len(trials) > 1 {
		again, err := l.startBeside(ctx, slices.DeleteFunc(slices.Clone(trials), func(t scenarios.Trial) bool { return !whole(t) }))
		if err != nil {
			return err
		}
		trials = append(slices.DeleteFunc(trials, whole), again...)
	}
	for _, trial := range trials {
		if err := l.start(ctx, trial); err != nil {
			return err
		}
	}
	return nil
}

// startBeside starts stacks at the same time, a few at once, and returns those that did
// not start.
func (l *loop) startBeside(ctx context.Context, trials []scenarios.Trial) (again []scenarios.Trial, err error) {
	failures := make([]error, len(trials))
	slots := make(chan struct{}, max(2, runtime.NumCPU()/2))
	var starts []func()
	for i, trial := range trials {
		spec, err := servers.Expand(l.id, l.plan, trial.Topology)
		if err != nil {
			return nil, err
		}
		starts = append(starts, func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() == nil {
				l.announce(trial)
				failures[i] = l.startOnce(ctx, spec, trial)
			}
		})
	}
	l.together(starts...)
	if ctx.Err() != nil {
		return nil, errors.Join(append(failures, context.Cause(ctx))...)
	}
	for i, trial := range trials {
		failed, unmade := (*failedStart)(nil), (*lostStart)(nil)
		switch {
		case failures[i] == nil:
		case errors.As(failures[i], &unmade), errors.As(failures[i], &failed):
			l.notify(Event{Kind: EventNote, Topology: trial.Topology.Name, Message: "it did not start beside others, and is started again: " + failures[i].Error()})
			again = append(again, trial)
			err = errors.Join(err, beside(failures[i]))
		default:
			err = errors.Join(err, failures[i])
		}
	}
	return again, err
}

// announce reports that a stack starts.
func (l *loop) announce(trial scenarios.Trial) {
	e := Event{Kind: EventStart, Topology: trial.Topology.Name, Repeat: trial.Repeat, Trial: l.number(trial), Trials: l.trials}
	if l.stays() {
		e.Rounds = l.plan.Repeats
	}
	l.notify(e)
}

// removeAll removes stacks at the same time.
func (l *loop) removeAll(ctx context.Context, which []*live) error {
	if len(which) == 1 {
		return which[0].remove(ctx)
	}
	failures := make([]error, len(which))
	var removals []func()
	for i, s := range which {
		removals = append(removals, func() { failures[i] = s.remove(ctx) })
	}
	l.together(removals...)
	return errors.Join(failures...)
}

// started notes that a stack is ready for cells.
func (s *live) started() {
	if !s.stays() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rounds.starts[s.spec.Name]++
	s.start = s.rounds.starts[s.spec.Name]
	n := s.rounds.seen[s.spec.Name]
	n.workers, n.threads = max(1, s.spec.Topology.Workers), 0
	if s.warmed != nil {
		n.main = max(n.main, *s.warmed)
	}
	for _, service := range s.seen.Services {
		for _, p := range service.Processes {
			n.threads += max(1, p.Threads)
		}
	}
	s.rounds.seen[s.spec.Name] = n
}

// tookMemory notes what a stack took in a cell.
func (s *live) tookMemory(rec results.Record) {
	n := s.rounds.seen[s.spec.Name]
	if rec.Memory.Peak != nil {
		n.main = max(n.main, *rec.Memory.Peak)
	}
	if rec.GPU.OverBaseline != nil {
		n.gpu = max(n.gpu, *rec.GPU.OverBaseline)
	}
	s.rounds.seen[s.spec.Name] = n
}

// A Room is what a machine has left.
type Room struct {
	Memory  int64 // bytes of main memory
	Threads int
}

// fits says which stacks have room beside those that are up. What a topology takes that
// was not up yet is estimated by the largest for each worker that was seen.
func (l *loop) fits(ctx context.Context) func(...scenarios.Trial) bool {
	return func(trials ...scenarios.Trial) bool {
		single := len(trials) == 1 && len(l.up) == 0
		if len(l.rounds.seen) == 0 || len(l.up)+len(trials) > mostBeside || slices.ContainsFunc(trials, func(t scenarios.Trial) bool { return l.rounds.alone[t.Topology.Name] }) ||
			slices.ContainsFunc(l.others(nil), func(s *live) bool { return l.rounds.alone[s.spec.Name] }) {
			return single
		}
		var sum need
		for _, trial := range trials {
			n := l.rounds.estimate(trial.Topology)
			if limit := l.limit(trial.Topology); limit > 0 {
				n.main = min(n.main, limit)
			}
			sum.main, sum.gpu, sum.threads = sum.main+n.main, sum.gpu+n.gpu, sum.threads+n.threads
		}
		if l.Room != nil {
			if room, err := l.Room(); err == nil && (float64(sum.main) > (1-roomSpare)*float64(room.Memory) || sum.threads > room.Threads) {
				return single
			}
		}
		if sum.gpu > 0 {
			if free := l.freeOnGPU(ctx); free != nil && float64(sum.gpu) > (1-roomSpare)*float64(*free) {
				return single
			}
		}
		return true
	}
}

// estimate is what a stack of a topology is likely to take.
func (r *rounds) estimate(t scenarios.Topology) need {
	n, known := r.seen[t.Name]
	if !known {
		workers := max(1, t.Workers)
		for _, other := range r.seen {
			n.main = max(n.main, other.main/int64(other.workers)*int64(workers))
			n.gpu = max(n.gpu, other.gpu/int64(other.workers)*int64(workers))
			n.threads = max(n.threads, (other.threads+other.workers-1)/other.workers*workers+t.Threads*workers)
		}
	}
	n.main, n.gpu = int64(roomMargin*float64(n.main)), int64(roomMargin*float64(n.gpu))
	return n
}

// limit is the most main memory that a stack of a topology can take; 0: there is no limit.
func (l *loop) limit(t scenarios.Topology) int64 {
	spec, err := servers.Expand(l.id, l.plan, t)
	if err != nil {
		return 0
	}
	var sum int64
	for _, s := range spec.Services {
		if s.Memory == 0 {
			return 0
		}
		sum += s.Memory
	}
	return sum
}

// roomless reports whether a stack failed for memory that its neighbours may have held.
// It is then measured again when there are none.
func (l *loop) roomless(t scenarios.Topology, reason error, others int) bool {
	name := t.Name
	gone := errors.Is(reason, errOutOfGPUMemory) || l.plan.Resources.Of(t).Memory == 0 && (errors.Is(reason, errOutOfMemory) || errors.Is(reason, stacks.ErrOutOfMemory))
	if !gone || others == 0 || !l.stays() || l.rounds.alone[name] {
		return false
	}
	l.rounds.alone[name] = true
	l.notify(Event{Kind: EventNote, Topology: name, Message: name + " ran out of memory beside other stacks, and is measured again alone: " + reason.Error()})
	return true
}

// stillRuns looks whether a stack that was idle still runs. If not, it is removed: the
// strategy has it started again.
func (l *loop) stillRuns(ctx context.Context, s *live) (bool, error) {
	name := s.spec.Name
	if !l.stays() || l.rounds.died[name] >= idleDeaths {
		return true, nil
	}
	err := s.stack.Check(ctx)
	if err == nil || ctx.Err() != nil {
		return true, nil
	}
	l.rounds.died[name]++
	l.notify(Event{Kind: EventNote, Topology: name, Message: name + " did not live until its next cell, and is started again: " + err.Error()})
	if errors.Is(err, stacks.ErrLost) {
		if err := l.reconnect(ctx, err); err != nil {
			return false, err
		}
	}
	return false, s.remove(ctx)
}

// enterRound reports the first cell of each repeat.
func (l *loop) enterRound(cell scenarios.Cell) {
	if l.stays() && cell.Repeat != l.rounds.repeat {
		l.rounds.repeat = cell.Repeat
		l.notify(Event{Kind: EventRound, Repeat: cell.Repeat, Rounds: l.plan.Repeats})
	}
}

// An idleWatch knows what idle stacks have used since it began.
type idleWatch struct {
	stacks []*live
	before []time.Duration // -1: not known
	began  time.Time
}

// watchIdle begins to watch the stacks that are up beside one.
func (l *loop) watchIdle(ctx context.Context, than *live) idleWatch {
	w := idleWatch{stacks: l.others(than), began: time.Now()}
	for _, s := range w.stacks {
		w.before = append(w.before, s.cpu(ctx))
	}
	return w
}

// disturbance says which of the stacks used the CPU.
func (w idleWatch) disturbance(ctx context.Context) (busy []string) {
	passed := time.Since(w.began)
	for i, s := range w.stacks {
		now := s.cpu(ctx)
		if used := now - w.before[i]; now >= 0 && w.before[i] >= 0 && used > idleLeast && float64(used) > idleShare*float64(passed) {
			busy = append(busy, fmt.Sprintf("%s, which should have been idle, used %v of CPU time in %v", s.spec.Name, used.Round(time.Millisecond), passed.Round(time.Millisecond)))
		}
	}
	return busy
}

// cpu is the CPU time that the stack has used so far, -1 if that is not known.
func (s *live) cpu(ctx context.Context) time.Duration {
	used, err := s.stack.CPU(ctx)
	if err != nil {
		return -1
	}
	return used
}

// forgetMemory takes the memory out of a record of a later round.
func (s *live) forgetMemory(rec *results.Record) {
	if !s.stays() || s.plan.FirstPass(rec.Cell.Repeat) {
		return
	}
	rec.Memory = results.Memory{Method: rec.Memory.Method, Reason: results.LaterRound}
	rec.GPU.Forget(results.LaterRound)
}
