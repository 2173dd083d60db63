package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"stackmeter/results"
	"stackmeter/results/verdict"
	"stackmeter/scenarios"
	"stackmeter/stacks"
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

	// threadsUnseen is how many threads a worker is taken to have beyond those of its
	// server, until it is up: records do not say. A library that computes has one for
	// each core, and few machines have more cores.
	threadsUnseen = 64

	// idleDeaths is how often a stack that ended while it was idle is started again.
	idleDeaths = 3
)

// rounds is what a loop knows of stacks that stay up, with fresh: run. It is safe for
// concurrent use.
type rounds struct {
	mu     sync.Mutex
	starts map[string]int  // of each topology's stack so far, with those of the run before it was resumed
	seen   map[string]need // by topology
	alone  map[string]bool // topologies that ran out of memory beside others
	died   map[string]int  // topologies whose stacks ended while they were idle
}

// A need is what a stack was seen to take.
type need struct {
	workers   int
	main, gpu int64 // bytes
	threads   int
}

// resume takes over what a run did before it was resumed, and what stacks took in earlier
// runs.
func (r *rounds) resume(made, past []results.Record) {
	r.starts, r.seen, r.alone, r.died = map[string]int{}, map[string]need{}, map[string]bool{}, map[string]int{}
	for _, record := range made {
		r.starts[record.Topology.Name] = max(r.starts[record.Topology.Name], record.Start)
	}
	for _, record := range past {
		if record.Memory.Peak == nil { // the record of a later round has none
			continue
		}
		name, workers := record.Topology.Name, max(1, record.Topology.Workers)
		n := r.seen[name].larger(record)
		n.workers, n.threads = workers, workers*(record.Topology.Threads+threadsUnseen)
		r.seen[name] = n
	}
}

// stays reports whether stacks stay up.
func (l *loop) stays() bool { return l.plan.Fresh == scenarios.FreshRun }

// isUp reports whether a trial's stack is up.
func (l *lane) isUp(trial scenarios.Trial) bool { return l.up[l.key(trial)] != nil }

// others are the stacks that are up beside one, which may be nil.
func (l *lane) others(than *live) []*live {
	var others []*live
	for _, s := range l.up {
		if s != than {
			others = append(others, s)
		}
	}
	slices.SortFunc(others, func(a, b *live) int { return strings.Compare(a.spec.Name, b.spec.Name) })
	return others
}

// elsewhere is how many stacks of the other lanes are up.
func (l *lane) elsewhere() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, other := range l.lanes {
		if other != l {
			n += len(other.up)
		}
	}
	return n
}

// startAll starts the stacks of trials, those of fresh: run at the same time. One that
// did not start beside others is tried once more when they have started: it may have
// lacked time or memory.
func (l *lane) startAll(ctx context.Context, trials []scenarios.Trial) error {
	trials = slices.DeleteFunc(slices.Clone(trials), l.isUp)
	whole := func(t scenarios.Trial) bool { return l.brokenFor(t.Topology) == nil }
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
func (l *lane) startBeside(ctx context.Context, trials []scenarios.Trial) (again []scenarios.Trial, err error) {
	failures := make([]error, len(trials))
	slots := make(chan struct{}, max(2, runtime.NumCPU()/2))
	var starts []func()
	for i, trial := range trials {
		spec, err := l.expand(trial.Topology)
		if err != nil {
			return nil, err
		}
		starts = append(starts, func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if ctx.Err() == nil {
				l.announce(trial)
				failures[i] = l.startOnce(ctx, spec, trial, true)
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
func (l *lane) announce(trial scenarios.Trial) {
	e := Event{Kind: EventStart, Topology: trial.Topology.Name, Repeat: trial.Repeat, Trial: l.trialNumber(trial), Trials: l.trials}
	if l.stays() {
		e.Rounds = l.planRounds()
	}
	if l.plan.Search != nil {
		e.Repeat = 0 // a stack may be up for any of the rounds
	}
	l.notify(e)
}

// planRounds is how many rounds there will be; 0: a search does not know it.
func (l *loop) planRounds() int {
	if l.plan.Search != nil {
		return 0
	}
	return l.plan.Repeats
}

// removeAll removes stacks at the same time.
func (l *lane) removeAll(ctx context.Context, which []*live) error {
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
	r := &s.rounds
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starts[s.spec.Name]++
	s.start = r.starts[s.spec.Name]
	n := r.seen[s.spec.Name]
	n.workers, n.threads = max(1, s.spec.Topology.Workers), 0
	if s.warmed != nil {
		n.main = max(n.main, *s.warmed)
	}
	for _, service := range s.seen.Services {
		for _, p := range service.Processes {
			n.threads += max(1, p.Threads)
		}
	}
	r.seen[s.spec.Name] = n
}

// tookMemory notes what a stack took in a cell.
func (s *live) tookMemory(rec results.Record) {
	r := &s.rounds
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[s.spec.Name] = r.seen[s.spec.Name].larger(rec)
}

// larger is the need with what a stack took in a cell.
func (n need) larger(rec results.Record) need {
	if rec.Memory.Peak != nil {
		n.main = max(n.main, *rec.Memory.Peak)
	}
	if rec.GPU.OverBaseline != nil {
		n.gpu = max(n.gpu, *rec.GPU.OverBaseline)
	}
	return n
}

// A Room is what a machine has left.
type Room struct {
	Memory  int64 // bytes of main memory
	Threads int
}

// fits says which stacks have room beside those that are up. What a topology takes that
// was not up yet is estimated by the largest for each worker that was seen.
func (l *lane) fits(ctx context.Context) func(...scenarios.Trial) bool {
	return func(trials ...scenarios.Trial) bool {
		single := len(trials) == 1 && len(l.up) == 0
		l.rounds.mu.Lock()
		defer l.rounds.mu.Unlock()
		if len(l.rounds.seen) == 0 || len(l.up)+l.elsewhere()+len(trials) > mostBeside || slices.ContainsFunc(trials, func(t scenarios.Trial) bool { return l.rounds.alone[t.Topology.Name] }) ||
			slices.ContainsFunc(l.others(nil), func(s *live) bool { return l.rounds.alone[s.spec.Name] }) {
			return single
		}
		if most := l.share.Most; most > 0 && len(l.up)+l.elsewhere()+len(trials) > most {
			return single
		}
		sum := l.sum(trials)
		for _, other := range l.lanes { // what it starts has taken nothing yet
			sum.main, sum.threads = sum.main+other.reserved.main, sum.threads+other.reserved.threads
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

// sum is what stacks are likely to take; rounds.mu is held.
func (l *lane) sum(trials []scenarios.Trial) need {
	var sum need
	for _, trial := range trials {
		n := l.rounds.estimate(trial.Topology)
		if limit := l.limit(trial.Topology); limit > 0 {
			n.main = min(n.main, limit)
		}
		sum.main, sum.gpu, sum.threads = sum.main+n.main, sum.gpu+n.gpu, sum.threads+n.threads
	}
	return sum
}

// reserve notes what stacks will take that the lane starts, so that other lanes leave
// room for them. Its last ones have started or failed.
func (l *lane) reserve(trials []scenarios.Trial) {
	if !l.stays() {
		return
	}
	l.rounds.mu.Lock()
	defer l.rounds.mu.Unlock()
	l.reserved = l.sum(slices.DeleteFunc(slices.Clone(trials), l.isUp))
}

// estimate is what a stack of a topology is likely to take; mu is held.
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
func (l *lane) limit(t scenarios.Topology) int64 {
	spec, err := l.expand(t)
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

// roomless reports whether a stack failed for memory, or a place, that its neighbours may
// have held.
// It is then measured again when there are none.
func (l *lane) roomless(t scenarios.Topology, reason error, others int) bool {
	name := t.Name
	machine := l.plan.Resources.Of(t).Memory == 0 && (errors.Is(reason, errOutOfMemory) || errors.Is(reason, stacks.ErrOutOfMemory))
	place := errors.Is(reason, stacks.ErrNoRoom)
	if machine || place { // all lanes share it
		others += l.elsewhere()
	}
	gone := machine || place || errors.Is(reason, errOutOfGPUMemory)
	l.rounds.mu.Lock()
	known := l.rounds.alone[name]
	if gone && others > 0 && l.stays() {
		l.rounds.alone[name] = true
	}
	l.rounds.mu.Unlock()
	if !gone || others == 0 || !l.stays() || known {
		return false
	}
	l.notify(Event{Kind: EventNote, Topology: name, Message: name + " had no room beside other stacks, and is measured again alone: " + reason.Error()})
	return true
}

// stillRuns looks whether a stack that was idle still runs. If not, it is removed: the
// strategy has it started again.
func (l *lane) stillRuns(ctx context.Context, s *live) (bool, error) {
	name := s.spec.Name
	if !l.stays() || l.rounds.deaths(name, 0) >= idleDeaths {
		return true, nil
	}
	err := s.stack.Check(ctx)
	if err == nil || ctx.Err() != nil {
		return true, nil
	}
	l.rounds.deaths(name, 1)
	l.notify(Event{Kind: EventNote, Topology: name, Message: name + " did not live until its next cell, and is started again: " + err.Error()})
	if errors.Is(err, stacks.ErrLost) {
		if err := l.reconnect(ctx, err); err != nil {
			return false, err
		}
	}
	return false, s.remove(ctx)
}

// deaths adds to how often the stacks of a topology ended while they were idle.
func (r *rounds) deaths(topology string, more int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.died[topology] += more
	return r.died[topology]
}

// enterRound reports the first cell of each repeat.
func (l *lane) enterRound(cell scenarios.Cell) {
	if l.stays() && cell.Repeat != l.round {
		l.round = cell.Repeat
		l.notify(Event{Kind: EventRound, Repeat: cell.Repeat, Rounds: l.planRounds(), Message: l.search.standing()})
	}
}

// An idleWatch knows what idle stacks have used since it began.
type idleWatch struct {
	stacks []*live
	before []time.Duration // -1: not known
	began  time.Time
}

// watchIdle begins to watch the stacks that are up beside one.
func (l *lane) watchIdle(ctx context.Context, than *live) idleWatch {
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
	if !s.stays() || s.first {
		return
	}
	rec.Memory = results.Memory{Method: rec.Memory.Method, Reason: results.LaterRound}
	rec.GPU.Forget(results.LaterRound)
}
