package orchestrator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"stackmeter/orchestrator/gpu"
	"stackmeter/orchestrator/lanes"
	"stackmeter/orchestrator/load"
	"stackmeter/orchestrator/strategy"
	"stackmeter/results"
	"stackmeter/scenarios"
	"stackmeter/scenarios/message"
	"stackmeter/stacks"
	"stackmeter/stacks/servers"
)

// A live is a running stack under measurement.
type live struct {
	*lane
	key   stackKey
	spec  stacks.Spec
	trial scenarios.Trial
	stack stacks.Stack
	gpu   *gpuWatch
	facts results.Stack
	seen  stacks.Facts // as the runtime read them back
	void  error        // why the last cell says nothing about the stack

	failure   error        // of the last cell
	neighbour string       // which idle stack disturbed the last cell
	before    stacks.Facts // when the cell began
	first     bool         // the cell belongs to the first pass over a stack that stays up
	flags     []string     // of every cell of this stack
	warmed    *int64       // bytes: the stack's main memory after warm-up
	start     int          // its number, see results.Record
}

// start starts the stack of a trial and makes it ready for cells, unless it is up.
// If it cannot be started, its cells are recorded as failed.
func (l *lane) start(ctx context.Context, trial scenarios.Trial) error {
	if l.up[l.key(trial)] != nil {
		return nil
	}
	if err := l.brokenFor(trial.Topology); err != nil {
		return l.failAll(ctx, trial, err, "", nil)
	}
	spec, err := l.expand(trial.Topology)
	if err != nil {
		return err
	}
	for tries := 1; ; tries++ {
		l.announce(trial)
		err := l.startOnce(ctx, spec, trial, len(l.up) > 0)
		var unmade *lostStart
		if failed := (*failedStart)(nil); errors.As(err, &failed) && !errors.As(err, &unmade) {
			return l.notStarted(ctx, trial, failed, err)
		}
		if !errors.As(err, &unmade) {
			return err
		}
		if tries == lostStarts {
			return l.failAll(ctx, trial, unmade.err, "", nil)
		}
		if err := l.startOver(ctx, unmade); err != nil {
			return err
		}
	}
}

// startOnce tries to start a stack, which may be to stay up beside others of its lane. Its
// error is a *lostStart if the attempt says nothing about the stack, and a *failedStart if
// it does.
func (l *lane) startOnce(ctx context.Context, spec stacks.Spec, trial scenarios.Trial, beside bool) error {
	leave := l.enter(bound(l.GPUWait, l.GPUWait), "wait for the GPU of", spec.Name)
	watch, err := l.watchGPU(ctx)
	leave()
	if ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), watch.close(ctx))
	}
	if err != nil {
		return &failedStart{err: err}
	}
	s := &live{lane: l, key: l.key(trial), spec: spec, trial: trial, gpu: watch}
	began, room := time.Now(), lanes.Wait{Told: func(text string) {
		l.notify(Event{Kind: EventNote, Topology: spec.Name, Message: spec.Name + " " + text})
	}}
	leave = l.enter(l.startBound(), "start", spec.Name)
	l.starting.RLock()
	if s.stack, err = watch.starter(room.For, beside)(ctx, spec); err == nil {
		l.mu.Lock()
		l.up[s.key] = s
		l.mu.Unlock()
	}
	l.starting.RUnlock()
	leave()
	took := time.Since(began) - room.Took() // others' time is not the stack's
	l.took(results.PhaseStart, took)
	if err != nil {
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), watch.close(ctx))
		}
		var printed stacks.StartError
		if failed := (*stacks.StartError)(nil); errors.As(err, &failed) {
			printed = *failed
		}
		err = fmt.Errorf("start %s: %w", spec.Name, err)
		if errors.Is(err, stacks.ErrLost) {
			return errors.Join(&lostStart{err}, watch.close(ctx))
		}
		return errors.Join(&failedStart{err: err, logs: printed.Log}, watch.close(ctx))
	}
	started := took.Seconds()
	s.facts.StartS = &started
	if err := s.makeReady(ctx); err != nil {
		return errors.Join(s.notReady(ctx, err), s.remove(ctx))
	}
	if err := l.learn(ctx, spec); err != nil {
		return errors.Join(err, s.remove(ctx))
	}
	s.started()
	return nil
}

// notReady is the error of a stack that did not become ready.
func (s *live) notReady(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err = fmt.Errorf("%s: %w", s.spec.Name, err)
	if why := s.stack.Check(ctx); disturbed(err) || disturbed(why) {
		return &lostStart{errors.Join(err, why)}
	}
	output := s.logs(ctx)
	return &failedStart{live: s, err: s.explained(err, "", output, gpu.Usage{}), logs: output}
}

// A failedStart is the error of a stack that did not start, or that started and did not
// become ready.
type failedStart struct {
	live *live // nil: it did not start
	err  error
	logs string
}

func (e *failedStart) Error() string { return e.err.Error() }
func (e *failedStart) Unwrap() error { return e.err }

// notStarted records the cells of a stack that did not start as failed. err is what is
// joined with the failure: that the stack could not be removed ends the run.
func (l *lane) notStarted(ctx context.Context, trial scenarios.Trial, failed *failedStart, err error) error {
	if l.roomless(trial.Topology, failed.err, len(l.up)) {
		return beside(err)
	}
	var facts *results.Stack
	if failed.live != nil {
		failed.live.preflight(failed.err)
		facts = &failed.live.facts
	}
	return errors.Join(l.failAll(ctx, trial, failed.err, failed.logs, facts), beside(err))
}

// beside is what an error joins with that of a start.
func beside(err error) error {
	joined, is := err.(interface{ Unwrap() []error })
	if !is {
		return nil
	}
	return errors.Join(slices.DeleteFunc(slices.Clone(joined.Unwrap()), func(e error) bool {
		switch e.(type) {
		case *failedStart, *lostStart:
			return true
		}
		return false
	})...)
}

// preflight gives up the topologies that would not become ready either, for the
// same reason: each would cost its whole time-out. None of them may have been ready.
func (s *live) preflight(err error) {
	if !errors.Is(err, stacks.ErrReadyPath) && !errors.Is(err, stacks.ErrElsewhere) || errors.Is(err, stacks.ErrEnded) {
		return
	}
	others := slices.DeleteFunc(s.giveUp(err), func(name string) bool { return name == s.spec.Name })
	if len(others) > 0 {
		s.notify(Event{Kind: EventNote, Topology: s.spec.Name,
			Message: fmt.Sprintf("%v; this does not depend on the topology, so that these are not tried: %s", err, strings.Join(others, ", "))})
	}
}

// giveUp gives up the topologies for which a failure holds as well, and returns their names.
func (s *live) giveUp(err error) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var same []string
	for _, trial := range s.plan.Trials {
		t := trial.Topology
		// Where it listens is up to the command; what its paths are, to the app.
		if slices.Contains(same, t.Name) || !t.SameApp(s.spec.Topology) &&
			!(errors.Is(err, stacks.ErrReadyPath) && t.SameCallable(s.spec.Topology, s.plan.App.WSGI)) {
			continue
		}
		if s.ready[t.Name] {
			return nil
		}
		same = append(same, t.Name)
	}
	for _, name := range same {
		if s.broken[name] == nil {
			s.broken[name] = fmt.Errorf("not started, because it would not become ready either: %w", err)
		}
	}
	return same
}

// measureOn measures a cell on the stack of its trial and records it. If the stack
// dies, only this cell is lost. The first time that a cell is void it gets no
// record, so that the strategy asks for it again, and its stack is removed.
func (l *lane) measureOn(ctx context.Context, m strategy.Measurement) error {
	s, cell := l.up[l.key(m.Trial)], m.Cell
	if s == nil {
		return nil // it could not be started, and the cell is recorded as failed
	}
	if runs, err := l.stillRuns(ctx, s); !runs {
		return err
	}
	l.enterRound(cell)
	s.first = m.First
	rec, alive, err := s.measure(ctx, cell)
	if err != nil {
		return err
	}
	if errors.Is(s.void, stacks.ErrLost) {
		if err := l.reconnect(ctx, s.void); err != nil {
			return err
		}
		l.notify(Event{Kind: EventNote, Topology: s.spec.Name, Message: s.spec.Name + ": " + standing(ctx, s.stack)})
	}
	again := results.Key{Topology: s.spec.Name, Load: cell.Name, Repeat: cell.Repeat}
	if s.void != nil && l.again[again] == "" {
		l.again[again] = s.void.Error()
		l.notify(Event{Kind: EventNote, Topology: s.spec.Name, Cell: cell.Name, Repeat: cell.Repeat,
			Message: cell.Name + " is void and is measured again on a new stack: " + s.void.Error()})
		return s.remove(ctx)
	}
	if s.neighbour != "" && l.again[again] == "" {
		l.again[again] = s.neighbour
		l.notify(Event{Kind: EventNote, Topology: s.spec.Name, Cell: cell.Name, Repeat: cell.Repeat,
			Message: cell.Name + " is void and is measured again: " + s.neighbour})
		return nil
	}
	if s.neighbour != "" {
		rec.Flags = append(rec.Flags, results.FlagNeighbour)
		l.notify(Event{Kind: EventNote, Topology: s.spec.Name, Cell: cell.Name, Repeat: cell.Repeat, Message: cell.Name + " was disturbed again: " + s.neighbour})
	}
	if l.roomless(s.spec.Topology, s.failure, len(l.up)-1) {
		return s.remove(ctx)
	}
	if why := l.again[again]; why != "" {
		rec.Flags, rec.Stack.Before = append(rec.Flags, results.FlagRepeated), why
	}
	l.blame(s.void)
	l.failed = l.failed || rec.Status == results.StatusFailed
	if err := l.put(ctx, rec); err != nil {
		return err
	}
	s.tookMemory(rec)
	s.gpu.records = append(s.gpu.records, rec)
	if !alive {
		return s.remove(ctx)
	}
	return nil
}

// remove removes the stack, even after the run was cancelled, and waits until its
// GPU memory is free again.
func (s *live) remove(ctx context.Context) error {
	s.mu.Lock()
	delete(s.up, s.key)
	s.mu.Unlock()
	s.gpu.phase(gpu.PhaseTeardown)
	err := s.stopAgain(ctx, s.spec, s.stack)
	return errors.Join(err, s.gpu.close(ctx))
}

// stop removes a stack, even after the run was cancelled.
func (l *lane) stop(ctx context.Context, spec stacks.Spec, stack stacks.Stack) error {
	defer l.spend(results.PhaseStop)()
	defer l.enter(boundEngine, "remove", spec.Name)()
	ctx, cancel := l.cleanup(ctx)
	defer cancel()
	l.notify(Event{Kind: EventStop, Topology: spec.Name})
	if err := stack.Stop(ctx); err != nil {
		return err
	}
	l.notify(Event{Kind: EventStopped, Topology: spec.Name})
	return nil
}

// failAll records the same failure for all the cells that are left of a trial.
func (l *lane) failAll(ctx context.Context, trial scenarios.Trial, reason error, logs string, facts *results.Stack) error {
	l.blame(reason)
	l.failed = true
	for _, cell := range trial.Cells {
		rec := l.unmeasured(trial, cell)
		rec.Status, rec.Reason, rec.OutOfMemory = results.StatusFailed, reason.Error(), l.outOfMemory(trial.Topology, reason)
		rec.LogTail, rec.Stack = logs, facts
		if err := l.put(ctx, rec); err != nil {
			return err
		}
	}
	return nil
}

// unmeasured is the record of a cell whose load was not sent.
func (l *lane) unmeasured(trial scenarios.Trial, cell scenarios.Cell) results.Record {
	const why = "the cell was not measured"
	return results.Record{
		Run: l.id, Topology: trial.Topology, Cell: cell, Started: time.Now(), Lane: l.number,
		GPU: gpu.Usage{Reason: why}, Memory: results.Memory{Reason: why},
	}
}

// makeReady waits until a started stack is ready for cells: it answers, it is what
// was asked for, it has settled, and it is warm.
func (s *live) makeReady(ctx context.Context) error {
	if s.gpu.trial != nil || s.gpu.far != nil {
		// The owners of memory have to be known from the first allocation on.
		if facts, err := s.stack.Inspect(ctx); err == nil {
			s.gpu.owners(facts, s.spec)
		}
	}
	warmup := scenarios.LoadSpec{Requests: s.plan.Warmup * s.workers()}
	longest := bound(s.spec.Ready.Timeout, loadBound(s.plan.Request, warmup))
	for _, step := range []struct {
		phase string
		took  **float64 // where the facts have it; nil if they do not
		do    func(context.Context) error
	}{
		{results.PhaseReady, &s.facts.ReadyS, func(ctx context.Context) error {
			return s.survived(ctx, func(ctx context.Context) error { return stacks.WaitReady(ctx, s.spec, s.stack) })
		}},
		{results.PhaseVerify, nil, s.readBack},
		{results.PhaseWarmup, &s.facts.WarmupS, func(ctx context.Context) error {
			if err := s.survived(ctx, s.warmUp); err != nil {
				return err
			}
			return s.warmedUp(ctx)
		}},
	} {
		began := time.Now()
		leave := s.enter(longest, "wait until it is ready, the same and warm:", s.spec.Name)
		err := step.do(ctx)
		leave()
		took := time.Since(began)
		s.took(step.phase, took)
		if err != nil {
			return err
		}
		if step.took != nil {
			seconds := took.Seconds()
			*step.took = &seconds
		}
		if step.phase == results.PhaseReady {
			s.mu.Lock()
			s.ready[s.spec.Name] = true
			s.mu.Unlock()
			s.notify(Event{Kind: EventReady, Topology: s.spec.Name, Repeat: s.trial.Repeat})
		}
	}
	return nil
}

// readBack looks for proof that what answers is what was asked for, and waits until
// all of it has loaded.
func (s *live) readBack(ctx context.Context) error {
	found, err := servers.Verify(ctx, s.spec, s.stack)
	s.keep(found)
	if err := errors.Join(err, s.saw(ctx, s.gpu.devices(found.Facts))); err != nil {
		return err
	}
	s.gpu.owners(found.Facts, s.spec)
	if !found.Loading {
		return nil
	}
	err = stacks.WaitSettled(ctx, s.stack)
	if errors.Is(err, stacks.ErrUnsettled) {
		s.flags = append(s.flags, results.FlagUnsettled)
		s.notify(Event{Kind: EventNote, Topology: s.spec.Name, Message: err.Error()})
		return nil
	}
	return err
}

// keep stores the facts that records have.
func (s *live) keep(found servers.Facts) {
	s.seen = found.Facts
	s.facts.Route = found.Route
	s.facts.GPU, s.facts.Node, s.facts.ClientNode, s.facts.Cores = found.GPU, found.Node, found.ClientNode, found.Cores
	if found.Beside {
		s.flags = append(s.flags, results.FlagClientBeside)
	}
	if s.noGPU != "" {
		s.facts.GPU = "none: " + s.noGPU
		s.flags = append(s.flags, results.FlagNoGPU)
	}
	if found.Route == stacks.RoutePublished {
		s.flags = append(s.flags, results.FlagPublished)
	}
	s.facts.Workers, s.facts.Threads, s.facts.Proxy, s.facts.Unread = found.Workers, found.Threads, found.Proxy, found.Unread
	s.facts.Class, s.facts.Loop, s.facts.Concurrency, s.facts.InForce = found.Class, found.Loop, found.Concurrency, found.InForce
	s.facts.Interpreters, s.facts.Slots = found.Interpreters, found.Slots
	if found.Unread != "" {
		s.flags = append(s.flags, results.FlagUnverified)
	}
	for _, service := range found.Services {
		one := results.Service{Name: service.Service, Container: service.Container, Image: service.Image, Digest: service.Digest}
		for _, p := range service.Processes {
			one.Processes = append(one.Processes, p.Command)
		}
		s.facts.Services = append(s.facts.Services, one)
	}
}

// warmUp sends the warm-up's requests to each worker and discards the figures. There
// are as many clients as workers, but the server decides who gets a request. warmUp
// fails if no request was answered as expected: a hundred more would not be either.
func (s *live) warmUp(ctx context.Context) error {
	if s.plan.Warmup > 0 {
		s.gpu.phase(gpu.PhaseWarmup)
		workers := s.workers()
		spec := scenarios.LoadSpec{Client: scenarios.ClientMT, Pool: workers, Requests: s.plan.Warmup * workers}
		if len(s.seen.Services) == 0 { // its workers are not known
			spec.Pool = min(spec.Requests, s.mostClients())
		}
		job := s.job(spec, s.trial.Repeat)
		job.Request.MaxErrors = nil // it is for cells
		batch, err := s.Client.Prepare(ctx, job)
		if err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
		defer batch.Close()
		result, err := batch.Fire(ctx)
		if err != nil {
			return fmt.Errorf("warm-up: %w", err)
		}
		if result.Replies == 0 {
			return fmt.Errorf("warm-up: %w", result.Unmeasured(nil))
		}
	}
	return nil
}

// workers are those that a warm-up has to reach: of all replicas.
func (s *live) workers() int {
	return max(1, s.spec.Topology.Workers) * max(1, s.spec.Topology.Replicas)
}

// mostClients is the largest number of clients of the trial's cells, except for
// open loops.
func (s *live) mostClients() int {
	most := 1
	for _, cell := range s.trial.Cells {
		if cell.Load.Client != scenarios.ClientOpen {
			most = max(most, cell.Load.Pool)
		}
	}
	return most
}

// warmedUp notes the memory of the warm stack, at which a cell may begin.
func (s *live) warmedUp(ctx context.Context) error {
	meter, err := s.stack.Meter(ctx)
	if err != nil {
		return err
	}
	s.warmed = meter.Stop().Start
	s.gpu.warmed(ctx)
	return nil
}

// job is a load against this stack. Random choices differ between repeats and are
// the same for all topologies.
func (s *live) job(spec scenarios.LoadSpec, repeat int) load.Job {
	request := s.plan.Request
	request.Headers = message.Fill(request.Headers, s.plan.App.Env)
	return load.Job{
		URL: s.stack.URL(), Request: request, Load: spec, GiveUp: giveUp,
		Seed: s.plan.Seed + uint64(repeat) - 1, Cores: s.cores.Client,
	}
}

// logs is the tail of the stack's output. It says why if there is none.
func (s *live) logs(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logTimeout)
	defer cancel()
	var text bytes.Buffer
	if err := s.stack.Logs(ctx, &text); err != nil {
		fmt.Fprintf(&text, "(%v)\n", err)
	}
	return text.String()
}
